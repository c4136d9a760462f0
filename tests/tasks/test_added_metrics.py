"""Metrics that a config adds: they count as torchmetrics does alone, and those that do not fit are named at once."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.classification import multiclass_jaccard_index

from streetlab.datasets.labels import CAMVID, CLEANLINESS
from streetlab.errors import UserError
from streetlab.tasks.added_metrics import build_metrics, values


def node(target: str, **options: object) -> dict[str, object]:
    return {"_target_": f"torchmetrics.classification.{target}", **options}


def test_pixels_without_a_label_count_for_nothing():
    metrics = build_metrics({"jaccard": node("MulticlassJaccardIndex")}, CAMVID)
    rng = torch.Generator().manual_seed(0)
    probabilities = torch.rand(2, 11, 6, 7, generator=rng).softmax(dim=1)
    labels = torch.randint(0, 11, (2, 6, 7), generator=rng)
    labels[0] = 255
    metrics.update(probabilities, labels)
    expected = multiclass_jaccard_index(probabilities[1:], labels[1:], 11)
    assert float(values(metrics)["jaccard"]) == pytest.approx(float(expected), abs=1e-6)


def test_a_number_of_the_config_stands_and_the_trial_leaves_no_trace():
    metrics = build_metrics({"top": node("MulticlassAccuracy", top_k=2, average="micro", num_classes=3)}, CLEANLINESS)
    metrics.update(torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), torch.tensor([1, 2]))
    assert float(values(metrics)["top"]) == 0.5


def test_without_metrics_nothing_is_built():
    assert build_metrics(None, CLEANLINESS) is None
    assert build_metrics({"auroc": None}, CLEANLINESS) is None


@pytest.mark.parametrize(
    ("metrics", "line"),
    [
        ({"accuracy": node("MulticlassAUROC")}, "metrics.accuracy: the name has a meaning already or is no word"),
        ({"a/b": node("MulticlassAUROC")}, "metrics.a/b: the name has a meaning already or is no word"),
        ({"each": node("MulticlassRecall", average="none")}, r"gives a tensor \(3,\); a metric gives one number"),
        ({"error": {"_target_": "torchmetrics.MeanSquaredError"}}, r"does not take probabilities \(B, K\) and labels"),
        ({"loss2": {"_target_": "torch.nn.CrossEntropyLoss"}}, "makes a CrossEntropyLoss, not a torchmetrics metric"),
        ({"auroc": node("MulticlassAUROC", avrage="macro")}, "takes no 'avrage'; did you mean 'average'"),
    ],
)
def test_a_metric_that_does_not_fit_is_one_line(metrics, line):
    with pytest.raises(UserError, match=line):
        build_metrics(metrics, CLEANLINESS)
