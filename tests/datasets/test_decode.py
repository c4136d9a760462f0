"""Photos decode by their bytes, upright and in the colours that a viewer shows; broken ones are named."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.support.crafted_files import broken_files, saved, smooth
from tests.support.orientations import UPRIGHT

from streetlab.datasets.decode import UnreadablePhoto, read_mask, read_photo, read_photo_and_size, resize


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
