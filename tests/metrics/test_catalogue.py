"""Every metric is one entry: what a place shows can be had, and orders that files have stay."""

from __future__ import annotations

import numpy as np
import pytest

from streetlab.datasets.labels import CITYSCAPES, CLEANLINESS, LabelSpace
from streetlab.datasets.task_spec import CLASSIFICATION, SEGMENTATION, TASKS
from streetlab.metrics.catalogue import BY_KEY, CATALOGUE, Place, metrics_of, mode_of, objectives, resampled, words
from streetlab.metrics.classification import summarize_classification
from streetlab.metrics.predictions import Predictions
from streetlab.metrics.segmentation import summarize_segmentation


def summary_of(task: str) -> dict:
    random = np.random.default_rng(0)
    if task == SEGMENTATION:
        return summarize_segmentation(random.integers(1, 9, (len(CITYSCAPES),) * 2), CITYSCAPES, 4)
    probabilities = random.dirichlet(np.ones(3), 30)
    labels, names = random.integers(0, 3, 30), CLEANLINESS.names
    ids = [str(i) for i in range(30)]
    predictions = Predictions(ids, [""] * 30, labels, probabilities.argmax(axis=1), probabilities, names)
    return summarize_classification(predictions, CLEANLINESS)


def test_a_key_stands_once_for_each_task():
    assert len({(metric.task, metric.key) for metric in CATALOGUE}) == len(CATALOGUE)
    assert all(metric.mode == BY_KEY[metric.key].mode for metric in CATALOGUE)
    assert all(Place.LEADERBOARD in metric.shown for metric in CATALOGUE if metric.column or metric.share)


@pytest.mark.parametrize("task", TASKS)
def test_a_split_has_every_number_that_is_computed_or_logged(task):
    summary = summary_of(task)
    for metric in metrics_of(task):
        if metric.from_counts or metric.from_matrix or metric.from_probabilities or Place.EPOCH in metric.shown:
            assert metric.key in summary


@pytest.mark.parametrize("task", TASKS)
def test_what_is_tested_between_runs_can_be_resampled_and_be_an_objective(task):
    keys = [metric.key for metric in metrics_of(task, Place.HEADLINE)]
    assert sorted(resampled(task)) == sorted(keys)
    assert set(keys) <= set(objectives(task))
    assert TASKS[task].objective == objectives(task)[0]
    assert TASKS[task].accuracy in keys


def test_columns_and_messages_keep_their_order():
    assert objectives(CLASSIFICATION) == ("macro_f1", "accuracy")
    assert objectives(SEGMENTATION) == ("miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")
    headlines = [metric.key for metric in CATALOGUE if Place.HEADLINE in metric.shown]
    assert headlines == ["accuracy", "macro_f1", "miou", "pixel_accuracy"]


@pytest.mark.parametrize(
    ("key", "mode"),
    [("macro_f1", "max"), ("ece_calibrated", "min"), ("far_errors", "min"), ("top5_error", "min"), ("speed", "max")],
)
def test_a_number_outside_the_catalogue_goes_by_its_last_word(key, mode):
    assert mode_of(key) == mode


def test_names_for_sentences():
    assert [words(key) for key in ("macro_f1", "miou", "pixel_accuracy", "speed_index")] == [
        "macro F1",
        "mIoU",
        "pixel accuracy",
        "speed index",
    ]


def test_every_task_has_a_label_space_of_its_kind():
    assert not CLEANLINESS.spec.per_pixel
    assert LabelSpace("", SEGMENTATION, (), ()).spec.per_pixel
