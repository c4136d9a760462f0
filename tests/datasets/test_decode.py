"""Photos decode by their bytes, upright and in the colours that a viewer shows; broken ones are named."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from tests.support.crafted_files import tiff
from tests.support.orientations import UPRIGHT

from streetlab.datasets.decode import UnreadablePhoto, read_mask, read_photo, read_photo_and_size, resize, resize_mask


def smooth(height: int = 24, width: int = 40) -> np.ndarray:
    """A picture that survives lossy formats and looks different from all eight sides."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 6, y * 10, (x + y) * 3], axis=-1).astype(np.uint8)


def saved(path: Path, image: Image.Image, form: str, **options) -> Path:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG", "BMP", "GIF", "TIFF"])
def test_a_png_name_does_not_hide_what_the_bytes_are(tmp_path: Path, form: str) -> None:
    photo = read_photo(saved(tmp_path / "photo.png", Image.fromarray(smooth()), form))
    assert photo.mode == "RGB"
    assert photo.size == (40, 24)
    assert np.abs(np.asarray(photo).astype(int) - smooth()).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_phone_held_any_way_gives_an_upright_photo(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "photo.png", Image.fromarray(smooth()), "PNG", exif=exif)
    found = np.asarray(read_photo(path))
    with Image.open(path) as opened:
        np.testing.assert_array_equal(found, np.asarray(ImageOps.exif_transpose(opened)))
    np.testing.assert_array_equal(found, UPRIGHT[orientation](smooth()))


def test_a_sideways_jpeg_decoded_at_reduced_size_is_upright_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    large = Image.fromarray(smooth()).resize((400, 240), Image.Resampling.BICUBIC)
    path = saved(tmp_path / "photo.jpg", large, "JPEG", quality=95, exif=exif)
    reduced = read_photo(path, min_side=48)
    assert reduced.size == (60, 100)
    full = resize(read_photo(path), (100, 60))
    assert np.abs(np.asarray(reduced).astype(int) - full).mean() < 2


def test_reduced_decoding_never_goes_below_the_size_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "photo.jpg", Image.fromarray(smooth()).resize((640, 480)), "JPEG")
    for wanted in (30, 61, 121, 300, 1000):
        assert min(read_photo(path, min_side=wanted).size) >= min(wanted, 480)


def test_transparent_pixels_become_white_not_black(tmp_path: Path) -> None:
    pixels = np.dstack([smooth(), np.full((24, 40), 255, np.uint8)])
    pixels[:, :20, 3] = 0
    pixels[0, 30] = (200, 100, 0, 128)
    found = np.asarray(read_photo(saved(tmp_path / "photo.png", Image.fromarray(pixels), "PNG")))
    assert (found[:, :20] == 255).all()
    np.testing.assert_array_equal(found[1:, 20:], smooth()[1:, 20:])
    np.testing.assert_allclose(found[0, 30], [227, 177, 127], atol=1)  # half of the colour, half of white


def test_a_transparent_palette_colour_becomes_white(tmp_path: Path) -> None:
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30, 200, 0, 0])
    palette.paste(1, (4, 0, 8, 8))
    path = saved(tmp_path / "photo.png", palette, "PNG", transparency=0)
    found = np.asarray(read_photo(path))
    assert (found[:, :4] == 255).all()
    assert (found[:, 4:] == (200, 0, 0)).all()


def test_real_numbers_are_refused_instead_of_turning_black(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "photo.tif", Image.fromarray(np.linspace(0, 1, 24 * 40, dtype=np.float32).reshape(24, 40)), "TIFF"
    )
    with pytest.raises(UnreadablePhoto, match="pixels of real numbers"):
        read_photo(path)


def test_a_transparent_grey_becomes_white(tmp_path: Path) -> None:
    grey = Image.new("LA", (4, 4), (40, 0))
    assert (np.asarray(read_photo(saved(tmp_path / "photo.png", grey, "PNG"))) == 255).all()


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_greyscale_photos_have_three_equal_channels(tmp_path: Path, form: str) -> None:
    found = np.asarray(read_photo(saved(tmp_path / "photo.jpg", Image.fromarray(smooth()[..., 0]), form)))
    assert found.shape == (24, 40, 3)
    assert (found == found[..., :1]).all()
    assert np.abs(found[..., 0].astype(int) - smooth()[..., 0]).max() < 6


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_greys_keep_their_shades_instead_of_turning_white(tmp_path: Path, form: str) -> None:
    values = np.linspace(0, 65535, 24 * 40).reshape(24, 40).astype(np.uint16)
    found = np.asarray(read_photo(saved(tmp_path / "photo.png", Image.fromarray(values), form)))
    np.testing.assert_array_equal(found, np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2))


