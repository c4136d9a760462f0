"""What a job leaves behind: the engine's own answer, to the pixel, in files that the page and people can read."""

from __future__ import annotations

import csv
import json
import secrets
import shutil
import time
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.app_records import Brightness, Columns, StandIns, Visits, columns, settings
from tests.support.videos import audio_payload, joined, make_video, times

from streetlab.app.jobs.bundle import bundle
from streetlab.app.jobs.queue import Jobs
from streetlab.app.jobs.work import work
from streetlab.app.models.catalog import Catalog
from streetlab.datasets.decode import read_photo
from streetlab.datasets.labels import CAMVID
from streetlab.errors import UserError
from streetlab.inference.predictions import Segmented
from streetlab.inference.predictor import Predictor
from streetlab.inference.video.id_stream import IdStreamReader, Layout
from streetlab.inference.video.reader import VideoReader, probe
from streetlab.inference.views import Views
from streetlab.plots.paint import PaintStyle, paint
from streetlab.progress import Cancelled


@pytest.fixture
def real(classifier, segmenter, tmp_path) -> Visits:
    """Visits to the two trained runs, which the catalog calls by `model(task)`."""
    configured = settings(tmp_path, runs=tmp_path / "runs", batch_size=3)
    return Visits(Catalog(configured), configured.storage)


@pytest.fixture
def visits(tmp_path) -> Visits:
    configured = settings(tmp_path)
    return Visits(StandIns(configured), configured.storage)


def model(visits: Visits, task: str) -> str:
    (entry,) = [entry for entry in visits.catalog.models() if entry["task"] == task]
    return entry["id"]


def values(path: Path) -> np.ndarray:
    image = Image.open(path)
    assert image.mode in ("L", "P")
    return np.asarray(image)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def stored(kind: str, folder: Path) -> tuple[Path, tuple[int, int]]:
    """A photo as people have them, and its upright (height, width)."""
    pixels = np.random.default_rng(1).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    photo, path = Image.fromarray(pixels), folder / "photo.png"
    if kind == "16-bit":
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(path)
    elif kind == "turned by EXIF":
        path = folder / "photo.jpg"
        exif = Image.Exif()
        exif[0x0112] = 6
        photo.save(path, exif=exif)
        return path, (53, 37)
    else:
        photo.convert(kind).save(path)
    return path, (37, 53)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "L", "P", "16-bit", "turned by EXIF"])
def test_a_photo_s_mask_is_the_engine_s_at_the_photo_s_own_size(real, segmenter, tmp_path, kind):
    path, size = stored(kind, tmp_path)
    job = real.do("photo", model(real, "segmentation"), path)
    (answer,) = Predictor.from_run(segmenter, device="cpu").predict([read_photo(path)])
    assert isinstance(answer, Segmented)
    assert (job.result["height"], job.result["width"]) == size == answer.ids.shape
    np.testing.assert_array_equal(values(real.file(job, "ids")), answer.ids)
    np.testing.assert_array_equal(values(real.file(job, "palette")), answer.ids)
    np.testing.assert_array_equal(values(real.file(job, "confidence")), answer.confidence)
    assert Image.open(real.file(job, "photo")).size == size[::-1]
    assert sum(job.result["shares"]) == pytest.approx(1)
    counts = np.bincount(answer.ids.ravel(), minlength=19)
    assert job.result["shares"] == pytest.approx((counts / counts.sum()).tolist())
    assert [int(row["pixels"]) for row in table(real.file(job, "csv"))] == counts.tolist()
    assert job.result["ground"] == [0, 1, 9], "road, sidewalk, terrain"
    assert job.result["unlike_training"] is answer.unlike_training is True
    assert set(job.result["milliseconds"]) == {"decode", "network", "write"}
    assert real.reported == [(0, 1), (1, 1)]


