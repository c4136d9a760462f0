"""The typed root of a command's config: a key that does not stand here is an error wherever it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class TrainConfig:
    """The keys of `conf/train.yaml`: one node for each config group, then the plain values."""

    task: dict[str, Any] = MISSING
    dataset: dict[str, Any] = MISSING
    model: dict[str, Any] = MISSING
    regime: dict[str, Any] = MISSING
    optimizer: dict[str, Any] = MISSING
    scheduler: dict[str, Any] = MISSING
    loss: dict[str, Any] = MISSING
    augment: dict[str, Any] = MISSING
    transforms: dict[str, Any] | None = None
    mix: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    trainer: dict[str, Any] = MISSING
    logger: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    study: str = MISSING
    seed: int = MISSING
    data: str = MISSING
    pretrained: str = MISSING
    teacher: str | None = None
    distillation: dict[str, Any] = MISSING
    image_size: list[int] = MISSING
    batch_size: int | str = MISSING
    num_workers: int = MISSING
    resume: str = MISSING
    output: str | None = None


def register_schemas() -> None:
    """Make the schemas known to Hydra under the names that the defaults lists use."""
    ConfigStore.instance().store(name="train_schema", node=TrainConfig)
