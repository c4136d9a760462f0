"""A photo that looks unlike the training photos is marked, in every view and table, and in an exported file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from tests.support.videos import make_video

from streetlab import cli
from streetlab.checkpoints.read import CHECKPOINT_KEY, read_weights
from streetlab.config import instantiate
from streetlab.datasets.decode import resize
from streetlab.datasets.labels import CITYSCAPES
from streetlab.datasets.training_domain import TrainingDomain, photo_statistics
from streetlab.errors import UserError
from streetlab.inference.model_metadata import ModelMetadata
from streetlab.inference.predictor import Predictor
from streetlab.inference.views import Views
from streetlab.records.record import RunRecord
from streetlab.synthetic import draw_scene


@pytest.fixture
def photos(segmenter: RunRecord, tmp_path: Path) -> dict[str, Image.Image]:
    """A street of the run's val, and noise; both lie in the folder `in` too."""
    source = instantiate(OmegaConf.create(segmenter.config).dataset)
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    drawn = {"street.png": source.read(source.samples("val")[0]), "noise.png": Image.fromarray(noise)}
    (tmp_path / "in").mkdir()
    for name, photo in drawn.items():
        photo.save(tmp_path / "in" / name)
    return drawn


def rewrite_domain(run: RunRecord, domain: dict | None) -> None:
    """Put another training domain, or none, into the run's checkpoint."""
    path = run.checkpoints / "best.ckpt"
    contents = torch.load(path, weights_only=True)
    del contents[CHECKPOINT_KEY]["training_domain"]
    contents[CHECKPOINT_KEY] |= {} if domain is None else {"training_domain": domain}
    torch.save(contents, path)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_tables_and_the_terminal_name_data_set_and_marks(segmenter, photos, capfd):
    assert cli.run(["predict", f"run={segmenter.path}", "source=in", "output=out", "device=cpu"]) == 0
    printed = capfd.readouterr().out.splitlines()
    assert "trained on drawn streets (synthetic streets)" in printed
    assert "1 of 2 files are unlike the training photos: do not rely on their predictions" in printed
    rows = rows_of(Path("out/predictions.csv"))
    assert {row["file"]: row["unlike_training"] for row in rows} == {"noise.png": "True", "street.png": "False"}
    assert list(rows[0])[-1] == "unlike_training"
    lines = map(json.loads, Path("out/predictions.jsonl").read_text().splitlines())
    assert {line["file"]: line["unlike_training"] for line in lines} == {"noise.png": True, "street.png": False}


@pytest.mark.parametrize("views", [Views(mode="window", window=(32, 48)), Views(mode="direct"), Views(flip=True)])
def test_every_view_of_a_photo_has_the_same_mark(segmenter, photos, views):
    predictor = Predictor.from_run(segmenter, device="cpu", views=views)
    assert [each.unlike_training for each in predictor.predict(list(photos.values()))] == [False, True]


def test_a_classifier_marks_with_and_without_maps(classifier):
    predictor = Predictor.from_run(classifier, device="cpu")
    blank = Image.new("RGB", (50, 40), "white")
    for activations in (False, True):
        (answer,) = predictor.predict([blank], activations=activations)
        assert answer.unlike_training is True


def test_a_checkpoint_from_before_has_no_mark_and_no_column(segmenter, photos, capfd):
    rewrite_domain(segmenter, None)
    assert Predictor.from_run(segmenter, device="cpu").predict([photos["noise.png"]])[0].unlike_training is None
    assert cli.run(["predict", f"run={segmenter.path}", "source=in", "output=out", "device=cpu"]) == 0
    assert "unlike" not in capfd.readouterr().out
    assert all("unlike_training" not in row for row in rows_of(Path("out/predictions.csv")))


def test_a_damaged_domain_is_one_line(segmenter):
    rewrite_domain(segmenter, {"mean": [1.0]})
    with pytest.raises(UserError, match=r"best\.ckpt says of itself is damaged"):
        Predictor.from_run(segmenter, device="cpu")


def test_the_record_says_how_many_photos_of_val_are_marked(segmenter):
    domain = segmenter.metrics["training_domain"]
    assert (domain["train_photos"], domain["val_photos"], domain["val_marked"]) == (6, 3, 0)
    assert read_weights(segmenter.checkpoints / "best.ckpt").metadata["training_domain"].items() >= domain.items()


