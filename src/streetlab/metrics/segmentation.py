"""Metrics of a segmentation model from one confusion matrix: IoU per class and category, mIoU, Dice, accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.task_spec import SEGMENTATION
from streetlab.errors import UserError
from streetlab.io.filenames import one_line
from streetlab.metrics.catalogue import Place, metrics_of, values_from_counts
from streetlab.metrics.statistics.scores import image_counts, miou

REPORT_FIELDS = ("class", "iou", "precision", "recall", "f1", "boundary_f", "pixels")
_HEADERS = {"iou": "IoU", "precision": "precision", "recall": "recall", "f1": "F1", "boundary_f": "boundary"}
_TOTALS = {
    metric.key: metric.title
    # accuracies tell least of small classes and come last
    for metric in sorted(metrics_of(SEGMENTATION, Place.REPORT), key=lambda metric: metric.key.endswith("accuracy"))
}


def summarize_segmentation(matrix: ArrayLike, label_space: LabelSpace, n: int) -> dict[str, Any]:
    """Every number of one split, all from its one confusion matrix, the sum over its images.

    IoU is TP / (TP + FP + FN) over all pixels of the split together, as cityscapesScripts and Pascal VOC define
    it, not a mean over images. A score without a denominator is None and counts in no mean: `iou` and `f1` of a
    class absent from truth and prediction, `recall` of one absent from the truth, `precision` of one never
    predicted.

    Args:
        matrix: (K, K) pixel counts; the row is the true class, the column the predicted one; ignored pixels are
            not in it.
        label_space: the K classes; its categories, where it has any, give the scores per category.
        n: the number of images.

    Returns:
        miou (mean over the classes that occur in truth or prediction), per_class `{name: {iou, precision, recall,
        f1 (Dice), pixels (of the truth)}}`, pixel_accuracy, mean_accuracy (mean recall over the classes in the
        truth), frequency_weighted_iou (IoU weighted by the truth's share of pixels; Long et al. 2015), n, pixels
        (all that count), confusion (K×K list), absent_classes (names of those without a pixel, where there
        are any); with categories also per_category `{name: iou}` and category_miou,
        where a confusion of two classes of one category is no error (cityscapesScripts,
        `getIouScoreForCategory`).

    Raises:
        UserError: the matrix is all zero: every pixel is ignored, or there is no image.
        ValueError: the matrix is not (K, K).
    """
    counts = np.asarray(matrix, dtype=np.int64)
    k = len(label_space)
    if counts.shape != (k, k):
        raise ValueError(f"{label_space.name} has {k} classes, but the matrix has shape {counts.shape}")
    if not counts.any():
        images = f"every pixel of the {n} image{'s' * (n != 1)} is ignored" if n else "the split is empty"
        raise UserError(f"label space {label_space.name}: {images}, so there is nothing to measure")
    hits, truth, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    iou = _ious(counts)
    precision, recall = _ratio(hits, predicted), _ratio(hits, truth)
    f1 = _ratio(2 * hits, truth + predicted)
    summary: dict[str, Any] = {
        **values_from_counts(SEGMENTATION, image_counts(counts)),
        "n": int(n),
        "pixels": int(counts.sum()),
        "per_class": {
            name: {
                "iou": _or_none(iou[i]),
                "precision": _or_none(precision[i]),
                "recall": _or_none(recall[i]),
                "f1": _or_none(f1[i]),
                "pixels": int(truth[i]),
            }
            for i, name in enumerate(label_space.names)
        },
    }
    if absent := [name for name, scores in summary["per_class"].items() if not scores["pixels"]]:
        summary["absent_classes"] = absent
    if label_space.categories:
        names, merged = merge_categories(counts, label_space)
        by_category = _ious(merged)
        summary["per_category"] = {name: _or_none(value) for name, value in zip(names, by_category, strict=True)}
        summary["category_miou"] = float(miou(image_counts(merged)))
    return summary | {"confusion": counts.tolist()}


def summarize_groups(matrices: ArrayLike, groups: Sequence[str]) -> dict[str, dict[str, float]]:
    """The numbers of each group of several images (a video, a sequence, a city), by its name in alphabetical order.

    Args:
        matrices: (N, K, K) of the images.
        groups: N names; empty for an image that stands alone.

    Returns:
        `{name: {miou, pixel_accuracy, ..., n}}`; empty where there is no such group.
    """
    stack, names = np.asarray(matrices, dtype=np.int64), np.asarray(groups, dtype=np.str_)
    found = {}
    for name in sorted({group for group in groups if group}):
        images = names == name
        total = stack[images].sum(axis=0)
        if images.sum() > 1 and total.any():
            found[name] = values_from_counts(SEGMENTATION, image_counts(total)) | {"n": int(images.sum())}
    return found


def merge_categories(matrix: NDArray[np.int64], label_space: LabelSpace) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The C category names, in the order of their first class, and the (C, C) matrix between them."""
    names = tuple(dict.fromkeys(label_space.categories))
    member = np.array([[category == name for category in label_space.categories] for name in names], dtype=np.int64)
    return names, member @ matrix @ member.T


def image_mious(matrices: ArrayLike) -> NDArray[np.float64]:
    """(N,) mIoU of each image on its own, from its (N, K, K) matrices; NaN where no pixel counts.

    The mean is over the classes that occur in that image's truth or prediction. These rank images for a gallery;
    their mean is not the split's mIoU.
    """
    return miou(image_counts(matrices))


def best_median_worst(mious: ArrayLike, each: int = 2) -> list[tuple[int, str]]:
    """Positions of the `each` best, median and worst images of `image_mious`, with that word, the best first.

    No image occurs twice, so that few images give fewer rows; NaN is left out, ties go by position.
    """
    values = np.asarray(mious, dtype=float)
    order = np.argsort(-values, kind="stable")
    order = order[~np.isnan(values[order])]
    middle = max(0, (len(order) - each) // 2)
    wanted = (
        [(position, "best") for position in range(each)]
        # the worst before the median: with few images the extremes tell more
        + [(position, "worst") for position in range(len(order) - each, len(order))]
        + [(position, "median") for position in range(middle, middle + each)]
    )
    words: dict[int, str] = {}
    for position, word in wanted:
        if 0 <= position < len(order):
            words.setdefault(position, word)
    return [(int(order[position]), words[position]) for position in sorted(words)]


def report_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The per-class table for report.csv, columns `REPORT_FIELDS`; what the summary does not have is None."""
    return [
        {"class": name, **{field: scores.get(field) for field in REPORT_FIELDS[1:]}}
        for name, scores in summary["per_class"].items()
    ]


def segmentation_report(summary: Mapping[str, Any]) -> str:
    """The per-class table as text for logs; categories, the split's numbers and n below. Absent scores are –.

    Args:
        summary: of `summarize_segmentation`; a `boundary_f` in it and in its classes is shown too.
    """
    classes = {one_line(name): scores for name, scores in summary["per_class"].items()}
    categories = summary.get("per_category", {})
    width = max(map(len, [*_TOTALS.values(), *classes, *categories]))
    columns = [field for field in REPORT_FIELDS[1:-1] if any(field in scores for scores in classes.values())]
    lines = [f"{'':{width}}  " + "  ".join(f"{_HEADERS[field]:>9}" for field in columns) + f"  {'pixels':>13}"]
    for name, scores in classes.items():
        cells = "  ".join(_cell(scores.get(field), 9) for field in columns)
        lines.append(f"{name:{width}}  {cells}  {scores['pixels']:13,d}")
    for block in (categories, {word: summary[key] for key, word in _TOTALS.items() if key in summary}):
        if block:
            lines += ["", *(f"{name:{width}}  {_cell(value, 9)}" for name, value in block.items())]
    if absent := summary.get("absent_classes"):
        lines.append(f"no pixel of {', '.join(absent)} in this split")
    lines.append(f"n = {summary['n']} image{'s' * (summary['n'] != 1)}, {summary['pixels']:,d} pixels")
    return "\n".join(lines) + "\n"


def _ious(matrices: NDArray[np.int64]) -> NDArray[np.float64]:
    """(..., K) IoU of (..., K, K) matrices; NaN where a class is absent from truth and prediction."""
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    return _ratio(hits, matrices.sum(axis=-1) + matrices.sum(axis=-2) - hits)


def _ratio(top: NDArray[Any], bottom: NDArray[Any]) -> NDArray[np.float64]:
    return np.divide(top, bottom, out=np.full(np.shape(bottom), np.nan), where=bottom > 0)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _cell(value: float | None, width: int) -> str:
    return f"{'–':>{width}}" if value is None else f"{value:{width}.3f}"
