"""Runs that die in the middle, and the comparison of two runs to the bit."""

from __future__ import annotations

import csv

import pytest
import torch

from streetlab.records.record import RunRecord
from streetlab.training.phases import PhaseSchedule

TWO_PHASES = (
    "regime=frozen_then_unfrozen",
    "regime.phases=[{name: probe, epochs: 2, train: [head], scheduler: none},"
    "{name: tune, epochs: 3, train: [layer4, head], lr_scale: 0.1, start_from: best}]",
)


ONE_PHASE = ("regime=single", "regime.phases=[{name: train, epochs: 4, train: [all]}]")


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it, and only what is on disk survives."""


def run_killed(train, monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int, *words: str) -> None:
    """Train into `killed` and die in the middle of an epoch (counted from 1)."""
    original = PhaseSchedule.on_train_batch_start

    def hook(self, trainer, pl_module, *rest):
        if (trainer.current_epoch + 1, rest[1]) == (epoch, batch):
            raise Killed
        original(self, trainer, pl_module, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(PhaseSchedule, "on_train_batch_start", hook)
        with pytest.raises(Killed):
            train(*words, output="killed")


def assert_same_bits(one: RunRecord, other: RunRecord) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        weights = [torch.load(r.checkpoints / name, weights_only=True)["state_dict"] for r in (one, other)]
        assert weights[0].keys() == weights[1].keys()
        for key in weights[0]:
            assert torch.equal(weights[0][key], weights[1][key]), f"{name}: {key}"
    assert history(one) == history(other)
    if one.metrics["task"] == "segmentation":
        assert (one.confusions("test").matrices == other.confusions("test").matrices).all()
    else:
        assert (one.path / "predictions.csv").read_text() == (other.path / "predictions.csv").read_text()


def history(record: RunRecord) -> list[dict[str, str]]:
    with (record.path / "metrics.csv").open() as file:
        return list(csv.DictReader(file))