def test_big_endian_sixteen_bit_tiffs_keep_their_shades(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64).reshape(8, 8).astype(">u2")
    tags = [(256, 3, 8), (257, 3, 8), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
            (278, 3, 8), (279, 4, 128)]  # fmt: skip
    directory = len(tags).to_bytes(2, "big") + b"".join(
        tag.to_bytes(2, "big") + kind.to_bytes(2, "big") + (1).to_bytes(4, "big")
        + (value.to_bytes(2, "big") + b"\0\0" if kind == 3 else value.to_bytes(4, "big"))
        for tag, kind, value in tags
    )  # fmt: skip
    path = tmp_path / "photo.tif"
    path.write_bytes(b"MM\0*" + (8 + 128).to_bytes(4, "big") + values.tobytes() + directory + b"\0\0\0\0")
    np.testing.assert_array_equal(np.asarray(read_photo(path))[..., 0], values.astype(int) >> 8)


def test_cmyk_jpegs_of_print_shops_decode_to_rgb(tmp_path: Path) -> None:
    cmyk = Image.fromarray(smooth()).convert("CMYK")
    photo = read_photo(saved(tmp_path / "photo.jpg", cmyk, "JPEG", quality=95), min_side=8)
    assert photo.mode == "RGB"


def test_a_tag_of_a_wrong_type_beside_the_orientation_does_not_cost_a_good_photo(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0  # XResolution, which is rational
    whole = exif.tobytes()
    wrong = whole.replace(bytes.fromhex("011a0005"), bytes.fromhex("011a0002"))  # and now is text
    assert wrong != whole
    photos = [
        read_photo(saved(tmp_path / f"{name}.jpg", Image.fromarray(smooth()), "JPEG", exif=tags))
        for name, tags in (("whole", whole), ("wrong", wrong))
    ]
    np.testing.assert_array_equal(*map(np.asarray, photos))


def test_broken_exif_does_not_cost_a_good_photo(tmp_path: Path) -> None:
    path = saved(tmp_path / "photo.jpg", Image.fromarray(smooth()), "JPEG", exif=b"Exif\0\0GARBAGE_GARBAGE")
    assert read_photo(path).size == (40, 24)


def broken_files() -> dict[str, tuple[bytes | None, str]]:
    buffer = io.BytesIO()
    Image.fromarray(smooth(200, 200)).save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    return {
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "does not decode"),
        "text.jpg": (b"these are words, not a photo", "not an image"),
        "empty.jpg": (b"", "it is empty"),
        "page.png": (b"<html><body>404</body></html>", "<html>"),
        "missing.jpg": (None, "no such file"),
    }


@pytest.mark.parametrize("name", broken_files())
def test_a_broken_file_is_named_in_one_clear_line(tmp_path: Path, name: str) -> None:
    content, reason = broken_files()[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadablePhoto) as error:
        read_photo(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_a_photo_without_read_permission_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path) -> None:  # as root, chmod closes nothing
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", closed)
    with pytest.raises(UnreadablePhoto, match=r"photo\.jpg: no permission to read it"):
        read_photo(tmp_path / "photo.jpg")


def test_a_decompression_bomb_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "bomb.png", Image.fromarray(smooth()), "PNG")
    monkeypatch.setattr("streetlab.datasets.decode.MOST_PIXELS", 100)
    with pytest.raises(UnreadablePhoto, match=r"bomb\.png: too large to be a photo"):
        read_photo(path)


