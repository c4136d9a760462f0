"""The kinds of the values that readers of a record look at, file by file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streetlab.config.annotations import misfits
from streetlab.errors import UserError


@dataclass
class _Config:
    seed: int | None
    task: Mapping[str, Any] | None
    dataset: Mapping[str, Any] | None
    metrics: Mapping[str, Mapping[str, Any] | None] | None


@dataclass
class _Task:
    objective: Mapping[str, Any] | None


@dataclass
class _Objective:
    metric: str
    mode: str
    best: float | None


@dataclass
class _Metrics:
    task: str
    eval_split: str
    objective: Mapping[str, Any]
    val: Mapping[str, Any] | None
    test: Mapping[str, Any] | None
    label_space: Mapping[str, Any] | None


@dataclass
class _Model:
    seconds_total: float | None


@dataclass
class _Status:
    state: str
    error: str | None
    started: str | None
    ended: str | None
    split_hash: str | None
    data_hash: str | None
    split_file: Mapping[str, str | None] | None
    teacher: Mapping[str, Any] | None
    choices: Mapping[str, Any] | None


_KINDS: Mapping[str, Mapping[str, type]] = {
    "config.yaml": {"": _Config, "task": _Task, "task.objective": _Objective},
    "metrics.json": {"": _Metrics, "objective": _Objective},
    "model.json": {"": _Model},
    "status.json": {"": _Status},
}
"""By file and the key of a mapping in it; the mapping above one comes first."""


def checked(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a record's file.

    Raises:
        UserError: one is of another kind than what reads it expects; the line names file and key.
    """
    for key, kinds in _KINDS[path.name].items():
        node: Any = values
        for part in key.split(".") if key else ():
            node = node.get(part) or {}
        for line in misfits(kinds, node, key):
            raise UserError(f"{path}: damaged ({line})")
    return values
