"""Our segmentation numbers are those of cityscapesScripts and scikit-learn."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

from streetlab.datasets.labels import CAMVID, CITYSCAPES, LabelSpace
from streetlab.errors import UserError
from streetlab.metrics.segmentation import (
    REPORT_FIELDS,
    best_median_worst,
    image_mious,
    report_rows,
    segmentation_report,
    summarize_groups,
    summarize_segmentation,
)

# cityscapesScripts 2.3.0 calls np.in1d, which NumPy 2.4 has no more; nothing else of it is touched
_AS_ITS_COMMAND = """
import numpy
if not hasattr(numpy, "in1d"):
    numpy.in1d = numpy.isin
from cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling import main
main()
"""

SPACE = LabelSpace("s", "segmentation", ("a", "b", "c"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))


def _matrix(truth, predicted, k):
    counted = truth != 255
    return np.bincount(truth[counted].astype(int) * k + predicted[counted], minlength=k * k).reshape(k, k)


def _cityscapes_result(folder, truths, predictions):
    """Run `csEvalPixelLevelSemanticLabeling` on (H, W) masks of labelIds and return its result."""
    for number, (truth, predicted) in enumerate(zip(truths, predictions, strict=True)):
        base = f"frankfurt_{number:06d}_000294"
        files = {
            folder / "gtFine/val/frankfurt" / f"{base}_gtFine_labelIds.png": truth,
            folder / "gtFine/val/frankfurt" / f"{base}_gtFine_instanceIds.png": truth,
            folder / "results" / f"{base}_pred.png": predicted,
        }
        for path, pixels in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    environment = os.environ | {"CITYSCAPES_DATASET": str(folder), "CITYSCAPES_RESULTS": str(folder / "results")}
    environment.pop("CITYSCAPES_EXPORT_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", _AS_ITS_COMMAND], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "evaluationResults" / "resultPixelLevelSemanticLabeling.json").read_text())


def test_every_number_that_cityscapesscripts_reports_is_ours_too(tmp_path):
    pytest.importorskip("cityscapesscripts")
    rng = np.random.default_rng(0)
    to_label_id = np.array(CITYSCAPES.file_ids, dtype=np.uint8)
    names = CITYSCAPES.names
    # neither in truth nor prediction: wall, train and sky, hence the category sky; terrain is predicted only
    nowhere = [names.index(name) for name in ("wall", "train", "sky")]
    predictable = np.setdiff1d(np.arange(19), nowhere)
    occurring = np.setdiff1d(predictable, [names.index("terrain")])
    truths, predictions, total = [], [], np.zeros((19, 19), dtype=np.int64)
    for _ in range(3):
        truth = rng.choice(occurring, (60, 80))
        predicted = np.where(rng.random((60, 80)) < 0.6, truth, rng.choice(predictable, (60, 80)))
        void = rng.random((60, 80)) < 0.3
        in_file = np.where(void, rng.choice(CITYSCAPES.void_ids, (60, 80)), to_label_id[truth]).astype(np.uint8)
        truths.append(in_file)
        predictions.append(to_label_id[predicted])
        total += _matrix(np.where(void, 255, truth), predicted, 19)
    assert {int(value) for value in np.unique(truths)} >= set(CITYSCAPES.void_ids)

    oracle = _cityscapes_result(tmp_path, truths, predictions)
    summary = summarize_segmentation(total, CITYSCAPES, 3)

    assert summary["miou"] == pytest.approx(oracle["averageScoreClasses"], abs=1e-6)
    assert summary["category_miou"] == pytest.approx(oracle["averageScoreCategories"], abs=1e-6)
    ours = {name: scores["iou"] for name, scores in summary["per_class"].items()}
    theirs = {name: None if np.isnan(iou) else iou for name, iou in oracle["classScores"].items() if name in names}
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert {name for name, iou in ours.items() if iou is None} == {"wall", "train", "sky"}
    assert ours["terrain"] == 0.0
    categories = {name: None if np.isnan(v) else v for name, v in oracle["categoryScores"].items() if name != "void"}
    assert summary["per_category"] == pytest.approx(categories, abs=1e-6)
    assert summary["per_category"]["sky"] is None


@pytest.mark.parametrize("seed", range(4))
def test_precision_recall_dice_and_accuracies_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth = rng.choice(10, 4000)  # class 10 is only predicted
    predicted = np.where(rng.random(4000) < 0.6, truth, rng.choice(11, 4000))
    summary = summarize_segmentation(_matrix(truth, predicted, 11), CAMVID, 4)
    expected = metrics.precision_recall_fscore_support(truth, predicted, labels=range(11), zero_division=np.nan)
    jaccard = metrics.jaccard_score(truth, predicted, labels=range(11), average=None)
    for row, iou, precision, recall, f1, pixels in zip(report_rows(summary), jaccard, *expected, strict=True):
        assert row["iou"] == pytest.approx(iou, abs=1e-9)
        assert row["precision"] == pytest.approx(precision, abs=1e-9)
        assert row["recall"] == (None if np.isnan(recall) else pytest.approx(recall, abs=1e-9))
        assert row["f1"] == pytest.approx(f1, abs=1e-9)
        assert row["pixels"] == pixels
    assert summary["pixel_accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert summary["mean_accuracy"] == pytest.approx(np.nanmean(expected[1]))
    weighted = metrics.jaccard_score(truth, predicted, labels=range(11), average="weighted")
    assert summary["frequency_weighted_iou"] == pytest.approx(weighted)
    assert summary["miou"] == pytest.approx(jaccard.mean())
    assert (summary["n"], summary["pixels"]) == (4, 4000)


def test_a_class_absent_from_both_counts_in_no_mean():
    summary = summarize_segmentation([[6, 2, 0], [0, 0, 0], [0, 0, 0]], SPACE, 1)
    assert summary["per_class"]["a"] == {"iou": 0.75, "precision": 1.0, "recall": 0.75, "f1": 6 / 7, "pixels": 8}
    assert summary["per_class"]["b"] == {"iou": 0.0, "precision": 0.0, "recall": None, "f1": 0.0, "pixels": 0}
    assert summary["per_class"]["c"] == {"iou": None, "precision": None, "recall": None, "f1": None, "pixels": 0}
    assert summary["miou"] == 0.375
    assert summary["mean_accuracy"] == 0.75
    assert "per_category" not in summary
    json.dumps(summary, allow_nan=False)  # as metrics.json takes it


def test_a_split_without_a_counted_pixel_is_a_clear_error():
    with pytest.raises(UserError, match="label space camvid: every pixel of the 7 images is ignored"):
        summarize_segmentation(np.zeros((11, 11)), CAMVID, 7)
    with pytest.raises(UserError, match="the split is empty"):
        summarize_segmentation(np.zeros((11, 11)), CAMVID, 0)
    with pytest.raises(ValueError, match="11 classes, but the matrix has shape"):
        summarize_segmentation(np.eye(3), CAMVID, 1)


def test_counts_beyond_32_bits_do_not_wrap():
    summary = summarize_segmentation(np.diag([5 * 10**9, 10**9, 0]), SPACE, 5000)
    assert summary["pixels"] == 6 * 10**9
    assert summary["miou"] == 1.0


def test_the_images_mious_are_each_image_on_its_own():
    rng = np.random.default_rng(1)
    matrices = rng.integers(0, 50, (5, 3, 3))
    matrices[2] = 0
    matrices[3] = np.diag([4, 0, 9])
    scores = image_mious(matrices)
    for i in (0, 1, 3, 4):
        assert scores[i] == pytest.approx(summarize_segmentation(matrices[i], SPACE, 1)["miou"])
    assert np.isnan(scores[2])
    assert scores[3] == 1.0
    assert image_mious(np.zeros((0, 3, 3))).shape == (0,)


def test_best_median_and_worst_show_no_image_twice():
    mious = [0.5, 0.9, np.nan, 0.1, 0.7, 0.3, 0.6, 0.2]
    assert best_median_worst(mious, 1) == [(1, "best"), (0, "median"), (3, "worst")]
    assert best_median_worst(mious, 2) == [
        (1, "best"), (4, "best"), (6, "median"), (0, "median"), (7, "worst"), (3, "worst"),
    ]  # fmt: skip
    assert best_median_worst([0.2, 0.4], 2) == [(1, "best"), (0, "best")]
    assert best_median_worst([0.2, 0.4, 0.3], 1) == [(1, "best"), (2, "median"), (0, "worst")]
    assert best_median_worst([np.nan], 3) == []


def test_the_report_shows_absent_scores_as_a_dash_and_n():
    matrix = np.diag([10**6, *[5] * 10])
    matrix[10, 10] = 0
    summary = summarize_segmentation(matrix, CAMVID, 1)
    lines = segmentation_report(summary).splitlines()
    assert lines[1].split() == ["sky", "1.000", "1.000", "1.000", "1.000", "1,000,000"]
    assert lines[11].split() == ["bicyclist", *"––––", "0"]
    assert lines[-1] == "n = 1 image, 1,000,045 pixels"
    assert any(line.split() == ["category", "mIoU", "1.000"] for line in lines)
    assert len({len(line) for line in lines[:12]}) == 1


def test_a_boundary_score_finds_its_column():
    summary = summarize_segmentation(np.eye(3, dtype=int), SPACE, 1) | {"boundary_f": 0.5}
    for score in summary["per_class"].values():
        score["boundary_f"] = 0.25
    assert all(tuple(row) == REPORT_FIELDS and row["boundary_f"] == 0.25 for row in report_rows(summary))
    report = segmentation_report(summary)
    assert report.splitlines()[1].split() == ["a", *["1.000"] * 4, "0.250", "1"]
    assert any(line.split() == ["boundary", "F", "0.500"] for line in report.splitlines())


def test_each_recordings_numbers_are_those_of_its_images_alone():
    matrices = np.random.default_rng(0).integers(1, 99, (6, 3, 3))
    groups = ["b", "a", "", "b", "a", "alone"]
    found = summarize_groups(matrices, groups)
    assert list(found) == ["a", "b"]
    for name, images in (("a", [1, 4]), ("b", [0, 3])):
        alone = summarize_segmentation(matrices[images].sum(axis=0), SPACE, 2)
        assert found[name]["n"] == 2
        assert all(found[name][key] == alone[key] for key in ("miou", "pixel_accuracy", "mean_accuracy"))
    assert summarize_groups(matrices, [""] * 6) == {}
