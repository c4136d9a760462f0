"""A job with the switch on shows nobody: its photo or video, what is painted over it and what is downloaded."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.support.app_records import Columns, StandIns, Visits, columns, settings
from tests.support.crafted_runs import RED_IS_PERSON, write_run
from tests.support.videos import make_video

from streetlab.app.jobs.bundle import bundle
from streetlab.datasets.class_roles import PrivateClasses
from streetlab.datasets.labels import CAMVID, LabelSpace
from streetlab.errors import UserError
from streetlab.inference.blur import hidden_pixels, pixelate
from streetlab.inference.predictor import Predictor
from streetlab.plots.paint import PaintStyle, paint

SIZE = (40, 60)


class Models(StandIns):
    """The two stand-ins, listed; and a segmentation without classes of people."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.networks["ground"] = type("Ground", (Columns,), {"label_space": LabelSpace(
            "g", "segmentation", ("road", "car"), ((0, 0, 0), (9, 9, 9)))})()  # fmt: skip
        self.listed = ["ground", "brightness", "columns"]

    def models(self) -> list[dict[str, str]]:
        return [{"id": name, "task": self.networks[name].task} for name in self.listed]


@pytest.fixture
def visits(tmp_path) -> Visits:
    configured = settings(tmp_path)
    return Visits(Models(configured), configured.storage)


@pytest.fixture
def photo(tmp_path) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", comment=b"taken by somebody", quality=95)
    return tmp_path / "a.jpg"


def blurred(pixels: np.ndarray) -> np.ndarray:
    return pixelate(pixels, hidden_pixels(columns(*pixels.shape[:2])[0], PrivateClasses.of(CAMVID).ids))


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


@pytest.mark.parametrize("model", ["columns", "brightness"])
def test_the_photo_of_a_job_is_blurred_by_its_own_masks_or_those_of_a_segmentation(visits, photo, model):
    pixels = np.asarray(Image.open(photo))
    job = visits.do("photo", model, photo, blur=True)
    assert visits.file(job, "photo").read_bytes() == jpeg(blurred(pixels))
    plain = visits.do("photo", model, photo)
    assert visits.file(plain, "photo").read_bytes() == jpeg(pixels), "no comment is carried over"


def test_overlays_and_downloads_are_painted_over_the_blurred_photo(visits, photo):
    job = visits.do("photo", "columns", photo, blur=True)
    _, _, content = bundle([job], {"alpha": 0.3}, ["overlay"], visits.catalog)
    ids, confidence = columns(*SIZE)
    shown = np.asarray(Image.open(visits.file(job, "photo")))
    expected = paint(shown, ids, PaintStyle(CAMVID.palette, 0.3), confidence)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(b"".join(content)))), expected)


def test_a_video_is_blurred_where_its_people_are(visits, tmp_path):
    visits.catalog.networks["red"] = Predictor.from_run(write_run(tmp_path / "red", RED_IS_PERSON), device="cpu")
    random = np.random.default_rng(2)
    frames = [random.integers(0, 70, (*SIZE, 3), dtype=np.uint8) for _ in range(3)]
    for frame in frames:
        frame[10:30, 10:30, 0] += 185
    path = make_video(tmp_path / "v.mp4", pictures=frames, size=SIZE)
    files = [visits.file(visits.do("video", "red", path, **options), "photo") for options in ({"blur": True}, {})]
    shown, original = (
        np.stack([frame.to_ndarray(format="rgb24").astype(int) for frame in av.open(str(file)).decode(video=0)])
        for file in files
    )
    detail, kept = (np.abs(np.diff(video[:, 10:30, 10:30], axis=2)).mean() for video in (original, shown))
    assert kept < detail / 3
    assert np.abs(shown - original)[:, :, 40:].mean() < 4


def test_without_a_network_that_finds_people_and_vehicles_nothing_is_shown(visits, photo):
    with pytest.raises(UserError, match="people are not among the classes"):
        visits.do("photo", "ground", photo, blur=True)
    visits.catalog.listed = ["ground", "brightness"]
    with pytest.raises(UserError, match="no segmentation model here with classes of people and vehicles"):
        visits.do("photo", "brightness", photo, blur=True)
    assert not list(visits.storage.rglob("photo.jpg"))
