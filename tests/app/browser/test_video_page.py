"""Videos, classifications and downloads on the whole page, from the upload to the file on the visitor's disk."""

from __future__ import annotations

import csv
import io
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("av", reason="videos need streetlab[video]")

from tests.support.axe import faults
from tests.support.numbered_video import FPS, numbered_ids, numbered_photo, write_numbered
from tests.support.page_stand_in import StandInCatalog, confidence_of, ids_of
from tests.support.pages import canvas, eventually, is_shown, set_value, shown, upload
from tests.support.serving import Served, serving
from tests.support.videos import make_video

from streetlab.datasets.labels import CITYSCAPES, CLEANLINESS
from streetlab.plots.paint import PaintStyle, paint

SIZE = (54, 96)
FRAMES = 40


def film(job, catalog, jobs, report, cancelled):
    """Stands in for the work on videos: whatever was uploaded, 40 numbered frames; everything else is the real work."""
    from streetlab.app.media import results
    from streetlab.inference.video.reader import probe

    if job.kind != "video":
        from streetlab.app.jobs.work import work

        return work(job, catalog, jobs, report, cancelled)
    report(0, FRAMES)
    told = write_numbered(job.folder, FRAMES, SIZE, job.upload)
    files = {"photo": results.PHOTO_VIDEO}
    told |= {"audio": probe(job.folder / "photo.mp4").audio, "broken": None}
    told |= {"unlike_training": True, "unlike_share": 0.926} if "night" in job.name else {}
    if catalog.label_space(job.model).task == "segmentation":
        files["ids"] = results.IDS_VIDEO
        told["shares"] = np.bincount(numbered_ids(0, SIZE).ravel(), minlength=19).tolist()
    else:
        told |= {"task": "classification", "prediction": 2, "calibrated": True}
        told["probabilities"] = [[0.75 - n / 80, 0.25, n / 80] for n in range(FRAMES)]
    (job.folder / results.SHARES).write_text("frame,seconds\n")
    return told | {"files": results.addresses(job.id, csv=results.SHARES, **files)}


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """A server whose videos are numbered films."""
    import streetlab.app.jobs.work  # noqa: F401  (brings torch along, for which no visitor of a test is to wait)
    from streetlab.app.server import create_app
    from streetlab.app.settings import Settings

    settings = Settings(storage=tmp_path_factory.mktemp("storage"), runs=tmp_path_factory.mktemp("runs"), port=0)
    catalog = StandInCatalog(settings)
    catalog.gate.set()
    with serving(create_app(settings, catalog=catalog, work=film)) as url:  # type: ignore[arg-type]
        yield Served(url, settings, catalog)


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A video with sound, as a visitor has it."""
    return make_video(tmp_path_factory.mktemp("street") / "our street.mp4", frames=FRAMES, fps=FPS, audio="aac")


def frame_is(page, number):
    """Wait until the controls name a frame, counted from 1."""
    eventually(lambda: page.locator(".transport .number").text_content(), f"frame {number} of {FRAMES}")


def saved(page, part):
    """The name and bytes of a download of the menu."""
    page.click("#download summary")
    with page.expect_download(timeout=60_000) as waiting:
        page.click(f"#download [data-part={part}]")
    return waiting.value.suggested_filename, waiting.value.path().read_bytes()


def test_a_video_is_uploaded_and_its_ids_are_painted_without_asking_again(filmed, visit, street):
    opened = visit(filmed.url)
    page = opened.page
    shown(page, street)
    palette = np.array(CITYSCAPES.palette, np.uint8)
    for number in (1, 2, 3):
        frame_is(page, number)
        assert np.array_equal(canvas(page)[..., :3], palette[numbered_ids(number - 1, SIZE)])
        page.keyboard.press(".")
    frame_is(page, 4)
    before = len(opened.requests)
    set_value(page, "input[name=alpha]", 20)
    page.click(".legend [data-class='0'] input[type=checkbox]")
    page.check("input[name=outlines]")
    eventually(lambda: canvas(page)[numbered_ids(3, SIZE) == 0].max(), 0)
    eventually(lambda: canvas(page, "canvas.outlines").max() > 0, True)
    assert float(page.locator("canvas.overlay").evaluate("canvas => canvas.style.opacity")) == 0.2
    page.focus("#stage")  # space belongs to a button or box that has the focus
    page.keyboard.press(" ")
    frame_is(page, FRAMES)
    media = (".mp4", ".webm", "icon.svg")  # the icon is the browser's own wish
    assert [url for url in opened.requests[before:] if not url.endswith(media)] == []


def test_the_video_as_shown_is_downloaded_with_its_rate_its_frames_and_its_sound(filmed, visit, street, tmp_path):
    from streetlab.inference.video.reader import VideoReader

    page = visit(filmed.url).page
    shown(page, street)
    set_value(page, "input[name=alpha]", 100)
    page.click("#none")
    page.click(".legend [data-class='3'] input[type=checkbox]")
    name, content = saved(page, "overlay")
    assert name == "our street_overlay.mp4"
    (tmp_path / name).write_bytes(content)
    with VideoReader(tmp_path / name) as video:
        assert (video.info.height, video.info.width, video.info.fps, video.info.audio) == (*SIZE, FPS, True)
        frames = [frame.pixels for frame in video]
    assert len(frames) == FRAMES
    look = PaintStyle(CITYSCAPES.palette, alpha=1.0, hidden=frozenset(set(range(19)) - {3}))
    wanted = paint(numbered_photo(29, SIZE), numbered_ids(29, SIZE), look)
    assert np.abs(frames[29].astype(int) - wanted).mean() < 16  # class by class it is another picture; JPEG-like loss


def test_a_video_unlike_the_training_photos_says_how_much_of_it_is(filmed, visit, street, tmp_path):
    page = visit(filmed.url).page
    shown(page, street)
    note = page.locator(".pane-note").first
    eventually(note.is_visible, False)
    shown(page, Path(shutil.copy(street, tmp_path / "night.mp4")))
    eventually(note.is_visible, True)
    said = "93% of the frames compared are unlike the training photos (cityscapes photos): do not rely on this result."
    assert note.text_content() == said


def test_the_zip_of_a_video_holds_ids_that_decode_to_the_right_classes(filmed, visit, street, tmp_path):
    from streetlab.inference.video.id_stream import IdStreamReader

    page = visit(filmed.url).page
    shown(page, street)
    name, content = saved(page, "all")
    assert name == "our street.zip"
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert {"our street_overlay.mp4", "our street_ids.webm", "our street_shares.csv"} <= set(archive.namelist())
    (tmp_path / "ids.webm").write_bytes(archive.read("our street_ids.webm"))
    with IdStreamReader(tmp_path / "ids.webm") as stream:
        for frame, (ids, _, _) in enumerate(stream):
            assert np.array_equal(ids, numbered_ids(frame, SIZE))
    assert frame == FRAMES - 1


def test_a_photo_s_downloads_are_its_ids_the_overlay_as_shown_and_a_zip_of_all_photos(filmed, visit, striped):
    page = visit(filmed.url).page
    upload(page, striped, striped)
    is_shown(page)
    ids = ids_of(Image.open(striped), CITYSCAPES)
    name, content = saved(page, "ids")
    assert name == "striped_ids.png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), ids)
    set_value(page, "input[name=alpha]", 70)
    set_value(page, "input[name=threshold]", 40)
    page.click(".legend [data-class='5'] input[type=checkbox]")
    _, content = saved(page, "overlay")
    photo = page.evaluate(
        "fetch(document.querySelector('img.photo').src).then(answer => answer.bytes()).then(Array.from)"
    )
    look = PaintStyle(CITYSCAPES.palette, alpha=0.7, hidden=frozenset({5}), threshold=0.4)
    wanted = paint(np.asarray(Image.open(io.BytesIO(bytes(photo)))), ids, look, confidence_of(Image.open(striped)))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), wanted)
    eventually(lambda: page.locator(".jobs .job[data-state=done]").count(), 2)
    name, content = saved(page, "photos")
    assert name == "streetlab-2-results.zip"
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert {"striped_ids.png", "striped-2_ids.png", "shares.csv"} <= set(archive.namelist())
    rows = list(csv.DictReader(io.TextIOWrapper(archive.open("shares.csv"))))
    assert {row["file"] for row in rows} == {"striped", "striped-2"}


def test_what_cannot_be_downloaded_is_said(filmed, visit, street):
    page = visit(filmed.url).page
    shown(page, street)
    page.route("**/render", lambda route: route.fulfill(status=507, json={"error": "the storage is full"}))
    page.click("#download summary")
    page.click("#download [data-part=overlay]")
    eventually(lambda: page.locator("#download [role=status]").text_content(), "the storage is full")


def test_a_classified_photo_has_bars_maps_of_its_classes_and_what_of_them_is_ground(filmed, visit, striped):
    opened = visit(filmed.url)
    page = opened.page
    page.wait_for_selector("body[data-state=ready]")
    page.select_option("#models", "clean")
    shown(page, striped)
    said = page.locator(".bars").text_content()
    for text in ("Litter 70.0 %", "Clean10.0 %", "Medium20.0 %", "Not calibrated"):
        assert text in said
    heat = canvas(page)
    values = confidence_of(Image.open(striped)).astype(int)
    values = np.rint(values * 255 / values.max())
    assert np.array_equal(heat[..., 3] > 0, values > 0)
    assert np.array_equal(heat[..., 3], np.rint(255 * (values / 255) ** 0.6))
    assert page.locator(".bar[aria-pressed=true] .name").text_content() == "Litter"
    before = len(opened.requests)
    page.click(".bar:has-text('Clean')")
    eventually(lambda: page.locator(".bar[aria-pressed=true] .name").text_content(), "Clean")
    set_value(page, "input[name=threshold]", 50)
    eventually(lambda: (canvas(page)[..., 3] > 0).tolist(), (values >= 127.5).tolist())
    assert len(opened.requests) <= before + 1, "only the map itself is fetched"
    name, content = saved(page, "snapshot")
    assert name == "striped_map.png"
    assert Image.open(io.BytesIO(content)).size == Image.open(striped).size
    page.select_option("#second", "first")
    eventually(lambda: "of what speaks for Clean lies on the ground" in page.locator(".attention").text_content(), True)
    ids = ids_of(Image.open(striped), CITYSCAPES)
    ground = np.isin(ids, [0, 1, 9])
    share = values[ground].sum() / values.sum()
    found = re.match(r"([\d.]+) %.* which is ([\d.]+) % of", page.locator(".attention").text_content())
    assert found
    assert float(found[1]) == pytest.approx(100 * share, abs=0.06)
    assert float(found[2]) == pytest.approx(100 * ground.mean(), abs=0.06)
    lines = canvas(page, "canvas.ground")[..., 3] > 0
    border = np.zeros_like(ground)
    border[:, 1:] |= ground[:, 1:] != ground[:, :-1]
    border[:, :-1] |= ground[:, 1:] != ground[:, :-1]
    assert np.array_equal(lines, border)


def test_a_classified_video_says_each_frame_s_probabilities_and_moves_by_its_chart(filmed, visit, street):
    page = visit(filmed.url).page
    page.wait_for_selector("body[data-state=ready]")
    page.select_option("#models", "clean")
    shown(page, street)
    names = list(CLEANLINESS.names)
    assert [text.strip() for text in page.locator(".bar .name").all_text_contents()] == names
    frame_is(page, 1)
    assert page.locator(".verdict").text_content() == "Clean 75.0 %"
    assert page.locator("input[name=alpha]").is_hidden(), "nothing is painted over the photo"
    assert page.locator("#second-state").text_content() == "two models are compared on photos only"
    name, _ = saved(page, "snapshot")
    assert name == "our street_frame.png"
    box = page.locator(".time-chart").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 1, box["y"] + 9)
    frame_is(page, FRAMES)
    assert page.locator(".verdict").text_content() == f"Litter {100 * (FRAMES - 1) / 80:.1f} %"
    assert float(page.locator(".playhead").get_attribute("x1")) == 1
    assert page.locator(".time-chart polygon").count() == len(names)
    assert "of 40 frames: Clean 31, Litter 9" in page.locator(".time-chart").get_attribute("aria-label")


def test_axe_finds_no_serious_fault_in_videos_and_classifications(filmed, visit, street, striped):
    page = visit(filmed.url, viewport={"width": 320, "height": 640}, reduced_motion="reduce").page
    shown(page, street)
    page.click("#download summary")
    assert faults(page) == []
    page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    tops = page.locator(".transport .control").evaluate_all("all => all.map(one => one.getBoundingClientRect().top)")
    assert len(tops) == 5
    assert max(tops) - min(tops) < 1, "the buttons fit on one line"
    page.select_option("#models", "clean")
    page.wait_for_selector(".time-chart")
    is_shown(page)
    assert faults(page) == []
    page.set_input_files("#more-files", striped)
    page.wait_for_selector(".heat-scale")
    is_shown(page)
    assert faults(page) == []
    page.emulate_media(color_scheme="dark")
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 320