def test_options_reach_the_network(real, segmenter, tmp_path):
    path, _ = stored("RGB", tmp_path)
    asked = {"mode": "direct", "flip": True, "scales": [0.75, 1.0], "cam": True, "smooth": 0.0}
    job = real.do("photo", model(real, "segmentation"), path, **asked)
    views = Views(mode="direct", flip=True, scales=(0.75, 1.0))
    (answer,) = Predictor.from_run(segmenter, device="cpu", views=views).predict([read_photo(path)])
    assert isinstance(answer, Segmented)
    np.testing.assert_array_equal(values(real.file(job, "ids")), answer.ids)
    assert len(real.catalog.loaded()) == 1, "other options share the network"


def test_a_classified_photo_has_probabilities_and_one_map_for_each_class(real, classifier, tmp_path):
    path, size = stored("turned by EXIF", tmp_path)
    job = real.do("photo", model(real, "classification"), path, cam=True)
    (answer,) = Predictor.from_run(classifier, device="cpu").predict([read_photo(path)], activations=True)
    assert job.result["probabilities"] == pytest.approx(answer.probabilities.tolist())
    assert job.result["prediction"] == answer.prediction
    assert job.result["calibrated"] is True
    assert job.result["unlike_training"] is answer.unlike_training is not None
    assert [entry["class"] for entry in job.result["activations"]] == [0, 1, 2]
    scale = job.result["activation_scale"]
    assert scale == pytest.approx(answer.activations.max())
    for entry, expected in zip(job.result["activations"], answer.activations, strict=True):
        found = values(job.folder / entry["file"].rpartition("/")[2])
        assert found.shape == size
        np.testing.assert_allclose(found * scale / 255, expected, atol=scale / 500)
    rows = table(real.file(job, "csv"))
    assert [float(row["probability"]) for row in rows] == pytest.approx(job.result["probabilities"], abs=1e-6)
    assert "activations" not in real.do("photo", model(real, "classification"), path).result


def test_a_segmented_video_plays_beside_its_ids(real, segmenter, tmp_path):
    source = make_video(tmp_path / "clip.mp4", frames=7, size=(50, 74), fps=Fraction(30000, 1001), audio="aac")
    job = real.do("video", model(real, "segmentation"), source)
    result, photo = job.result, real.file(job, "photo")
    assert (result["width"], result["height"], result["fps"], result["frames"]) == (74, 50, "30000/1001", 7)
    assert (result["audio"], result["broken"], job.state) == (True, None, "done")
    assert audio_payload(photo) == audio_payload(source)
    with VideoReader(photo) as shown:
        assert shown.info.fps == Fraction(30000, 1001)
        assert [frame.time for frame in shown] == pytest.approx(result["times"], abs=1e-6)
    predictor = Predictor.from_run(segmenter, device="cpu", batch_size=3)
    with VideoReader(source) as reader, IdStreamReader(real.file(job, "ids")) as stream:
        frames = [Image.fromarray(frame.pixels) for frame in reader]
        ids = [found for found, _, _ in stream]
        assert stream.layout == Layout.from_dict(result["layout"])
    expected = [answer.ids for answer in predictor.predict(frames)]
    np.testing.assert_array_equal(ids, expected)
    rows = table(real.file(job, "csv"))
    assert [float(row["road"]) for row in rows] == pytest.approx([(one == 0).mean() for one in expected], abs=1e-6)
    assert result["shares"][0] == pytest.approx(np.mean([(one == 0).mean() for one in expected]))
    assert real.reported[-1] == (7, 7)
    assert sorted(path.name for path in job.folder.iterdir()) == ["ids.webm", "photo.mp4", "shares.csv"]


