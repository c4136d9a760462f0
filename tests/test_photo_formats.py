"""Photos of every format go through train, audit, predict and the app, as independent programs show them."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFilter

from streetlab import cli
from streetlab.datasets.decode import read_photo
from streetlab.records.record import RunRecord
from streetlab.synthetic import draw_scene
from tests.support.app_stand_ins import wait_for
from tests.support.icc_profiles import P3_TO_XYZ, cmyk_profile, rgb_profile, srgb_curve
from tests.support.orientations import UPRIGHT
from tests.support.short_runs import ONE_EPOCH
from tests.support.tiny_runs import CLASSES, TINY

pytestmark = pytest.mark.slow

TURNED = Image.Exif()
TURNED[0x0112] = 6


def _ink(bits: int) -> float:
    """Lightness of a sheet with these inks: cyan, magenta and yellow darken less than black."""
    return 100 - 20 * (bits >> 3 & 1) - 25 * (bits >> 2 & 1) - 10 * (bits >> 1 & 1) - 40 * (bits & 1)


@dataclass(frozen=True)
class Format:
    """How photos of a format are made, and which program reads them besides ours."""

    suffix: str
    pillow: str
    reader: str
    options: dict[str, Any] = field(default_factory=dict)
    mode: str = "RGB"
    most: float = 0.5
    """Largest mean difference to the other reader, in levels of 255."""


FORMATS = {
    "HEIC": Format("heic", "HEIF", "heif-convert", {"quality": 90}),
    "HEIC, turned": Format("HEIC", "HEIF", "heif-convert", {"quality": 90, "exif": TURNED.tobytes()}),
    # 4:4:4, since programs differ in how they enlarge colour planes of half the size
    "AVIF": Format("avif", "AVIF", "heif-convert", {"quality": 80, "subsampling": "4:4:4"}),
    "MPO": Format("mpo", "MPO", "convert", {"save_all": True, "quality": 90}),
    "JPEG 2000": Format("jp2", "JPEG2000", "convert"),
    "JPEG, Display P3": Format("jpg", "JPEG", "convert", {"icc_profile": rgb_profile(P3_TO_XYZ, srgb_curve)}),
    "JPEG, CMYK": Format("jpeg", "JPEG", "convert", {"icc_profile": cmyk_profile(_ink)}, "CMYK", 1.0),
    "JPEG, turned": Format("jpe", "JPEG", "convert", {"quality": 90, "exif": TURNED.tobytes()}),
}


def write(path: Path, form: Format, seed: int) -> None:
    photo = Image.fromarray(draw_scene(seed, 96, 128).image).filter(ImageFilter.GaussianBlur(1)).convert(form.mode)
    further = {"append_images": [photo.rotate(180)]} if form.pillow == "MPO" else {}
    photo.save(path, form.pillow, **form.options, **further)


def read_independently(path: Path, form: Format, folder: Path) -> np.ndarray:
    """The photo in sRGB by libheif's own program, or by ImageMagick with the profiles in file and folder."""
    if shutil.which(form.reader) is None or (form.reader == "convert" and not _is_imagemagick()):
        pytest.skip(f"no {form.reader} here")
    target = folder / f"{path.stem}.png"
    if form.reader == "heif-convert":
        command = ["heif-convert", path, target]
    else:
        profile = folder / "srgb.icc"
        profile.write_bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        converted = ["-profile", profile] if "icc_profile" in form.options else []
        command = ["convert", f"{path}[0]", "-auto-orient", *converted, target]
    subprocess.run(command, check=True, capture_output=True)
    with Image.open(target) as image:
        return np.asarray(image.convert("RGB"))


def _is_imagemagick() -> bool:
    """Other programs are called `convert` too."""
    return b"ImageMagick" in subprocess.run(["convert", "-version"], capture_output=True).stdout


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of splits and classes, each with a photo of every format; no two show the same."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    root = tmp_path_factory.mktemp("formats") / "photos"
    seed = 0
    for split in ("train", "val", "test"):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for number, form in enumerate(FORMATS.values()):
                seed += 1
                write(root / split / name / f"{number}.{form.suffix}", form, seed)
    return root


@pytest.fixture(scope="module")
def run(photos: Path) -> RunRecord:
    """A run trained on them."""
    words = [*TINY, *ONE_EPOCH, "dataset=image_folder", f"dataset.root={photos}", "image_size=[48,64]"]
    output = photos.parent / "runs" / "formats"
    words += [f"dataset.cache_dir={photos.parent / 'cache'}", f"output={output}"]
    assert cli.run(["train", *words]) == 0
    return RunRecord(output)


