"""Metrics of a classifier on one split: accuracy, per-class scores, macro-F1, kappa, calibration; and as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.task_spec import CLASSIFICATION
from streetlab.errors import UserError
from streetlab.io.filenames import one_line
from streetlab.metrics.catalogue import Place, metrics_of, values_from_counts, words
from streetlab.metrics.expected_precision import expected_precision_text, expected_precision_title
from streetlab.metrics.predictions import Predictions
from streetlab.metrics.statistics.bootstrap import cluster_photos
from streetlab.metrics.statistics.scores import image_counts

REPORT_FIELDS = ("class", "precision", "recall", "f1", "support")


def confusion_counts(labels: NDArray[np.int64], predictions: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """(K, K) counts; the row is the true class, the column the predicted one."""
    flat = np.asarray(labels, dtype=np.int64) * k + np.asarray(predictions, dtype=np.int64)
    return np.bincount(flat, minlength=k * k).reshape(k, k)


def summarize_classification(predictions: Predictions, label_space: LabelSpace) -> dict[str, Any]:
    """Every number that follows from one split alone.

    Returns:
        accuracy, macro_f1, n, per_class `{name: {precision, recall, f1, support}}`, confusion (K×K list, the
        row is the truth); absent_classes, the names of those without a photo, where there are any; for an ordinal
        space also quadratic_weighted_kappa (None where it is undefined: one class only), far_errors, the number of
        photos that are two or more steps off (Clean ↔ Litter), and far_error_share, their share of all photos; then
        what `calibration_numbers` gives, and accuracy_ceiling.

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
    if absent := [name for name, scores in summary["per_class"].items() if not scores["support"]]:
        summary["absent_classes"] = absent
    if label_space.ordinal:
        summary |= {m.key: m.from_matrix(matrix) for m in metrics_of(CLASSIFICATION) if m.from_matrix}
    summary |= calibration_numbers(predictions.probabilities, predictions.labels)
    summary["accuracy_ceiling"] = accuracy_ceiling(predictions.labels, predictions.groups)
    return summary


def summarize_confusion(matrix: NDArray[np.int64], names: tuple[str, ...]) -> dict[str, Any]:
    """Accuracy, macro-F1 and per-class scores of a (K, K) matrix with at least one count.

    A score without a denominator is 0. A class absent from truth and predictions is left out of the macro mean.
    """
    hits = np.diag(matrix).astype(float)
    support, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    precision, recall = _ratio(hits, predicted), _ratio(hits, support)
    f1 = _ratio(2 * hits, support + predicted)
    return values_from_counts(CLASSIFICATION, image_counts(matrix)) | {
        "n": int(matrix.sum()),
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


def calibration_numbers(probabilities: ArrayLike, labels: ArrayLike, suffix: str = "") -> dict[str, float]:
    """Every metric that follows from probabilities, by its key in metrics.json followed by `suffix`.

    Args:
        suffix: `_calibrated` for probabilities under a temperature that was fitted on other photos.
    """
    return {
        metric.key + suffix: metric.from_probabilities(probabilities, labels)
        for metric in metrics_of(CLASSIFICATION)
        if metric.from_probabilities
    }


def accuracy_ceiling(labels: NDArray[np.int64], groups: Sequence[str]) -> float:
    """The best accuracy on these photos of a classifier that gives one answer to all photos of a group.

    Where photos of a group carry different labels, it is right on those of the most frequent one. For groups of
    equal bytes or pixels no classifier can do better. Near duplicates count as well: what tells them apart (a scale, a
    margin, a compression) says nothing of litter, so a classifier that gets beyond the ceiling there has learned the
    noise. Photos whose groups are not known stand alone, and the ceiling of such a split is 1.
    """
    clusters = cluster_photos(groups)
    votes = np.zeros((int(clusters.max()) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(votes, (clusters, labels), 1)
    return float(votes.max(axis=1).sum() / len(labels))


def off_by_two_errors_name(names: Sequence[str]) -> str:
    """Name of errors of two or more steps: `Clean ↔ Litter errors` where these are the only ones."""
    return f"{names[0]} ↔ {names[-1]} errors" if len(names) == 3 else "errors of 2 or more steps"


def report_rows(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The per-class table for CSV, columns `REPORT_FIELDS`."""
    return [{"class": name, **scores} for name, scores in summary["per_class"].items()]


def classification_report(summary: dict[str, Any]) -> str:
    """The per-class table as text for logs, with accuracy, macro-F1 and n below, then the other numbers there are."""
    classes = {one_line(name): score for name, score in summary["per_class"].items()}
    totals = [(words(metric.key), metric.key) for metric in metrics_of(CLASSIFICATION, Place.REPORT)]
    width = max(*(len(word) for word, _ in totals), *map(len, classes))
    lines = [f"{'':{width}}  precision  recall     F1      n"]
    for name, score in classes.items():
        lines.append(
            f"{name:{width}}  {score['precision']:9.3f}  {score['recall']:6.3f}  {score['f1']:5.3f}"
            f"  {score['support']:5d}"
        )
    lines.append("")
    for word, key in totals:
        lines.append(f"{word:{width}}  {'':9}  {'':6}  {summary[key]:5.3f}  {summary['n']:5d}")
    return "\n".join([*lines, "", *_further_lines(summary)]) + "\n"


def _further_lines(summary: dict[str, Any]) -> list[str]:
    """Absent classes, kappa, far errors, calibration, ceiling and expected precision, a line each."""
    lines = []
    if absent := summary.get("absent_classes"):
        lines.append(f"no photo of {', '.join(absent)} in this split: recall and F1 of such a class say nothing")
    if summary.get("quadratic_weighted_kappa") is not None:
        lines.append(f"quadratic-weighted kappa: {summary['quadratic_weighted_kappa']:.3f}")
    if "far_errors" in summary:
        far = f"{summary['far_errors']} ({summary['far_error_share']:.1%} of {summary['n']})"
        lines.append(f"{off_by_two_errors_name(list(summary['per_class']))}: {far}")
    lines.append(_calibration_line(summary))
    if "temperature" in summary:
        fitted = f"with temperature {summary['temperature']:.3f}, fitted on {summary['temperature_from']}"
        lines.append(f"{fitted}: {_calibration_line(summary, '_calibrated')}")
    if summary["accuracy_ceiling"] < 1:
        lines.append(f"accuracy ceiling {summary['accuracy_ceiling']:.3f}: photos of one group have different labels")
    if "expected_precision" in summary:
        found = summary["expected_precision"]
        lines.append(
            f"{expected_precision_title(found)}: {expected_precision_text(found)}, from recall {found['recall']:.3f} "
            f"(n = {found['n']}) and false positive rate {found['false_positive_rate']:.3f} (n = {found['n_others']})"
        )
    return lines


def _calibration_line(summary: dict[str, Any], suffix: str = "") -> str:
    ece, chance, brier, nll = (summary[name + suffix] for name in ("ece", "ece_by_chance", "brier", "nll"))
    return f"ECE {ece:.3f} ({chance:.3f} by chance alone), Brier score {brier:.3f}, negative log-likelihood {nll:.3f}"


def _ratio(top: NDArray[Any], bottom: NDArray[Any]) -> NDArray[np.float64]:
    return np.divide(top, bottom, out=np.zeros(len(top)), where=bottom > 0)
