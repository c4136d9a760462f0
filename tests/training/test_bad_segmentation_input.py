"""Faults of data sets with masks and of segmentation networks: one line each, and no half-written record."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image
from tests.support.segmentation_data import CLASSES, write_cityscapes, write_mask_folder
from tests.support.segmentation_runs import SMALL, STREETS

from streetlab import cli
from streetlab.records.record import RunRecord


@pytest.fixture
def tree(tmp_path):
    return write_mask_folder(tmp_path / "own", {"train": 4, "val": 2, "test": 2})


@pytest.fixture
def complain(tmp_path, monkeypatch, capfd):
    """`complain("key=value", ...)`: runs, expects a fault, returns its one line."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        given = {word.partition("=")[0] for word in words}
        given |= {"model.small"} if "model" in given else set()
        kept = [word for word in SMALL if word.partition("=")[0] not in given]
        assert cli.run(["train", *kept, *words, f"output={tmp_path / 'run'}"]) == 2
        captured = capfd.readouterr().err
        assert "Traceback" not in captured
        (message,) = [text for text in captured.splitlines() if text.startswith("streetlab: ")]
        return message

    return run


@pytest.fixture
def own(tree):
    return ("dataset=mask_folder", f"dataset.root={tree}", CLASSES)


def test_image_without_mask(complain, own, tree):
    (tree / "masks" / "train" / "2.png").unlink()
    message = complain(*own)
    assert "images/train/2.png" in message
    assert "mask" in message


def test_mask_of_another_size(complain, own, tree):
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(tree / "masks" / "val" / "1.png")
    message = complain(*own)
    assert "masks/val/1.png" in message
    assert "40x30" in message
    assert "96x64" in message


def test_mask_value_outside_the_label_set(complain, own, tree):
    path = tree / "masks" / "train" / "3.png"
    mask = np.asarray(Image.open(path)).copy()
    mask[:2, :5] = 77
    Image.fromarray(mask).save(path)
    message = complain(*own)
    assert "masks/train/3.png" in message
    assert "77" in message
    assert "10 of" in message


def test_wrong_root_says_which_folders_were_expected(complain, tmp_path):
    (tmp_path / "empty").mkdir()
    message = complain("dataset=cityscapes", f"dataset.root={tmp_path / 'empty'}")
    assert "leftImg8bit" in message
    assert "gtFine" in message


@pytest.mark.parametrize(
    "model", [("model=deeplabv3_resnet50",), ("model=smp", "model.decoder=deeplabv3plus", "model.encoder=resnet18")]
)
def test_batch_of_one_where_batch_normalisation_needs_two(complain, model):
    message = complain(*STREETS, *model, "batch_size=1")
    assert "one image" in message
    assert "at least 2" in message


def test_a_network_for_photos_on_masks(complain):
    message = complain(*STREETS, "model=resnet18")
    assert "one label per photo" in message
    assert "hrnetv2_w18" in message


def test_a_network_for_masks_on_photos(complain):
    message = complain("dataset=synthetic_cleanliness", "dataset.train=9", "dataset.val=9", "dataset.test=9")
    assert "one class per pixel" in message
    assert "resnet18" in message


def test_a_task_that_the_data_set_is_not_for(complain):
    assert "task=segmentation" in complain(*STREETS, "task=classification")


def test_going_on_with_other_classes(complain, own, tmp_path):
    assert cli.run(["train", *STREETS, *SMALL, f"output={tmp_path / 'nineteen'}", "regime.epochs=1"]) == 0
    classes = CLASSES.replace("bicycle", "bike,extra")
    root = write_mask_folder(tmp_path / "twenty", {"train": 4, "val": 2, "test": 2}, classes=20)
    message = complain(
        own[0], f"dataset.root={root}", classes, f"resume={tmp_path / 'nineteen' / 'checkpoints' / 'last.ckpt'}"
    )
    assert "resume" in message
    assert "last.ckpt" in message


def test_a_class_without_a_pixel_in_train_stops_with_the_ignored_value_and_a_way_to_map_it(complain, own, tree):
    for path in (tree / "masks").rglob("*.png"):
        Image.fromarray(np.where(np.asarray(Image.open(path)) < 10, 0, 255).astype(np.uint8)).save(path)
    words = (*own[:2], "dataset.classes=[ground,litter]")
    message = complain(*words)
    assert "no pixel of litter in the 4 masks of train" in message
    assert "value 255 in them counts as ignored" in message
    assert "'dataset.values={255: litter}'" in message


def test_train_that_is_ignored_everywhere_stops(complain, own, tree):
    for path in (tree / "masks" / "train").iterdir():
        Image.fromarray(np.full((64, 96), 255, np.uint8)).save(path)
    assert "every pixel of the 4 masks of train is ignored" in complain(*own[:2], "dataset.labels=cityscapes")


@pytest.mark.slow
def test_a_batch_without_a_single_labelled_pixel_trains_on(own, tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(1, 4):
        Image.fromarray(np.full((64, 96), 255, np.uint8)).save(tree / "masks" / "train" / f"{number}.png")
    for loss in ("cross_entropy", "ohem", "lovasz_cross_entropy", "dice_cross_entropy"):
        output = tmp_path / loss
        words = (f"loss={loss}", f"output={output}", "regime.epochs=1", "batch_size=2")
        assert cli.run(["train", *SMALL, *own, *words]) == 0
        (row,) = RunRecord(output).history()
        assert math.isfinite(float(row["train/loss"]))
        assert math.isfinite(float(row["val/loss"]))


def test_a_split_without_a_single_labelled_pixel_cannot_be_measured(complain, own, tree):
    for path in (tree / "masks" / "val").iterdir():
        Image.fromarray(np.full((64, 96), 255, np.uint8)).save(path)
    assert "every pixel" in complain(*own)


def test_cityscapes_masks_of_the_other_kind(complain, tmp_path):
    root = write_cityscapes(tmp_path / "cityscapes", {"train": 2, "val": 1})
    message = complain("dataset=cityscapes", f"dataset.root={root}", "dataset.mask_files=labelTrainIds")
    assert "labelIds" in message
