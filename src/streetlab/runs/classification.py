"""A classifier's numbers from one confusion matrix: accuracy, per-class scores, macro-F1, kappa."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streetlab.data.index.labels import LabelSpace
from streetlab.errors import UserError
from streetlab.runs.predictions import Predictions

REPORT_FIELDS = ("class", "precision", "recall", "f1", "support")


def confusion_counts(labels: NDArray[np.int64], predictions: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """(K, K) counts; the row is the true class, the column the predicted one."""
    flat = np.asarray(labels, dtype=np.int64) * k + np.asarray(predictions, dtype=np.int64)
    return np.bincount(flat, minlength=k * k).reshape(k, k)


def summarize_classification(predictions: Predictions, label_space: LabelSpace) -> dict[str, Any]:
    """Every number of one split, all from its one confusion matrix.

    Returns:
        accuracy, macro_f1, n, per_class `{name: {precision, recall, f1, support}}`, confusion (K×K list, the
        row is the truth); for an ordinal space also quadratic_weighted_kappa (None where it is undefined: one
        class only) and far_errors, the number of photos that are two or more steps off (Clean ↔ Litter).

    Raises:
        UserError: no photo, or other class names than the label space's.
    """
    names = tuple(predictions.names)
    if names != tuple(label_space.names):
        raise UserError(
            f"predictions have the classes {', '.join(names)}; "
            f"label space {label_space.name} has {', '.join(label_space.names)}"
        )
    if not len(predictions):
        raise UserError("no predictions: the split is empty, so there is nothing to measure")
    matrix = confusion_counts(predictions.labels, predictions.predictions, len(names))
    summary = summarize_confusion(matrix, names)
    if label_space.ordinal:
        steps = np.abs(np.subtract.outer(np.arange(len(names)), np.arange(len(names))))
        summary["quadratic_weighted_kappa"] = quadratic_weighted_kappa(matrix)
        summary["far_errors"] = int(matrix[steps >= 2].sum())
    return summary


def summarize_confusion(matrix: NDArray[np.int64], names: tuple[str, ...]) -> dict[str, Any]:
    """Accuracy, macro-F1 and per-class scores of a (K, K) matrix with at least one count.

    A score without a denominator is 0. A class absent from truth and predictions is left out of the macro
    mean, which is what scikit-learn's `f1_score(average="macro")` does.
    """
    hits = np.diag(matrix).astype(float)
    support, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    present = (support + predicted) > 0
    precision, recall = _ratio(hits, predicted), _ratio(hits, support)
    f1 = _ratio(2 * hits, support + predicted)
    total = int(matrix.sum())
    return {
        "accuracy": float(hits.sum() / total),
        "macro_f1": float(f1[present].mean()),
        "n": total,
        "per_class": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(names)
        },
        "confusion": matrix.tolist(),
    }


def quadratic_weighted_kappa(matrix: NDArray[np.int64]) -> float | None:
    """Cohen's kappa with disagreement weighted by the squared distance of the classes (Cohen 1968).

    None where truth and predictions hold one and the same class only: chance leaves nothing to disagree on.
    """
    classes = np.arange(len(matrix))
    weights = np.subtract.outer(classes, classes).astype(float) ** 2
    expected = np.outer(matrix.sum(axis=1), matrix.sum(axis=0)) / matrix.sum()
    chance = float((weights * expected).sum())
    return 1 - float((weights * matrix).sum()) / chance if chance > 0 else None


def report_rows(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The per-class table for CSV, columns `REPORT_FIELDS`."""
    return [{"class": name, **scores} for name, scores in summary["per_class"].items()]


def classification_report(predictions: Predictions) -> str:
    """The per-class table as text for logs, with accuracy, macro-F1 and n below."""
    k, names = len(predictions.names), tuple(predictions.names)
    if not len(predictions):
        raise UserError("no predictions: the split is empty, so there is nothing to report")
    summary = summarize_confusion(confusion_counts(predictions.labels, predictions.predictions, k), names)
    width = max(len("macro F1"), *map(len, names))
    lines = [f"{'':{width}}  precision  recall     F1      n"]
    for name, score in summary["per_class"].items():
        lines.append(
            f"{name:{width}}  {score['precision']:9.3f}  {score['recall']:6.3f}  {score['f1']:5.3f}"
            f"  {score['support']:5d}"
        )
    lines.append("")
    lines.append(f"{'accuracy':{width}}  {'':9}  {'':6}  {summary['accuracy']:5.3f}  {summary['n']:5d}")
    lines.append(f"{'macro F1':{width}}  {'':9}  {'':6}  {summary['macro_f1']:5.3f}  {summary['n']:5d}")
    return "\n".join(lines) + "\n"


def _ratio(top: NDArray[Any], bottom: NDArray[Any]) -> NDArray[np.float64]:
    return np.divide(top, bottom, out=np.zeros(len(top)), where=bottom > 0)
