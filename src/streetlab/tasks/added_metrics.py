"""Metrics that a config adds to the catalogue's: torchmetrics' own, or classes of the user's."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from streetlab.config import check_node, instantiate_with, of_kind
from streetlab.datasets.labels import IGNORE_INDEX, LabelSpace
from streetlab.errors import UserError, first_line
from streetlab.metrics.catalogue import is_added_name

_TRIAL_SIDE = 8
"""Height and width (pixels) of the maps that a metric is tried on."""


def build_metrics(node: Mapping[str, Any] | None, label_space: LabelSpace) -> MetricCollection | None:
    """Build the metrics of a config's `metrics` node, each tried once on random scores; None where there are none.

    They take class probabilities `(B, K)` and labels `(B,)` of photos, or `(B, K, H, W)` and `(B, H, W)` of pixels,
    float32 and int64. Targets that have such parameters get `num_classes` and, for pixels, `ignore_index=255`.

    Raises:
        UserError: a name is taken, a target makes no torchmetrics metric, does not take these tensors, or gives
            anything but one number.
    """
    offered = {"num_classes": len(label_space)}
    if label_space.spec.per_pixel:
        offered["ignore_index"] = IGNORE_INDEX
    metrics: dict[str, Metric | MetricCollection] = {}
    for name, part in (node or {}).items():
        if part is None:
            continue
        if not re.fullmatch(r"[A-Za-z]\w*", name) or not is_added_name(name):
            raise UserError(f"metrics.{name}: the name has a meaning already or is no word; choose another")
        check_node(part, f"metrics.{name}")
        made = instantiate_with(part, **offered)
        metric: Metric = of_kind(made, Metric, part, f"metrics.{name}", "torchmetrics metric (torchmetrics.Metric)")
        _try(metric, f"metrics.{name}: {part.get('_target_')}", label_space)
        metrics[name] = metric
    return MetricCollection(metrics, compute_groups=False) if metrics else None


def values(metrics: MetricCollection) -> dict[str, Tensor]:
    """Each metric's number over all that was counted, on all processes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # such as a class without a sample, which shows in the number
        return {name: value.float() for name, value in metrics.compute().items()}


def number(value: float) -> float | None:
    """A logged value for metrics.json: None where it is undefined."""
    return value if math.isfinite(value) else None


def _try(metric: Metric, name: str, label_space: LabelSpace) -> None:
    """Count a random batch in which every class occurs, and forget it."""
    classes = len(label_space)
    size = (_TRIAL_SIDE, _TRIAL_SIDE) if label_space.spec.per_pixel else ()
    rng = torch.Generator().manual_seed(0)
    probabilities = torch.rand(2 * classes, classes, *size, generator=rng).softmax(dim=1)
    labels = torch.arange(2 * classes).remainder(classes).view(-1, *(1 for _ in size)).expand(2 * classes, *size)
    shapes = "(B, K, H, W) and labels (B, H, W)" if size else "(B, K) and labels (B,)"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            metric.update(probabilities, labels.contiguous())
            value = metric.compute()
        except Exception as error:
            raise UserError(f"{name} does not take probabilities {shapes}: {first_line(error)}") from error
        metric.reset()
    if not isinstance(value, Tensor) or value.numel() != 1:
        kind = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise UserError(f"{name} gives {kind}; a metric gives one number (many have average=macro)")
