"""Masks decode to class ids, whatever holds them; what cannot hold one for each pixel is refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.crafted_files import broken_files, saved, smooth, tiff

from streetlab.datasets.decode import UnreadablePhoto, read_mask, read_photo, resize_mask

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
