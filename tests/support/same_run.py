"""The comparison of two runs that may differ by rounding."""

from __future__ import annotations

import csv

import torch

from streetlab.records.record import RunRecord


def assert_same_run(one: RunRecord, other: RunRecord) -> None:
    assert losses(one) == losses(other)
    assert weights(one).keys() == weights(other).keys()
    assert all(torch.equal(tensor, weights(other)[key]) for key, tensor in weights(one).items())


def losses(record: RunRecord) -> list[tuple[str, str]]:
    with (record.path / "metrics.csv").open() as file:
        return [(row["train/loss"], row["val/loss"]) for row in csv.DictReader(file)]


def weights(record: RunRecord) -> dict[str, torch.Tensor]:
    return torch.load(record.checkpoints / "last.ckpt", weights_only=True)["state_dict"]
