"""Optimizers that do their step in one kernel, where torch has one and it is the faster."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch.optim import SGD, Optimizer

_TOLD = ("fused", "foreach", "capturable", "differentiable")
"""Keywords with which a config chooses among the implementations itself."""


def build_fused(
    build: Callable[..., Optimizer], groups: Sequence[Mapping[str, Any]], may_fuse: bool = True
) -> Optimizer:
    """The optimizer of these groups, fused where that is at hand and the config does not choose.

    On the CPU that halves the time of Adam's step and makes no difference to SGD's, which stays as it is (measured,
    see experiments/speed). The state dict is the same, so that either resumes from the other's.

    Args:
        build: a partial of an optimizer class.
        groups: with `params`, all on one device.
        may_fuse: False builds what the config says and no more.
    """
    if not may_fuse or not isinstance(build, partial) or any(key in build.keywords for key in _TOLD):
        return build(groups)
    kind = build.func
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    known = isinstance(kind, type) and "fused" in inspect.signature(kind).parameters
    if not known or not devices <= {"cuda", "cpu"} or (kind is SGD and "cpu" in devices):
        return build(groups)
    return build(groups, fused=True)