def test_an_exported_file_carries_data_set_and_domain(segmenter, photos):
    predictor = Predictor.from_run(segmenter, device="cpu")
    metadata = ModelMetadata("a", CITYSCAPES, (64, 96), "", 1, "fp32", None, {}, predictor.data_set, predictor.domain)
    again = ModelMetadata.from_metadata(metadata.to_metadata(), "a.onnx")
    assert again.data_set == "synthetic_streets"
    assert again.domain is not None
    resized = np.asarray(photos["noise.png"].resize((96, 64)))
    assert again.domain.is_unlike([np.asarray(photos["street.png"]), resized]) == [False, True]
    plain = json.loads(metadata.to_metadata()["streetlab"])
    del plain["domain"], plain["data_set"]
    assert ModelMetadata.from_metadata({"streetlab": json.dumps(plain)}, "a.onnx").domain is None, "files from before"


def domain_of_streets() -> dict:
    """A domain of more streets than a run of a moment trains on."""
    train, val = (
        np.array([photo_statistics(draw_scene(seed, 64, 96).image) for seed in seeds])
        for seeds in (range(100, 200), range(300, 340))
    )
    return TrainingDomain.fit(train, val).to_dict()


def write_video(path: Path, photos: dict[str, Image.Image], noisy: int) -> None:
    """30 frames: so many of noise, then the street; so large that compression does not change how they look."""
    large = {name: np.asarray(photo.resize((384, 256), Image.Resampling.NEAREST)) for name, photo in photos.items()}
    pictures = [large["noise.png"]] * noisy + [large["street.png"]] * (30 - noisy)
    make_video(path, size=(256, 384), pictures=pictures)


@pytest.mark.parametrize("noisy", [5, 11])
def test_a_video_is_marked_by_most_of_the_frames_compared(segmenter, photos, noisy, capfd):
    pytest.importorskip("av", reason="videos need streetlab[video]")
    from streetlab.inference.video.reader import VideoReader

    rewrite_domain(segmenter, domain_of_streets())
    write_video(Path("in/clip.mp4"), photos, noisy)
    predictor = Predictor.from_run(segmenter, device="cpu")
    assert predictor.domain is not None
    with VideoReader(Path("in/clip.mp4")) as reader:
        frames = [resize(Image.fromarray(frame.pixels), predictor.image_size) for frame in reader]
    marks = [predictor.domain.is_unlike_frame(frame) for frame in frames[::10]]
    assert marks == [True, noisy > 10, False], "frames 0, 10 and 20"
    assert cli.run(["predict", f"run={segmenter.path}", "source=in/clip.mp4", "output=out", "device=cpu"]) == 0
    printed = capfd.readouterr().out
    assert ("1 of 1 files are unlike the training photos" in printed) == (noisy > 10)
    (row,) = rows_of(Path("out/videos.csv"))
    assert list(row)[-2:] == ["unlike_share", "unlike_training"]
    assert float(row["unlike_share"]) == pytest.approx(sum(marks) / 3, abs=1e-3)
    assert row["unlike_training"] == str(noisy > 10)


def test_the_app_marks_a_video_as_predict_does(segmenter, photos, tmp_path):
    pytest.importorskip("av", reason="videos need streetlab[video]")
    pytest.importorskip("fastapi", reason="the page needs streetlab[app]")
    from tests.support.app_records import Visits, settings

    from streetlab.app.models.catalog import Catalog

    rewrite_domain(segmenter, domain_of_streets())
    write_video(tmp_path / "clip.mp4", photos, 11)
    configured = settings(tmp_path, runs=segmenter.path.parent)
    visits = Visits(Catalog(configured), configured.storage)
    (model,) = [entry["id"] for entry in visits.catalog.models()]
    result = visits.do("video", model, tmp_path / "clip.mp4").result
    assert (result["unlike_training"], result["unlike_share"]) == (True, pytest.approx(2 / 3))
    rewrite_domain(segmenter, None)
    visits = Visits(Catalog(configured), configured.storage)
    result = visits.do("video", model, tmp_path / "clip.mp4").result
    assert (result["unlike_training"], result["unlike_share"]) == (None, None)
