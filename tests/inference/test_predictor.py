"""Predictions are those of an evaluation, of any photo, from a run or its checkpoint alone."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from tests.support.crafted_runs import CLASSIFIER, write_run
from tests.support.tiny_runs import TINY, write_photos
from torch import nn

from streetlab import cli
from streetlab.datasets.decode import read_photo, resize
from streetlab.datasets.labels import CITYSCAPES, CLEANLINESS, LabelSpace, categorical_palette
from streetlab.errors import UserError
from streetlab.inference.predictor import Predictor
from streetlab.inference.views import Views
from streetlab.loading.augment import normalize
from streetlab.metrics.statistics.calibration import apply_temperature
from streetlab.networks.cam import class_activation
from streetlab.records.record import RunRecord
from streetlab.synthetic import draw_scene
from streetlab.tasks.segmentation import SegmentationTask
from streetlab.training.native_size import NativeSize

SIZES = [
    (1, 1), (1, 500), (500, 1), (2, 3), (33, 47), (64, 96), (63, 97), (65, 95), (128, 192), (100, 100), (31, 200),
    (200, 31), (17, 17), (240, 320), (7, 64), (96, 64), (150, 151), (3, 90), (301, 77), (32, 32),
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "segmenter")
    write_run(folder / "classifier", CLASSIFIER, temperature=2.5)
    return folder


@pytest.fixture(scope="module")
def segmenter(runs) -> Predictor:
    return Predictor.from_run(runs / "segmenter", device="cpu")


@pytest.fixture(scope="module")
def classifier(runs) -> Predictor:
    return Predictor.from_run(runs / "classifier", device="cpu")


def scene(height: int, width: int, number: int = 0) -> Image.Image:
    return Image.fromarray(draw_scene(number, height, width).image)


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize(("mode", "evaluated"), [("resized", "resized"), ("direct", "native")])
def test_ids_are_those_of_an_evaluation_at_full_resolution(segmenter, mode, evaluated):
    task = SegmentationTask(segmenter.network, CITYSCAPES, nn.CrossEntropyLoss(), {"metric": "miou", "mode": "max"})
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    photos = [scene(*size, number) for number, size in enumerate([(64, 96), (150, 210), (40, 33), (300, 400)])]
    predictor = segmenter.seen_through(Views(mode))
    with NativeSize(trainer, task, segmenter.image_size, evaluated) as native:
        for photo in photos:
            expected = native.predict(photo).numpy()
            (answer,) = predictor.predict([photo])
            assert np.array_equal(answer.ids, expected)
            assert len(np.unique(answer.ids)) > 3, "or any ids would be equal"
    together = predictor.predict(photos)
    for photo, answer in zip(photos, together, strict=True):
        assert (answer.ids == predictor.predict([photo])[0].ids).mean() > 0.9999, "up to the rounding of a batch"


def test_probabilities_are_those_that_the_run_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = write_photos(tmp_path / "photos", {"train": 6, "val": 3, "test": 3})
    words = ["regime=single", "regime.phases=[{name: train, epochs: 1, train: [all]}]", f"dataset.root={root}"]
    line = ["train", *TINY, *words, f"dataset.cache_dir={tmp_path / 'cache'}", f"output={tmp_path / 'run'}"]
    assert cli.run(line) == 0
    record = RunRecord(tmp_path / "run")
    recorded = record.predictions("test")
    predictor = Predictor.from_run(tmp_path / "run", device="cpu", batch_size=4)
    photos = [read_photo(root / name) for name in recorded.ids]
    answers = predictor.predict(photos)
    assert [answer.prediction for answer in answers] == recorded.predictions.tolist()
    assert predictor.temperature == pytest.approx(record.metrics["test"]["temperature"])
    calibrated = apply_temperature(recorded.probabilities, predictor.temperature)
    assert np.stack([answer.probabilities for answer in answers]) == pytest.approx(calibrated, abs=1e-5)

    alone = Predictor.from_checkpoint(
        shutil.copy(record.checkpoints / "best.ckpt", tmp_path / "alone.ckpt"), device="cpu", batch_size=4
    )
    shutil.rmtree(tmp_path / "run")
    answers = alone.predict(photos)
    assert alone.temperature is None
    assert (alone.name, alone.label_space, alone.sha256) == ("alone", CLEANLINESS, predictor.sha256)
    assert np.stack([answer.probabilities for answer in answers]) == pytest.approx(recorded.probabilities, abs=1e-5)


@pytest.mark.parametrize("mode", ["resized", "direct", "window"])
def test_ids_come_back_at_the_size_of_the_photo(segmenter, mode):
    photos = [noise(*size) for size in SIZES]
    answers = segmenter.seen_through(Views(mode)).predict(photos)
    assert [answer.ids.shape for answer in answers] == SIZES
    assert [answer.confidence.shape for answer in answers] == SIZES
    for answer in answers:
        assert answer.ids.max() < len(CITYSCAPES)
        assert answer.confidence.min() >= 255 // len(CITYSCAPES)


def file_of(kind: str) -> tuple[bytes, tuple[int, int]]:
    """A photo of 40 rows and 70 columns, upright, in a file of that kind."""
    pixels = np.array(scene(40, 70))
    image, options = Image.fromarray(pixels), {"format": "PNG"}
    if kind == "rgba":
        image.putalpha(128)
    elif kind == "grey":
        image = image.convert("L")
    elif kind == "16-bit":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif kind == "palette":
        image = image.quantize(16)
    elif kind == "sideways":
        image, exif = Image.fromarray(np.rot90(pixels)), Image.Exif()
        exif[0x0112] = 6  # shown turned by 90 degrees clockwise
        options |= {"exif": exif}
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue(), (40, 70)


@pytest.mark.parametrize("kind", ["rgb", "rgba", "grey", "16-bit", "palette", "sideways"])
def test_ids_lie_on_the_upright_photo_whatever_its_file_holds(segmenter, tmp_path, kind):
    contents, size = file_of(kind)
    (tmp_path / "photo.png").write_bytes(contents)
    (answer,) = segmenter.predict([read_photo(tmp_path / "photo.png")])
    assert answer.ids.shape == size
    if kind == "sideways":
        assert np.array_equal(answer.ids, segmenter.predict([scene(40, 70)])[0].ids)


def test_photos_of_many_sizes_keep_their_order(segmenter):
    predictor = segmenter.seen_through(Views("direct"))
    photos = [noise(40, 50), noise(30, 60), noise(40, 50).transpose(Image.Transpose.FLIP_LEFT_RIGHT), noise(30, 61)]
    alone = [predictor.predict([photo])[0].ids for photo in photos]
    for answer, expected in zip(predictor.predict(photos), alone, strict=True):
        assert (answer.ids == expected).mean() > 0.999
    assert segmenter.predict([]) == []


def test_scores_become_the_prediction(segmenter):
    photos = [scene(150, 210, number) for number in range(3)]
    scores = segmenter.scores(photos)
    assert (scores.shape, scores.dtype) == ((3, 19, 64, 96), torch.float32)
    for answer, one in zip(segmenter.predict(photos), scores, strict=True):
        found = segmenter.segmented(one, (150, 210))
        assert np.array_equal(found.ids, answer.ids)
        assert np.array_equal(found.confidence, answer.confidence)
    assert segmenter.seen_through(Views("direct")).scores(photos).shape == (3, 19, 150, 210)
    assert segmenter.seen_through(Views("window")).scores(photos).shape == (3, 19, 150, 210)
    with pytest.raises(ValueError, match="sizes"):
        segmenter.scores([scene(40, 50), scene(50, 40)])


def test_other_views_share_the_network(segmenter):
    other = segmenter.seen_through(Views("window", flip=True))
    assert all(a is b for a, b in zip(segmenter.network.parameters(), other.network.parameters(), strict=True))
    assert (segmenter.views, other.views.mode) == (Views(), "window")
    assert other.memory_bytes == segmenter.memory_bytes > 4 * 445_000


def test_temperature_softens_and_belongs_to_the_best_weights_of_a_finished_run(runs, classifier, tmp_path):
    photo = scene(50, 80)
    (answer,) = classifier.predict([photo])
    logits = classifier.scores([photo])
    assert classifier.temperature == 2.5
    assert classifier.seen_through(Views(flip=True)).temperature is None, "it was fitted to the plain view"
    assert classifier.seen_through(Views(scales=(0.5, 1.0))).temperature is None
    assert classifier.seen_through(Views(flip=True)).seen_through(Views()).temperature == 2.5
    assert answer.probabilities == pytest.approx((logits[0] / 2.5).softmax(dim=0).numpy(), abs=1e-6)
    shutil.copytree(runs / "classifier", tmp_path / "copy")
    copy = RunRecord(tmp_path / "copy")
    shutil.copy(copy.checkpoints / "best.ckpt", copy.checkpoints / "last.ckpt")
    assert Predictor.from_run(copy, "last", device="cpu").temperature is None
    copy.write_status(state="interrupted")
    assert Predictor.from_run(copy, device="cpu").temperature is None


def test_activations_are_the_raw_maps_at_the_size_of_the_photo(classifier):
    photos = [scene(50, 80), scene(128, 70, 1)]
    answers = classifier.predict(photos, activations=True)
    plain = classifier.predict(photos)
    seen = torch.from_numpy(np.stack([resize(photo, classifier.image_size) for photo in photos])).permute(0, 3, 1, 2)
    for number, (photo, answer) in enumerate(zip(photos, answers, strict=True)):
        assert answer.activated == (0, 1, 2)
        assert answer.activations.shape == (3, photo.height, photo.width)
        assert answer.activations.max() > 0
        assert answer.probabilities == pytest.approx(plain[number].probabilities, abs=1e-6)
        assert plain[number].activations is None
        for label in answer.activated:
            raw = class_activation(classifier.network, normalize(seen[number : number + 1]), [label])
            large = nn.functional.interpolate(raw[None], (photo.height, photo.width), mode="bilinear")[0, 0]
            assert answer.activations[label] == pytest.approx(large.numpy(), abs=1e-5)


def test_of_many_classes_only_the_predicted_one_has_a_map(tmp_path):
    names = tuple(f"class {number}" for number in range(8))
    space = LabelSpace("eight", "classification", names, categorical_palette(8))
    predictor = Predictor.from_run(write_run(tmp_path / "eight", CLASSIFIER, space), device="cpu")
    for answer in predictor.predict([scene(50, 80), noise(40, 40)], activations=True):
        assert answer.activated == (answer.prediction,)
        assert len(answer.activations) == 1


def test_maps_of_a_network_that_labels_pixels_are_refused(segmenter):
    with pytest.raises(UserError, match="activations: segmenter gives each pixel a class"):
        segmenter.predict([scene(40, 50)], activations=True)


def test_a_checkpoint_alone_equals_the_run(runs, segmenter, tmp_path):
    alone = Predictor.from_checkpoint(shutil.copy(segmenter.checkpoint, tmp_path / "mine.ckpt"), device="cpu")
    photo = scene(150, 210)
    assert torch.equal(alone.scores([photo]), segmenter.scores([photo]))
    for field in ("task", "label_space", "image_size", "sha256", "epoch", "precision"):
        assert getattr(alone, field) == getattr(segmenter, field)
    assert (segmenter.name, segmenter.epoch, alone.name) == ("segmenter", 5, "mine")
    assert Predictor.from_checkpoint(segmenter.checkpoint, device="cpu").name == "segmenter"


def test_bf16_is_computed_where_it_is_asked_for_and_says_nearly_the_same(runs, segmenter):
    half = Predictor.from_run(runs / "segmenter", device="cpu", precision="bf16-mixed")
    photo = scene(64, 96)
    expected, found = segmenter.scores([photo]), half.scores([photo])
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert (found.softmax(dim=1) - expected.softmax(dim=1)).abs().max() < 0.1


def test_a_precision_that_this_hardware_lacks_becomes_float32(runs, tmp_path, monkeypatch):
    shutil.copytree(runs / "segmenter", tmp_path / "run")
    RunRecord(tmp_path / "run").write_status(precision="16-mixed")
    assert Predictor.from_run(tmp_path / "run", device="cpu").precision == "32-true"
    RunRecord(tmp_path / "run").write_status(precision="bf16-mixed")
    for has_it, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr("streetlab.training.precision._cpu_has_bf16", lambda has_it=has_it: has_it)
        monkeypatch.setattr("torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda: True)
        assert Predictor.from_run(tmp_path / "run", device="cpu").precision == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "gpu"}, ("device: 'gpu'", "auto, cpu, cuda")),
        ({"device": "cdua"}, ("did you mean 'cuda'?",)),
        ({"precision": "bf16"}, ("precision: 'bf16'", "did you mean 'bf16-mixed'?")),
        ({"precision": "16-mixed", "device": "cpu"}, ("precision: '16-mixed' needs a GPU",)),
        ({"batch_size": 0}, ("batch_size: '0'",)),
        ({"checkpoint": "bets"}, ("checkpoint:", "did you mean 'best'?")),
        ({"run": "segmentor"}, ("run: no folder", "segmenter'?")),
    ],
)
def test_what_is_not_there_is_one_line(runs, options, words):
    given = {"run": "segmenter", "device": "cpu"} | options
    with pytest.raises(UserError) as refused:
        Predictor.from_run(runs / given.pop("run"), **given)
    assert all(word in str(refused.value) for word in words), refused.value
    assert "\n" not in str(refused.value)


def test_a_gpu_that_is_not_there_is_one_line(runs, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"device: 'cuda:1' but no CUDA device is visible; device=cpu"):
        Predictor.from_run(runs / "segmenter", device="cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"device: 'cuda:1' but the last CUDA device here is cuda:0"):
        Predictor.from_run(runs / "segmenter", device="cuda:1")


def test_too_little_memory_is_one_line(segmenter):
    def full(module, inputs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nand more")

    handle = segmenter.network.register_forward_pre_hook(full)
    try:
        with pytest.raises(UserError, match="batch_size: 1 images of 64x96 do not fit into the memory of cpu"):
            segmenter.predict([scene(40, 50)])
    finally:
        handle.remove()


def test_a_photo_that_is_not_rgb_is_a_fault_of_the_program(segmenter):
    with pytest.raises(ValueError, match="read_photo"):
        segmenter.predict([Image.new("RGBA", (40, 40))])
