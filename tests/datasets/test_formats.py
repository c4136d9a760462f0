"""Photos as phones and cameras store them decode like any other: once upright, the picture meant, within the limits."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from tests.support.icc_profiles import P3_TO_XYZ, rgb_profile, srgb_curve
from tests.support.orientations import UPRIGHT

from streetlab.datasets import content
from streetlab.datasets.content import HEAD_BYTES, PassedOver, format_of, reason_to_pass
from streetlab.datasets.decode import TooManyPixels, UnreadablePhoto, read_mask, read_photo, read_photo_and_size
from streetlab.synthetic import draw_scene

PHOTO = Image.fromarray(draw_scene(3, 96, 160).image).filter(ImageFilter.GaussianBlur(1))


def stored(path: Path, form: str, photo: Image.Image = PHOTO, **options) -> Path:
    """The photo in a file, in the format of that name, however it is called."""
    if form == "HEIF":
        pillow_heif = pytest.importorskip("pillow_heif")
        pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    photo.save(buffer, form, **({} if form == "JPEG2000" else {"quality": 95}), **options)
    path.write_bytes(buffer.getvalue())
    return path


def difference(photo: Image.Image, expected: np.ndarray) -> float:
    assert photo.size == expected.shape[1::-1]
    return float(np.abs(np.asarray(photo).astype(int) - expected).mean())


@pytest.mark.parametrize(
    ("form", "detected"), [("HEIF", "HEIC"), ("AVIF", "AVIF"), ("JPEG2000", "JPEG 2000"), ("MPO", "JPEG")]
)
def test_photos_of_phones_and_cameras_decode_whatever_they_are_called(tmp_path: Path, form: str, detected: str) -> None:
    second = {"append_images": [PHOTO.rotate(180)], "save_all": True} if form in ("MPO", "HEIF") else {}
    path = stored(tmp_path / "IMG_1.bin", form, **second)
    assert format_of(path.read_bytes()[:HEAD_BYTES]) == detected
    assert reason_to_pass(path) is None
    assert difference(read_photo(path), np.asarray(PHOTO)) < 3


@pytest.mark.parametrize("form", ["HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_that_its_container_turns_is_turned_once(tmp_path: Path, form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = stored(tmp_path / "photo", form, exif=exif.tobytes())
    assert (b"irot" in path.read_bytes() or b"imir" in path.read_bytes()) == (orientation > 1)
    photo, size = read_photo_and_size(path)
    assert size == photo.size
    assert difference(photo, UPRIGHT[orientation](np.asarray(PHOTO))) < 3


def test_the_orientation_in_exif_does_not_turn_what_the_container_leaves(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = stored(tmp_path / "photo", "HEIF", exif=exif.tobytes())
    content_ = path.read_bytes()
    path.write_bytes(content_.replace(b"irot\x03", b"irot\x00"))
    assert path.read_bytes() != content_
    assert difference(read_photo(path), np.asarray(PHOTO)) < 3


def test_the_primary_picture_of_a_burst_is_read(tmp_path: Path) -> None:
    path = stored(tmp_path / "burst", "HEIF", PHOTO.rotate(180), save_all=True, append_images=[PHOTO], primary_index=1)
    assert difference(read_photo(path), np.asarray(PHOTO)) < 3


def test_ten_bits_are_reduced_to_eight(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    values = np.asarray(PHOTO).astype(np.uint16) * 257
    made = pillow_heif.from_bytes("RGB;16", PHOTO.size, values.tobytes())
    made.save(tmp_path / "deep", quality=95)
    with (tmp_path / "deep").open("rb") as file:
        assert pillow_heif.open_heif(file, convert_hdr_to_8bit=False).info["bit_depth"] == 10
    assert difference(read_photo(tmp_path / "deep"), np.asarray(PHOTO)) < 3


@pytest.mark.parametrize("form", ["HEIF", "AVIF", "JPEG", "WEBP"])
def test_a_wide_gamut_photo_has_the_colours_of_its_profile_in_each_format(tmp_path: Path, form: str) -> None:
    path = stored(tmp_path / "photo", form, Image.new("RGB", (64, 64), (200, 100, 60)),
                  icc_profile=rgb_profile(P3_TO_XYZ, srgb_curve))  # fmt: skip
    assert np.abs(np.asarray(read_photo(path)).reshape(-1, 3).mean(axis=0) - (216, 95, 47)).max() < 4


def test_pixels_are_those_of_libheifs_own_program(tmp_path: Path) -> None:
    if shutil.which("heif-convert") is None:
        pytest.skip("no heif-convert here")
    path = stored(tmp_path / "photo.heic", "HEIF")
    subprocess.run(["heif-convert", path, tmp_path / "theirs.png"], check=True, capture_output=True)
    assert difference(read_photo(path), np.asarray(Image.open(tmp_path / "theirs.png").convert("RGB"))) < 0.5


def test_without_its_package_a_heic_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "heif_readable", lambda: False)
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(UnreadablePhoto, match=r"IMG_1.HEIC: HEIC; reading it takes pip install 'streetlab\[photos\]'"):
        read_photo(path)
    assert "needs an extra" in str(reason_to_pass(path))


@pytest.mark.parametrize("head", [b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"], ids=["codestream", "container"])
def test_a_jpeg_xl_is_named_as_what_it_is_and_is_not_lost_in_silence(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "photo.jxl"
    path.write_bytes(head + bytes(100))
    with pytest.raises(UnreadablePhoto, match=r"photo\.jxl: JPEG XL, which is not read; djxl converts it to JPEG"):
        read_photo(path)
    passed = PassedOver()
    passed.add(str(reason_to_pass(path)), path)
    assert passed.loses_photos
    assert "1 in a format that is not read (JPEG XL), first" in passed.sentence()


@pytest.mark.parametrize("form", ["HEIF", "AVIF", "JPEG2000"])
def test_damaged_and_large_photos_are_refused_as_those_of_other_formats(tmp_path: Path, form: str) -> None:
    path = stored(tmp_path / "photo", form)
    with pytest.raises(TooManyPixels, match="160x96 are 15,360 pixels"):
        read_photo(path, most_pixels=15_000)
    with pytest.raises(UnreadablePhoto, match="but a mask must come from a lossless format"):
        read_mask(path)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:40], whole[:100] + bytes(len(whole) - 100)):
        path.write_bytes(damaged)
        with pytest.raises(UnreadablePhoto) as refused:
            read_photo(path)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("stated", [(8, 8), (1600, 960), (65_535, 65_535)])
def test_a_header_that_lies_about_its_size_is_refused(tmp_path: Path, stated: tuple[int, int]) -> None:
    path = stored(tmp_path / "photo", "HEIF", PHOTO.resize((1600, 960)).crop((0, 0, 800, 800)))
    whole = path.read_bytes()
    place = whole.index(b"ispe") + 8
    width, height = stated
    path.write_bytes(whole[:place] + width.to_bytes(4, "big") + height.to_bytes(4, "big") + whole[place + 8 :])
    with pytest.raises(UnreadablePhoto):
        read_photo(path)