def test_a_zip_of_a_video_holds_what_is_needed_to_read_it(visits, tmp_path):
    visits.catalog.networks["columns"] = Video()
    source = make_video(tmp_path / "clip.mp4", frames=4, fps=Fraction(30000, 1001))
    job = visits.do("video", "columns", source)
    with pytest.raises(UserError, match=f"is made by POST /api/jobs/{job.id}/render first"):
        bundle([job], {}, ["overlay"], visits.catalog)
    name, media_type, alone = bundle([job], {}, ["ids"], visits.catalog)
    assert (name, media_type, alone) == ("clip_ids.webm", "video/webm", visits.file(job, "ids"))
    shown = visits.do("render", "columns", name="clip.mp4", source=job.id)
    packed = tmp_path / "all.zip"
    packed.write_bytes(b"".join(bundle([job, shown], {}, ["ids", "overlay", "csv"], visits.catalog)[2]))
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "unpacked")
    unpacked = {path.name: path for path in (tmp_path / "unpacked").iterdir()}
    assert sorted(unpacked) == ["clip_ids.json", "clip_ids.webm", "clip_overlay.mp4", "clip_shares.csv"]
    with IdStreamReader(unpacked["clip_ids.webm"]) as stream:
        np.testing.assert_array_equal([ids for ids, _, _ in stream], [bands(48, 64)] * 4)
    key = json.loads(unpacked["clip_ids.json"].read_text())
    assert (key["fps"], key["frames"], key["classes"]) == ("30000/1001", 4, list(CAMVID.names))
    assert Layout.from_dict(key["layout"]) == stream.layout
    assert probe(unpacked["clip_overlay.mp4"]).fps == Fraction(30000, 1001)


def test_a_classified_video_has_the_probabilities_of_each_frame(real, classifier, tmp_path):
    source = make_video(tmp_path / "clip.mp4", frames=5)
    job = real.do("video", model(real, "classification"), source)
    predictor = Predictor.from_run(classifier, device="cpu", batch_size=3)
    with VideoReader(source) as reader:
        answers = predictor.predict([Image.fromarray(frame.pixels) for frame in reader])
    expected = np.array([answer.probabilities for answer in answers])
    np.testing.assert_allclose(job.result["probabilities"], expected, atol=1e-5)
    assert job.result["prediction"] == expected.mean(axis=0).argmax()
    assert (job.result["frames"], len(job.result["times"]), job.result["audio"]) == (5, 5, False)
    assert len(table(real.file(job, "csv"))) == 5


class Video(Columns):
    """A segmentation network for frames, whose classes are bands of eight columns."""

    batch_size = 4
    image_size = (8, 8)
    per_pixel = True
    views = Views()

    def scores(self, photos, go_on=None):
        import torch

        return torch.zeros(len(photos), len(CAMVID), 1, 1)

    def segmented(self, scores, size):
        return Segmented(bands(*size), np.full(size, 255, np.uint8))