def of_class(photos: Path, name: str = "clean") -> Path:
    return photos / "test" / name


@pytest.mark.parametrize(("number", "name"), enumerate(FORMATS), ids=list(FORMATS))
def test_pixels_are_those_of_an_independent_program(photos: Path, tmp_path: Path, number: int, name: str) -> None:
    form = FORMATS[name]
    path = of_class(photos) / f"{number}.{form.suffix}"
    theirs = read_independently(path, form, tmp_path)
    ours = np.asarray(read_photo(path)).astype(int)
    assert ours.shape == theirs.shape == UPRIGHT[6 if "turned" in name else 1](np.zeros((96, 128, 3))).shape
    assert np.abs(ours - theirs).mean() < form.most


def test_training_takes_every_photo(run: RunRecord) -> None:
    assert run.status["state"] == "completed"
    with (run.path / "samples.csv").open(newline="") as file:
        splits = [row["split"] for row in csv.DictReader(file)]
    assert {split: splits.count(split) for split in splits} == dict.fromkeys(("train", "val", "test"), 3 * len(FORMATS))


def test_the_audit_finds_nothing_broken_or_misnamed(photos: Path, tmp_path: Path) -> None:
    words = ["dataset=image_folder", f"dataset.root={photos}", f"dataset.cache_dir={tmp_path / 'cache'}", "folds=null"]
    assert cli.run(["audit", *words, f"output={tmp_path / 'audit'}"]) == 0
    assert json.loads((tmp_path / "audit" / "summary.json").read_text())["images"] == 9 * len(FORMATS)
    with (tmp_path / "audit" / "findings.csv").open(newline="") as file:
        kinds = {row["kind"] for row in csv.DictReader(file)}
    assert not kinds & {"corrupt", "wrong_extension", "high_range"}


def test_predict_answers_each_as_it_answers_the_other_programs_pixels(
    photos: Path, run: RunRecord, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for number, form in enumerate(FORMATS.values()):
        read_independently(of_class(photos) / f"{number}.{form.suffix}", form, theirs)
    probabilities = []
    for number, source in enumerate((of_class(photos), theirs)):
        output = tmp_path / f"out{number}"
        assert cli.run(["predict", f"run={run.path}", f"source={source}", "device=cpu", f"output={output}"]) == 0
        lines = map(json.loads, (output / "predictions.jsonl").read_text(encoding="utf-8").splitlines())
        probabilities.append({Path(line["file"]).stem: line["probabilities"] for line in lines})
    assert set(probabilities[0]) == set(probabilities[1]) == {str(number) for number in range(len(FORMATS))}
    for number, ours in probabilities[0].items():
        assert ours == pytest.approx(probabilities[1][number], abs=0.02), list(FORMATS)[int(number)]


@pytest.fixture(scope="module")
def app(run: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bytes], dict[str, Any]]]:
    """`app(bytes)`: the finished job of an upload to a server that offers the run."""
    pytest.importorskip("fastapi", reason="the page needs streetlab[app]")
    from starlette.testclient import TestClient

    from streetlab.app.server import create_app
    from streetlab.app.settings import Settings

    settings = Settings(storage=tmp_path_factory.mktemp("storage"), runs=run.path.parent, device="cpu")
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        (model,) = client.get("/api/models").json()["models"]

        def upload(content: bytes) -> dict[str, Any]:
            answer = client.post("/api/predict", params={"model": model["id"], "name": "photo"}, content=content)
            assert answer.status_code == 202, answer.text
            address = f"/api/jobs/{answer.json()['id']}"
            wait_for(lambda: client.get(address).json()["state"] not in ("queued", "running"))
            return dict(client.get(address).json())

        yield upload


@pytest.mark.parametrize(("number", "name"), enumerate(FORMATS), ids=list(FORMATS))
def test_the_app_takes_it(photos: Path, app: Callable[[bytes], dict[str, Any]], number: int, name: str) -> None:
    path = of_class(photos) / f"{number}.{FORMATS[name].suffix}"
    job = app(path.read_bytes())
    assert job["state"] == "done", job
    assert (job["result"]["width"], job["result"]["height"]) == ((96, 128) if "turned" in name else (128, 96))
