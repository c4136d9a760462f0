"""What is taken in: told by content, whatever it is called."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.support.app_stand_ins import encoded, photo_bytes
from tests.support.crafted_files import deep_png
from tests.support.videos import make_video

from streetlab.app.media.uploads import Refused, check_file, display_name, kind_of, most_frames
from streetlab.app.settings import Settings

PHOTO = Image.fromarray(np.arange(24 * 16 * 3, dtype=np.uint8).reshape(16, 24, 3))
GREY16 = Image.fromarray(np.linspace(0, 65535, 24 * 16).astype(np.uint16).reshape(16, 24))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(encoded(PHOTO, ".jpg"), id="jpeg"),
        pytest.param(encoded(PHOTO.convert("CMYK"), ".jpg"), id="cmyk jpeg"),
        pytest.param(encoded(PHOTO), id="png"),
        pytest.param(encoded(PHOTO.convert("RGBA")), id="png with transparency"),
        pytest.param(encoded(GREY16), id="16-bit png"),
        pytest.param(encoded(PHOTO.quantize(8)), id="palette png"),
        pytest.param(encoded(PHOTO, ".webp"), id="webp"),
        pytest.param(encoded(PHOTO, ".bmp"), id="bmp"),
        pytest.param(encoded(PHOTO, ".tiff", compression="tiff_lzw"), id="tiff"),
        pytest.param(encoded(PHOTO, ".mpo", save_all=True, append_images=[PHOTO]), id="mpo"),
        pytest.param(encoded(PHOTO, ".avif"), id="avif"),
        pytest.param(encoded(PHOTO, ".jpeg2000"), id="jpeg 2000"),
        pytest.param(encoded(PHOTO, ".gif", save_all=True, append_images=[GREY16.convert("L")]), id="animated gif"),
        pytest.param(encoded(PHOTO, ".png", save_all=True, append_images=[PHOTO.rotate(90)]), id="animated png"),
        pytest.param(encoded(PHOTO, ".webp", save_all=True, append_images=[PHOTO.rotate(90)]), id="animated webp"),
    ],
)
def test_photos_of_all_allowed_formats_are_taken(content, tmp_path):
    path = tmp_path / "upload"
    path.write_bytes(content)
    assert check_file(path, Settings(storage=tmp_path)) == "photo"


@pytest.mark.filterwarnings("error")  # Pillow's own, of photos beyond its limit, would stand on the server's terminal
def test_a_huge_photo_is_refused_from_its_header_by_our_limit_alone(tmp_path):
    path = deep_png(tmp_path / "upload", np.zeros((1, 1)), size=(12_000, 9_000))
    with pytest.raises(Refused, match="12000 × 9000 pixels, but 64 megapixels are the most allowed") as refused:
        check_file(path, Settings(storage=tmp_path))
    assert refused.value.status == 413


def test_a_photo_whose_white_is_not_known_is_refused_in_a_sentence(tmp_path):
    path = deep_png(tmp_path / "upload", np.arange(24 * 16).reshape(16, 24) * 10)
    with pytest.raises(Refused, match=r"^the photo holds values up to 3830 in 16 bits and does not say") as refused:
        check_file(path, Settings(storage=tmp_path))
    assert refused.value.status == 422


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm", ".mkv", ".avi"])
def test_videos_of_all_allowed_formats_are_taken(suffix, tmp_path):
    path = make_video(tmp_path / f"street{suffix}", frames=3).rename(tmp_path / "upload")
    assert check_file(path, Settings(storage=tmp_path)) == "video"


def test_a_video_of_too_many_frames_or_pixels_is_refused_from_its_header(tmp_path):
    path = make_video(tmp_path / "long.mp4", frames=12, size=(48, 64))
    with pytest.raises(Refused, match=r"12 frames, but 11 are the most") as frames:
        check_file(path, Settings(storage=tmp_path, video_frames=11))
    with pytest.raises(Refused, match="64 × 48 pixels") as pixels:
        check_file(path, Settings(storage=tmp_path, pixels=64 * 48 - 1))
    assert frames.value.status == pixels.value.status == 413
    assert check_file(path, Settings(storage=tmp_path, video_frames=12, pixels=64 * 48)) == "video"


def test_the_pixels_of_a_photo_are_counted_before_any_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "upload"
    path.write_bytes(photo_bytes(size=(20, 10)))
    monkeypatch.setattr("streetlab.app.media.uploads.read_photo", lambda path: pytest.fail("it was decoded"))
    with pytest.raises(Refused, match="20 × 10 pixels"):
        check_file(path, Settings(storage=tmp_path, pixels=199))


def test_without_its_package_videos_are_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr("streetlab.app.media.uploads.videos_readable", lambda: False)
    with pytest.raises(Refused, match=r"streetlab\[video\]") as refused:
        kind_of(b"\0\0\0\x20ftypisom")
    assert refused.value.status == 415


@pytest.mark.usefixtures("no_heif")
def test_without_its_package_heic_photos_are_refused_with_what_to_install():
    with pytest.raises(
        Refused, match=r"^HEIC photos cannot be read here: pip install 'streetlab\[photos\]'$"
    ) as refused:
        kind_of(b"\0\0\0\x18ftypheic")
    assert refused.value.status == 415


def test_a_heic_is_taken_and_a_damaged_or_large_one_refused_like_any_photo(tmp_path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    whole, path, settings = encoded(PHOTO, ".heif"), tmp_path / "upload", Settings(storage=tmp_path, pixels=24 * 16)
    path.write_bytes(whole)
    assert check_file(path, settings) == "photo"
    with pytest.raises(Refused, match="24 × 16 pixels") as refused:
        check_file(path, Settings(storage=tmp_path, pixels=24 * 16 - 1))
    assert refused.value.status == 413
    for damaged in (whole[: len(whole) // 2], whole[:24]):
        path.write_bytes(damaged)
        with pytest.raises(Refused, match="does not decode") as refused:
            check_file(path, settings)
        assert refused.value.status == 422
        assert str(tmp_path) not in str(refused.value)


def test_a_refusal_names_no_path_of_the_server(tmp_path):
    for content in (photo_bytes()[:-300], photo_bytes(suffix=".jpg")[:200], b"\0\0\0\x20ftypisom" + bytes(100)):
        path = tmp_path / "upload"
        path.write_bytes(content)
        with pytest.raises(Refused) as refused:
            check_file(path, Settings(storage=tmp_path))
        assert refused.value.status == 422
        assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("Straße (1).jpg", "Straße (1).jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a.jpg", "a.jpg"),
        ("..", "photo"),
        ("", "photo"),
        ("a\x00b\n\x1b[31mc.png", "ab[31mc.png"),
        ("\u202egpj.exe", "gpj.exe"),
        ("  a   b.png ", "a b.png"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),  # shown as text, never as HTML
        ("\ud800.png", ".png"),
        ("京" * 200 + ".jpeg", "京" * 113 + "….jpeg"),
        ("x" * 200, "x" * 119 + "…"),
    ],
)
def test_a_visitors_name_becomes_fit_to_be_shown(raw, shown):
    assert display_name(raw, "photo") == shown


@pytest.mark.usefixtures("no_heif")
def test_a_file_is_judged_by_content_and_not_by_name():
    assert kind_of(b"\xff\xd8\xff\xe0") == "photo"
    for start in (b"\0\0\0\x18ftypheic", b"#EXTM3U\n", b"<html>", b"", b"RIFF\0\0\0\0WAVE", b"OggS", b"fLaC"):
        with pytest.raises(Refused) as refused:
            kind_of(start)
        assert refused.value.status == 415


def test_a_small_file_of_many_large_frames_is_refused_with_what_was_found_and_what_is_allowed(tmp_path):
    path = make_video(tmp_path / "bomb.mp4", frames=60, size=(480, 480))
    assert path.stat().st_size < 100_000
    assert check_file(path, Settings(storage=tmp_path, visitor_pixels=60 * 480 * 480)) == "video"
    with pytest.raises(Refused) as refused:
        check_file(path, Settings(storage=tmp_path, visitor_pixels=60 * 480 * 480 - 1))
    assert refused.value.status == 413
    line = "about 60 frames of 0.2304 megapixels are 14 megapixels in all, but 14 are the most of one visitor here"
    assert str(refused.value).startswith(line)


def test_a_video_that_does_not_say_how_long_it_is_is_read_as_far_as_the_budget_goes(tmp_path):
    settings = Settings(storage=tmp_path, visitor_pixels=10 * 64 * 48)
    assert most_frames(64 * 48, settings) == 10
    assert most_frames(11 * 64 * 48, settings) == 1
