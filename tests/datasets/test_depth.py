"""Photos of more than 8 bits show what was photographed, or are named: never silently black or white."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.crafted_files import deep_png, tiff

from streetlab.datasets.decode import UnreadablePhoto, read_photo

TWELVE = np.linspace(0, 4095, 8 * 12).reshape(8, 12).astype(np.uint16)
SIXTEEN = np.linspace(0, 65535, 8 * 12).reshape(8, 12).astype(np.uint16)
SHOWN = (SIXTEEN >> 8).astype(int)
"""What either of them looks like with 8 bits."""
COLOURS = np.stack([TWELVE, TWELVE[::-1], TWELVE // 2], axis=-1)
SMAX, MAX = 341, 281


def shades(path: Path) -> np.ndarray:
    photo = np.asarray(read_photo(path)).astype(int)
    assert (photo == photo[..., :1]).all()
    return photo[..., 0]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_that_says_which_value_is_white_is_stretched_to_it(tmp_path: Path, order: str) -> None:
    path = tiff(tmp_path / "a.tif", TWELVE, 16, order=order, more=[(SMAX, 4095)])
    assert np.abs(shades(path) - SHOWN).max() <= 1
    values = np.minimum(TWELVE, 1000)
    path = tiff(tmp_path / "b.tif", values, 16, order=order, more=[(SMAX, 1000)])
    np.testing.assert_array_equal(shades(path), values.astype(int) * 256 // 1001)


def test_twelve_bits_packed_into_a_tiff_are_not_taken_for_sixteen(tmp_path: Path) -> None:
    assert np.abs(shades(tiff(tmp_path / "a.tif", TWELVE, 12)) - SHOWN).max() <= 1


def test_a_tiff_that_counts_its_largest_value_says_its_bits(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.minimum(TWELVE, 3000), 16, more=[(MAX, 3000)])
    np.testing.assert_array_equal(shades(path), np.minimum(TWELVE, 3000).astype(int) >> 4)


def test_a_png_that_says_its_significant_bits_is_stretched_by_them(tmp_path: Path) -> None:
    np.testing.assert_array_equal(shades(deep_png(tmp_path / "a.png", TWELVE, significant=[12])), TWELVE >> 4)


def test_values_that_fill_sixteen_bits_keep_their_shades_whatever_their_precision(tmp_path: Path) -> None:
    np.testing.assert_array_equal(shades(deep_png(tmp_path / "a.png", SIXTEEN)), SHOWN)
    # as PNG's specification has it: values are stretched to 16 bits, and sBIT says how many of them are exact
    np.testing.assert_array_equal(shades(deep_png(tmp_path / "b.png", SIXTEEN, significant=[12])), SHOWN)
    np.testing.assert_array_equal(shades(tiff(tmp_path / "c.tif", SIXTEEN, 16, more=[(MAX, 65535)])), SHOWN)
    np.testing.assert_array_equal(shades(tiff(tmp_path / "d.tif", SIXTEEN, 16, more=[(SMAX, 4095)])), SHOWN)
    np.testing.assert_array_equal(shades(deep_png(tmp_path / "e.png", SIXTEEN // 3)), (SIXTEEN // 3) >> 8)


def test_eight_bits_in_a_file_of_sixteen_stay_as_they_are(tmp_path: Path) -> None:
    np.testing.assert_array_equal(shades(deep_png(tmp_path / "a.png", SIXTEEN >> 8)), SHOWN)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_a_photo_that_does_not_say_which_value_is_white_is_named_with_its_largest(tmp_path: Path, bits: int) -> None:
    values = SIXTEEN >> (16 - bits)
    for path in (deep_png(tmp_path / "dark.png", values), tiff(tmp_path / "dark.tif", values, 16)):
        line = rf"{path.name}: holds values up to {2**bits - 1} in 16 bits and does not say which value is white"
        with pytest.raises(UnreadablePhoto, match=line) as caught:
            read_photo(path)
        assert "\n" not in str(caught.value)


def test_values_of_32_bits_are_not_cut_off_at_white(tmp_path: Path) -> None:
    Image.fromarray(SIXTEEN.astype(np.int32) * 1000).save(tmp_path / "a.tif")
    with pytest.raises(UnreadablePhoto, match=r"a\.tif: holds values up to 65535000 in 32 bits"):
        read_photo(tmp_path / "a.tif")


def test_white_that_is_stored_as_zero_is_white(tmp_path: Path) -> None:
    for bits, values in ((8, SHOWN), (16, SIXTEEN)):
        np.testing.assert_array_equal(shades(tiff(tmp_path / "a.tif", values, bits, photometric=0)), 255 - SHOWN)


def test_a_transparent_value_of_sixteen_bits_makes_itself_white_and_nothing_else(tmp_path: Path) -> None:
    Image.fromarray(SIXTEEN).save(tmp_path / "a.png", transparency=int(SIXTEEN[3, 4]))
    expected = SHOWN.copy()
    expected[3, 4] = 255
    np.testing.assert_array_equal(shades(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_colours_of_sixteen_bits_follow_the_same_rule(tmp_path: Path, ending: str) -> None:
    def saved(values: np.ndarray, stated: bool) -> Path:
        if ending == "png":
            return deep_png(tmp_path / "a.png", values, 2, [12, 12, 12] if stated else ())
        return tiff(tmp_path / "a.tif", values, 16, photometric=2, more=[(SMAX, 4095)] if stated else ())

    np.testing.assert_array_equal(np.asarray(read_photo(saved(COLOURS, True))), COLOURS >> 4)
    np.testing.assert_array_equal(np.asarray(read_photo(saved(COLOURS * 16, False))), COLOURS >> 4)
    with pytest.raises(UnreadablePhoto, match=r"holds values up to 4095 in 16 bits"):
        read_photo(saved(COLOURS, False))


def test_transparency_of_sixteen_bits_does_not_hide_dark_colours(tmp_path: Path) -> None:
    opaque = np.full((8, 12, 1), 65535, np.uint16)
    path = deep_png(tmp_path / "a.png", np.concatenate([COLOURS, opaque], axis=-1), 6, [12, 12, 12, 16])
    np.testing.assert_array_equal(np.asarray(read_photo(path)), COLOURS >> 4)
    path = deep_png(tmp_path / "b.png", np.concatenate([TWELVE[..., None], opaque], axis=-1), 4)
    with pytest.raises(UnreadablePhoto, match="does not say which value is white"):
        read_photo(path)


def test_greymaps_that_name_their_white_are_stretched_once(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 12 8 4095\n" + TWELVE.astype(">u2").tobytes())
    assert np.abs(shades(tmp_path / "a.pgm") - SHOWN).max() <= 1