def test_a_photo_beyond_what_pillow_warns_of_is_read_without_a_word(tmp_path: Path) -> None:
    for name, options in (("large.png", {}), ("large.tif", {"compression": "group4"})):
        Image.new("1", (10_000, 9_000)).save(tmp_path / name, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read_mask(tmp_path / name).shape == (9_000, 10_000)


def test_the_most_pixels_are_the_caller_s_and_said(tmp_path: Path) -> None:
    path = saved(tmp_path / "photo.png", Image.fromarray(smooth()), "PNG")
    assert read_photo(path, most_pixels=960).size == (40, 24)
    with pytest.raises(UnreadablePhoto, match=r"photo\.png: .*40x24 are 960 pixels, allowed are 959$"):
        read_photo(path, most_pixels=959)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it then refuses
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_no_damage_to_a_file_escapes_as_a_traceback(tmp_path: Path, form: str) -> None:
    random = np.random.default_rng(0)
    buffer = io.BytesIO()
    try:
        Image.fromarray(smooth()).save(buffer, form)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {form}")
    whole = buffer.getvalue()
    path = tmp_path / "damaged"
    for attempt in range(60):
        damaged = bytearray(whole)
        if attempt % 2:
            damaged = damaged[: random.integers(len(whole))]
        else:
            for place in random.integers(min(len(whole), 200), size=6):
                damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(UnreadablePhoto):
            assert read_photo(path, min_side=16).mode == "RGB"


def test_resizing_is_what_pillow_does(tmp_path: Path) -> None:
    photo = Image.fromarray(smooth())
    np.testing.assert_array_equal(
        resize(photo, (10, 15)), np.asarray(photo.resize((15, 10), Image.Resampling.BILINEAR))
    )
    np.testing.assert_array_equal(resize(photo, (24, 40)), smooth())


@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_the_whole_size_is_known_whatever_size_was_decoded(tmp_path: Path, form: str, orientation: int | None) -> None:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    path = saved(tmp_path / "photo", Image.fromarray(smooth(240, 400)), form, exif=exif)
    photo, size = read_photo_and_size(path, min_side=48)
    assert size == read_photo(path).size == ((240, 400) if orientation in (6, 8) else (400, 240))
    assert (photo.size == size) == (form == "PNG")


VALUES = np.arange(24 * 40).reshape(24, 40).astype(np.uint8)


def packed(values: np.ndarray, bits: int, kind: int) -> bytes:
    """A PNG of `bits` per pixel, greyscale (kind 0) or palette (kind 3), as Pillow does not write them all."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    places = np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :].reshape(len(values), -1)
    lines = b"".join(b"\0" + np.packbits(line).tobytes() for line in places)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, kind, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(range(100, 100 + 3 * 2**bits))) if kind == 3 else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + palette
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("kind", [0, 3])
def test_small_masks_keep_their_class_ids_instead_of_shades(tmp_path: Path, bits: int, kind: int) -> None:
    values = (VALUES % 2**bits).astype(np.uint8)
    (tmp_path / "mask.png").write_bytes(packed(values, bits, kind))
    found = read_mask(tmp_path / "mask.png")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, values)


def test_a_palette_mask_gives_places_in_the_palette_and_not_colours(tmp_path: Path) -> None:
    mask = Image.fromarray(VALUES)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "grey.png", mask, "PNG")), VALUES)
    mask = mask.convert("P")
    mask.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    path = saved(tmp_path / "mask.png", mask, "PNG", transparency=3)
    np.testing.assert_array_equal(read_mask(path), VALUES)


def test_a_sixteen_bit_mask_is_taken_where_its_values_fit(tmp_path: Path) -> None:
    path = saved(tmp_path / "mask.png", Image.fromarray(VALUES.astype(np.uint16)), "PNG")
    np.testing.assert_array_equal(read_mask(path), VALUES)
    path = saved(tmp_path / "mask.png", Image.fromarray(VALUES.astype(np.uint16) + 100), "PNG")
    with pytest.raises(
        UnreadablePhoto, match=r"mask\.png: the value 355, but a mask holds one class id per pixel, 0 to 255"
    ):
        read_mask(path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_mask_of_colours_is_refused_by_name(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path / "mask.png", Image.fromarray(smooth()).convert(mode), "PNG")
    with pytest.raises(UnreadablePhoto, match=rf"mask\.png: {mode} pixels, but a mask holds one class id per pixel"):
        read_mask(path)


def test_a_mask_that_jpeg_has_smeared_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "mask.png", Image.fromarray(VALUES), "JPEG")
    with pytest.raises(
        UnreadablePhoto, match=r"mask\.png: JPEG, but a mask must come from a lossless format such as PNG"
    ):
        read_mask(path)


def test_a_mask_that_was_smeared_inside_a_tiff_is_refused(tmp_path: Path) -> None:
    jpeg = saved(tmp_path / "jpeg.tif", Image.fromarray(VALUES), "TIFF", compression="jpeg")
    webp = tiff(tmp_path / "webp.tif", VALUES, 8, compression=50001)
    for path, name in ((jpeg, "JPEG"), (webp, "WebP")):
        with pytest.raises(UnreadablePhoto, match=rf"\.tif: {name} inside TIFF, but a mask must come from a lossless"):
            read_mask(path)


@pytest.mark.parametrize("form", ["WEBP", "AVIF", "JPEG2000"])
def test_a_mask_of_a_format_that_may_smear_is_refused_by_its_name(tmp_path: Path, form: str) -> None:
    path = saved(tmp_path / "mask.png", Image.fromarray(VALUES), form)
    with pytest.raises(UnreadablePhoto, match=rf"mask\.png: {form}, but a mask must come from a lossless format"):
        read_mask(path)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd"])
def test_a_mask_that_a_tiff_holds_without_loss_is_read(tmp_path: Path, compression: str) -> None:
    path = saved(tmp_path / "mask.tif", Image.fromarray(VALUES), "TIFF", compression=compression)
    np.testing.assert_array_equal(read_mask(path), VALUES)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_greys_of_a_tiff_are_class_ids_and_not_shades(tmp_path: Path, bits: int, photometric: int, order: str) -> None:
    if order == ">" and bits == 16 and photometric == 0:
        pytest.skip("Pillow does not read these")
    values = (VALUES.astype(int) % 2**bits).astype(np.uint8)
    path = tiff(tmp_path / "mask.tif", values, bits, photometric=photometric, order=order)
    np.testing.assert_array_equal(read_mask(path), values)


@pytest.mark.parametrize("most", [1, 3, 10, 254, 255, 300, 65535])
@pytest.mark.parametrize("plain", [True, False])
def test_greys_of_a_portable_greymap_are_class_ids_whatever_their_white(tmp_path: Path, most: int, plain: bool) -> None:
    values = (VALUES.astype(int) % (most + 1)).astype(np.uint8)
    pixels = " ".join(map(str, values.ravel())).encode() if plain else values.astype("u1" if most < 256 else ">u2")
    head = f"{'P2' if plain else 'P5'} 40 24 {most}\n".encode()
    (tmp_path / "mask.pgm").write_bytes(head + (pixels if isinstance(pixels, bytes) else pixels.tobytes()))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.pgm"), values)


def test_a_compression_that_nobody_knows_is_one_line(tmp_path: Path) -> None:
    path = tiff(tmp_path / "mask.tif", VALUES, 8, compression=34887)  # LERC
    for read in (read_mask, read_photo):
        with pytest.raises(UnreadablePhoto, match=r"mask\.tif: [^\n]+$"):
            read(path)


@pytest.mark.parametrize("name", ["text.jpg", "empty.jpg", "missing.jpg"])
def test_a_broken_mask_is_named_in_one_clear_line(tmp_path: Path, name: str) -> None:
    content, reason = broken_files()[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadablePhoto, match=f"{name}: .*{reason}"):
        read_mask(tmp_path / name)


SIZES = [
    ((h, w), (new_h, new_w))
    for h in (1, 5, 37, 360)
    for w in (48, 255, 480)
    for new_h in (1, 7, 37, 96)
    for new_w in (48, 97)
]
CITYSCAPES, CAMVID = (1024, 2048), (360, 480)
REAL_SIZES = [
    (CITYSCAPES, (256, 512)),
    (CITYSCAPES, (512, 1024)),
    (CAMVID, (256, 512)),
    ((256, 512), CITYSCAPES),
    ((720, 960), (224, 224)),
    ((769, 1537), (300, 700)),
]


@pytest.mark.parametrize(("old", "new"), SIZES + REAL_SIZES)
def test_masks_are_resized_about_pixel_centres_as_torch_does(old: tuple[int, int], new: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).integers(0, 256, old, dtype=np.uint8)
    wanted = torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None].float(), new, mode="nearest-exact")
    found = resize_mask(mask, new)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, wanted[0, 0].numpy())


def test_resizing_a_mask_invents_no_class_between_two_others() -> None:
    mask = np.where(np.arange(64) < 32, 0, 11).astype(np.uint8)[None].repeat(64, 0)
    assert set(np.unique(resize_mask(mask, (17, 23)))) == {0, 11}
    assert (resize_mask(mask, (64, 64)) == mask).all()