def bands(height, width):
    return (np.indices((height, width))[1] // 8 % len(CAMVID)).astype(np.uint8)


def test_a_video_whose_end_is_missing_is_a_partial_result_that_says_so(visits, tmp_path):
    visits.catalog.networks["columns"] = Video()
    whole = make_video(tmp_path / "whole.mp4", frames=60, size=(96, 128), audio="aac")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    job = visits.do("video", "columns", cut)
    assert job.state == "partial"
    assert 0 < job.result["frames"] < 60
    assert "ended after" in job.result["broken"]
    with VideoReader(visits.file(job, "photo")) as shown:
        assert sum(1 for _ in shown) == job.result["frames"] == len(job.result["times"])


def test_a_video_whose_times_start_over_keeps_them_all_and_says_so(visits, tmp_path):
    visits.catalog.networks["columns"] = Video()
    one = make_video(tmp_path / "one.ts", frames=12, size=(96, 128), fps=12, audio="aac")
    job = visits.do("video", "columns", joined(tmp_path / "joined.ts", one, one))
    assert (job.state, job.result["frames"]) == ("done", 24)
    assert job.result["times"] == pytest.approx([number / 12 for number in range(24)], abs=1e-4)
    assert job.result["note"] == "its time stamps start over at 1.0 s; the parts were put behind each other"
    assert times(visits.file(job, "photo"), "video") == pytest.approx(job.result["times"], abs=1e-4)
    assert times(visits.file(job, "photo"), "audio")[-1] == pytest.approx(2, abs=0.07)
    with IdStreamReader(visits.file(job, "ids")) as stream:
        assert [at for _, _, at in stream] == [round(1000 * time) for time in job.result["times"]]


def test_no_more_frames_are_read_than_allowed(tmp_path):
    configured = settings(tmp_path, video_frames=5)
    visits = Visits(StandIns(configured), configured.storage)
    visits.catalog.networks["columns"] = Video()
    job = visits.do("video", "columns", make_video(tmp_path / "long.webm", frames=9))
    assert (job.state, job.result["frames"]) == ("partial", 5)


def test_the_overlay_of_a_video_is_made_from_its_stored_ids(visits, tmp_path):
    visits.catalog.networks["columns"] = Video()
    source = make_video(tmp_path / "clip.mp4", frames=6, size=(46, 62), fps=12, audio="aac")
    job = visits.do("video", "columns", source)
    visits.catalog.networks["columns"].scores = None  # the network is not asked
    look = {"alpha": 1, "hidden": [3]}
    shown = visits.do("render", "columns", name="clip.mp4", source=job.id, **look)
    assert visits.reported[-1][0] == 6
    overlay = visits.file(shown, "overlay")
    assert audio_payload(overlay) == audio_payload(source)
    assert (probe(overlay).fps, probe(overlay).width, probe(overlay).height) == (12, 62, 46)
    ids, as_shown = bands(46, 62), PaintStyle.from_dict(look, CAMVID)
    inside = np.arange(62) % 8 // 2 % 3 > 0  # away from the borders, where H.264 mixes colours
    with VideoReader(overlay) as reader, VideoReader(visits.file(job, "photo")) as photos:
        pairs = list(zip(reader, photos, strict=True))
    assert len(pairs) == 6
    for painted, photo in pairs:
        expected = paint(photo.pixels, ids, as_shown)
        assert np.abs(painted.pixels.astype(int) - expected)[:, inside].max() < 40
        assert (np.abs(photo.pixels.astype(int) - expected).max(axis=(0, 2)) > 60).sum() > 40, "the look must show"


def test_the_overlay_of_a_photo_is_exact(visits, tmp_path):
    path, size = stored("RGB", tmp_path)
    job = visits.do("photo", "columns", path)
    look = {"alpha": 0.4, "hidden": [0], "threshold": 0.3, "outlines": True}
    shown = visits.do("render", "columns", name="photo.png", source=job.id, **look)
    photo = np.asarray(Image.open(visits.file(job, "photo")))
    ids, confidence = columns(*size)
    expected = paint(photo, ids, PaintStyle.from_dict(look, CAMVID), confidence)
    np.testing.assert_array_equal(np.asarray(Image.open(visits.file(shown, "overlay"))), expected)


def test_what_has_no_mask_is_not_painted(visits, tmp_path):
    job = visits.do("photo", "brightness", stored("RGB", tmp_path)[0])
    with pytest.raises(UserError, match=r"photo\.png: there is no mask of it to paint"):
        visits.do("render", "brightness", source=job.id)


@pytest.mark.parametrize("kind", ["photo", "video"])
def test_a_file_that_does_not_decode_is_called_by_the_visitor_s_name(visits, tmp_path, kind):
    secret = tmp_path / "storage" / "q8f2"
    secret.write_bytes(b"no such thing")
    with pytest.raises(UserError) as raised:
        visits.do(kind, "columns", secret, name="holiday.jpg")
    assert "holiday.jpg" in str(raised.value)
    assert str(tmp_path) not in str(raised.value)


@pytest.mark.parametrize(("size", "line"), [((60, 60), "3600 pixels|60x60 pixels"), ((70_000, 1), "a side may have")])
def test_a_photo_beyond_the_limits_is_refused_before_it_is_decoded(tmp_path, size, line):
    configured = settings(tmp_path, pixels=3500 if size == (60, 60) else 10**6)
    visits = Visits(StandIns(configured), configured.storage)
    Image.new("L", size).save(tmp_path / "big.png")
    with pytest.raises(UserError, match=line):
        visits.do("photo", "columns", tmp_path / "big.png")


def test_a_cancelled_job_stops(visits, tmp_path):
    visits.catalog.networks["columns"] = Video()
    video = make_video(tmp_path / "clip.mp4")
    for kind, upload in (("photo", stored("RGB", tmp_path)[0]), ("video", video)):
        with pytest.raises(Cancelled):
            visits.do(kind, "columns", upload, cancelled=lambda: True)
    done = visits.do("video", "columns", video)
    with pytest.raises(Cancelled):
        visits.do("render", "columns", source=done.id, cancelled=lambda: True)


def test_a_large_photo_stops_between_two_batches_of_windows(real, segmenter, tmp_path):
    Image.new("RGB", (900, 900)).save(tmp_path / "large.png")
    asked = []

    def cancelled() -> bool:
        asked.append(None)
        return len(asked) > 5

    with pytest.raises(Cancelled):
        real.do("photo", model(real, "segmentation"), tmp_path / "large.png", mode="window", cancelled=cancelled)
    assert len(asked) == 6


@pytest.mark.parametrize("kind", ["photo", "video"])
@pytest.mark.parametrize(
    ("mode", "scales", "flip"), [("window", [2.0], False), ("direct", [2.0], False), ("window", [1.0] * 3, True)]
)
def test_views_that_would_take_all_memory_are_refused(tmp_path, kind, mode, scales, flip):
    configured = settings(tmp_path, pixels=48 * 64)
    visits = Visits(StandIns(configured), configured.storage)
    visits.catalog.networks["columns"] = Video()
    upload = make_video(tmp_path / "clip.mp4", size=(48, 64)) if kind == "video" else tmp_path / "photo.png"
    if kind == "photo":
        Image.new("RGB", (64, 48)).save(upload)
    with pytest.raises(UserError, match="fewer or smaller scales"):
        visits.do(kind, "columns", upload, mode=mode, scales=scales, flip=flip)
    visits.do(kind, "columns", upload, scales=scales, flip=flip)


def test_the_files_of_many_visitors_never_mix(tmp_path):
    configured = settings(tmp_path, queue=50)
    catalog = StandIns(configured)

    class Red(Columns):
        def predict(self, photos, activations=False, go_on=None):
            reds = [np.asarray(photo)[..., 0] for photo in photos]
            return [Segmented((red % 11).astype(np.uint8), red) for red in reds]

    catalog.networks = {"red": Red(), "brightness": Brightness()}
    jobs = Jobs(configured, lambda job, report, cancelled: work(job, catalog, jobs, report, cancelled))
    try:
        asked = []
        for number in range(24):
            upload = configured.storage / secrets.token_hex(8)
            Image.new("RGB", (20 + number, 30), (number * 10, 0, 0)).save(upload, "PNG")
            asked.append((number, jobs.submit("photo", f"{number}.png", "red", {}, upload=upload)))
            asked.append((number, jobs.submit("photo", f"{number}.png", "brightness", {"cam": True}, upload=upload)))
        deadline = time.monotonic() + 120
        while any(job.state in ("queued", "running") for _, job in asked):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for number, job in asked:
            assert job.state == "done", job.error
            assert job.result["width"] == 20 + number
            if job.model == "red":
                np.testing.assert_array_equal(values(job.folder / "ids.png"), number * 10 % 11)
                np.testing.assert_array_equal(values(job.folder / "confidence.png"), number * 10)
            else:
                assert job.result["probabilities"][0] == pytest.approx(number * 10 / 3 / 255, abs=1e-6)
            assert {path.parent for path in job.folder.rglob("*")} == {job.folder}
        folders = {job.folder for _, job in asked}
        assert len(folders) == 48
    finally:
        jobs.close()


def test_a_damaged_checkpoint_fails_the_job_in_a_line(real, segmenter, tmp_path):
    task = model(real, "segmentation")
    shutil.copy(__file__, segmenter.checkpoints / "best.ckpt")
    with pytest.raises(UserError, match="does not load") as raised:
        real.do("photo", task, stored("RGB", tmp_path)[0])
    assert str(segmenter.path.parent) not in str(raised.value)
