"""HEIC and AVIF photos that state their colours by code numbers are seen in these colours."""

from __future__ import annotations

import contextlib
import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.icc_profiles import P3_TO_XYZ, SRGB_TO_XYZ, srgb_curve, srgb_values

from streetlab.datasets.coded_colors import CodedColors, read_coded_colors
from streetlab.datasets.decode import UnreadablePhoto, read_photo

BT2020_TO_XYZ = np.array([[0.6369580, 0.1446169, 0.1688810], [0.2627002, 0.6779981, 0.0593017],
                          [0.0000000, 0.0280727, 1.0609851]])  # fmt: skip
"""As Rec. ITU-R BT.2020's primaries and white give it; published rounded by Lindbloom and in BT.2087."""
LEVELS = np.linspace(0, 255, 8).astype(np.uint8)
_CUBE = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS, indexing="ij"), -1).reshape(16, 32, 3)
COLOURS = _CUBE.repeat(8, axis=0).repeat(8, axis=1)
"""Squares of 8 pixels a side, which codecs keep."""


def stored(path: Path, form: str, primaries: int, transfer: int, pixels: np.ndarray = COLOURS) -> Path:
    """The photo in a file that states these numbers; as good as lossless."""
    photo = Image.fromarray(pixels)
    buffer = io.BytesIO()
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
        numbers = {"color_primaries": primaries, "transfer_characteristics": transfer, "matrix_coefficients": 6}
        photo.save(buffer, form, quality=100, chroma=444, full_range_flag=1, **numbers)
        path.write_bytes(buffer.getvalue())
        return path
    photo.save(buffer, form, quality=100, subsampling="4:4:4")
    content = buffer.getvalue()
    place = content.index(b"colrnclx") + 8
    stated = primaries.to_bytes(2, "big") + transfer.to_bytes(2, "big")
    path.write_bytes(content[:place] + stated + content[place + 4 :])
    return path


def as_srgb(to_xyz: np.ndarray, light: np.ndarray) -> np.ndarray:
    return srgb_values(light @ (np.linalg.inv(SRGB_TO_XYZ) @ to_xyz).T) * 255


@pytest.mark.parametrize("form", ["HEIF", "AVIF"])
@pytest.mark.parametrize(("primaries", "to_xyz"), [(12, P3_TO_XYZ), (9, BT2020_TO_XYZ)], ids=["Display P3", "BT.2020"])
@pytest.mark.parametrize("transfer", [13, 1])
def test_wide_colours_are_those_of_the_arithmetic(tmp_path: Path, form: str, primaries, to_xyz, transfer) -> None:
    path = stored(tmp_path / "photo", form, primaries, transfer)
    difference = np.abs(np.asarray(read_photo(path)) - as_srgb(to_xyz, srgb_curve(COLOURS / 255)))
    assert difference.mean() < 1
    assert np.abs(np.asarray(read_photo(path)).astype(int) - COLOURS).mean() > 5


@pytest.mark.parametrize(
    ("colors", "to_xyz", "curve"),
    [
        (CodedColors(12, 13), P3_TO_XYZ, srgb_curve),
        (CodedColors(9, 14), BT2020_TO_XYZ, srgb_curve),
        (CodedColors(1, 4), SRGB_TO_XYZ, lambda values: values**2.2),
        (CodedColors(1, 8), SRGB_TO_XYZ, lambda values: values),
    ],
    ids=["Display P3", "BT.2020", "power of 2.2", "linear"],
)
def test_the_profile_made_of_the_numbers_is_exact(tmp_path: Path, colors: CodedColors, to_xyz, curve) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "photo.png", icc_profile=colors.profile())
    expected = as_srgb(to_xyz, curve(COLOURS / 255))
    assert np.abs(np.asarray(read_photo(tmp_path / "photo.png")) - expected).max() < 1.5


@pytest.mark.parametrize(("primaries", "transfer"), [(1, 13), (1, 1), (2, 2), (12, 16), (9, 18), (10, 13), (1, 17)])
@pytest.mark.parametrize("form", ["HEIF", "AVIF"])
def test_srgb_unknown_numbers_and_high_range_keep_every_bit(tmp_path: Path, form: str, primaries, transfer) -> None:
    path = stored(tmp_path / "photo", form, primaries, transfer)
    with Image.open(path) as opened:
        assert np.array_equal(np.asarray(opened), np.asarray(read_photo(path)))


def test_numbers_of_the_primary_picture_count(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    made = pillow_heif.HeifFile()
    numbers = {"transfer_characteristics": 13, "matrix_coefficients": 6, "full_range_flag": 1}
    for primaries, red in ((1, 0), (12, 200)):
        made.add_from_pillow(Image.new("RGB", (64, 64), (red, 100, 60)))
        made[len(made) - 1].info["nclx_profile"] = {"color_primaries": primaries, **numbers}
    for primary, primaries in ((0, 1), (1, 12)):
        made.save(tmp_path / "burst.heic", primary_index=primary, quality=95)
        with Image.open(tmp_path / "burst.heic") as opened:
            assert opened.info["nclx_profile"]["color_primaries"] == primaries
            assert read_coded_colors(opened, tmp_path / "burst.heic") == CodedColors(primaries, 13)


@pytest.mark.parametrize("form", ["HEIF", "AVIF"])
def test_damaged_descriptions_end_in_a_photo_or_in_one_line(tmp_path: Path, form: str) -> None:
    whole = stored(tmp_path / "photo", form, 12, 13, np.full((16, 16, 3), 90, np.uint8)).read_bytes()
    dice = random.Random(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(8, min(len(whole), 500))] = dice.randrange(256)
        (tmp_path / "damaged").write_bytes(damaged)
        with contextlib.suppress(UnreadablePhoto):  # any other exception would end an audit or a server
            read_photo(tmp_path / "damaged")
