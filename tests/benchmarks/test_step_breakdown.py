"""The table that says where a step's time goes."""

from __future__ import annotations

import json
from types import SimpleNamespace

TINY = ("--size", "32", "32", "--batch-size", "2", "--batches", "2", "--rounds", "1")


def test_time_goes_to_the_innermost_action_of_an_epoch(script, monkeypatch):
    breakdown = script("step_breakdown")
    now = 0.0
    monkeypatch.setattr(breakdown, "time", SimpleNamespace(perf_counter=lambda: now))
    clock = breakdown.StepClock()
    clock.trainer = SimpleNamespace(validating=False)
    events = [
        (1, clock.start, "run_training_epoch"),
        (2, clock.start, "[LightningModule]SegmentationTask.optimizer_step"),
        (4, clock.start, "[Strategy]SingleDeviceStrategy.training_step"),
        (8, clock.stop, "[Strategy]SingleDeviceStrategy.training_step"),
        (16, clock.stop, "[LightningModule]SegmentationTask.optimizer_step"),
        (32, clock.stop, "run_training_epoch"),
        (64, clock.start, "[Callback]EMA.on_train_end"),  # after the epoch: not a step's
    ]
    for now, act, name in events:  # noqa: B007  (the clock reads it)
        act(name)
    assert dict(clock.seconds) == {
        ("training", "the rest"): 1 + 16,
        ("training", "optimizer"): 2 + 8,
        ("training", "forward and loss"): 4,
    }


def test_a_delay_planted_in_the_data_shows_in_the_row_of_the_data(script, tmp_path):
    breakdown = script("step_breakdown")
    found = {}
    for delay in (0, 200):
        breakdown.main([*TINY, "--slow-data", str(delay), "--output", str(tmp_path)])
        found[delay] = json.loads((tmp_path / "step_breakdown.json").read_text())["numbers"]["ms"]["training"]
    # a sleep is never shorter; and every part is found: Lightning still calls its actions what we take them for
    assert found[200]["data: fetching"][0] >= 200
    assert found[200]["data: fetching"][0] - found[0]["data: fetching"][0] > 100
    assert [part for part, values in found[0].items() if not values[0] > 0] == []
    assert "every batch delayed by 200 ms" in (tmp_path / "step_breakdown.md").read_text()
