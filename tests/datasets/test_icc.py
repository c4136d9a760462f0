"""Photos whose file names another colour space are seen as a viewer shows them; all others keep their bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from tests.support.icc_profiles import (
    P3_TO_XYZ,
    SRGB_TO_XYZ,
    cmyk_profile,
    grey_profile,
    rgb_profile,
    srgb_curve,
    srgb_values,
)

from streetlab.datasets.decode import read_photo

LEVELS = np.linspace(0, 255, 16).astype(np.uint8)
COLOURS = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS, indexing="ij"), axis=-1).reshape(64, 64, 3)
DISPLAY_P3 = rgb_profile(P3_TO_XYZ, srgb_curve)
SRGB = rgb_profile(SRGB_TO_XYZ, srgb_curve)


def read(path: Path) -> np.ndarray:
    return np.asarray(read_photo(path)).astype(int)


@pytest.mark.parametrize(
    ("to_xyz", "curve"),
    [
        pytest.param(P3_TO_XYZ, srgb_curve, id="Display P3"),
        pytest.param(SRGB_TO_XYZ, lambda values: values**1.8, id="another curve"),
        pytest.param(P3_TO_XYZ[:, ::-1], srgb_curve, id="red and blue exchanged"),
    ],
)
def test_colours_are_those_that_the_profiles_arithmetic_gives(tmp_path: Path, to_xyz, curve) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(COLOURS).save(path, icc_profile=rgb_profile(to_xyz, curve))
    light = curve(COLOURS / 255) @ (np.linalg.inv(SRGB_TO_XYZ) @ to_xyz).T
    expected = srgb_values(light) * 255
    assert np.abs(read(path) - expected).max() < 1
    assert np.abs(read(path) - COLOURS).max() > 15


@pytest.mark.parametrize("profile", [SRGB, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_photos_in_srgb_keep_every_bit(tmp_path: Path, form: str, profile: bytes) -> None:
    for name, options in (("plain", {}), ("named", {"icc_profile": profile})):
        Image.fromarray(COLOURS).save(tmp_path / name, form, **options)
    assert np.array_equal(read(tmp_path / "plain"), read(tmp_path / "named"))


def test_a_printers_photo_has_the_colours_of_its_inks_on_paper(tmp_path: Path) -> None:
    inks = np.array([[bits >> place & 1 for place in (3, 2, 1, 0)] for bits in range(16)], np.uint8) * 255
    path = tmp_path / "photo.tif"
    Image.fromarray(inks[None], "CMYK").save(path, icc_profile=cmyk_profile(lambda bits: 100 - bits / 0.15))
    lightness = 100 - np.arange(16) / 0.15
    f = (lightness + 16) / 116
    light = np.where(lightness > 8, f**3, lightness / 903.3)  # CIE's Y of L*
    expected = srgb_values(light)[:, None] * 255
    assert np.abs(read(path)[0] - expected).max() < 2


def test_a_grey_photos_curve_is_applied_and_greys_stay_grey(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    greys = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(greys).save(path, icc_profile=grey_profile(lambda values: values**1.8))
    expected = srgb_values((greys / 255) ** 1.8) * 255
    assert np.abs(read(path) - expected[..., None]).max() < 1.5
    assert np.abs(read(path)[..., 0] - greys).max() > 12
    Image.fromarray(greys).save(path, icc_profile=grey_profile(srgb_curve))
    assert np.array_equal(read(path), np.repeat(greys[..., None], 3, axis=2))


def test_transparent_and_palette_photos_are_converted_too(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), (0, 255, 0)).save(tmp_path / "rgb.png", icc_profile=DISPLAY_P3)
    Image.new("RGBA", (2, 2), (0, 255, 0, 255)).save(tmp_path / "rgba.png", icc_profile=DISPLAY_P3)
    palette = Image.new("RGB", (2, 2), (0, 255, 0)).quantize(2)
    palette.save(tmp_path / "palette.png", icc_profile=DISPLAY_P3)
    assert (read(tmp_path / "rgb.png") == read(tmp_path / "rgba.png")).all()
    assert (read(tmp_path / "rgb.png") == read(tmp_path / "palette.png")).all()


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(b"no profile", id="text"),
        pytest.param(DISPLAY_P3[:200], id="cut off"),
        pytest.param(DISPLAY_P3[:132] + b"\xff" * (len(DISPLAY_P3) - 132), id="directory of nonsense"),
        pytest.param(grey_profile(lambda values: values), id="of a grey photo"),
        pytest.param(cmyk_profile(lambda bits: 50.0), id="of a printer"),
    ],
)
def test_a_profile_that_does_not_fit_the_photo_changes_nothing(tmp_path: Path, profile: bytes) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "photo.png", icc_profile=profile)
    assert np.array_equal(read(tmp_path / "photo.png"), COLOURS)
