"""What a search goes by is what the run records say."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from tests.support.killed_runs import run_killed
from tests.support.tiny_runs import TINY

from streetlab import cli
from streetlab.records.record import find_runs


@pytest.mark.slow
def test_a_trial_has_its_records_objective_also_where_the_run_is_skipped(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [
        "train",
        "-m",
        "sweep=optuna",
        *TINY,
        "optimizer.weight_decay=0",
        "optimizer.lr=tag(log,interval(1e-4,0.1))",
    ]
    words += ["debug=limit", "image_size=[32,32]", f"dataset.root={photos}", f"dataset.cache_dir={tmp_path / 'cache'}"]
    words += ["output=found", "hydra.sweeper.n_trials=2"]

    def values():
        study = optuna.load_study(study_name="streetlab", storage="sqlite:///found/optuna.db")
        return sorted(trial.value for trial in study.trials)

    assert cli.run(words) == 0
    recorded = sorted(record.metrics["objective"]["best"] for record in find_runs("found"))
    assert len(recorded) == 2
    assert values() == recorded
    Path("found/optuna.db").unlink()
    assert cli.run(words) == 0
    assert capsys.readouterr().out.count("already completed, skipped") == 2
    assert values() == recorded


PRUNER = "{_target_: optuna.pruners.ThresholdPruner, lower: 0.5, n_warmup_steps: 1}"


@pytest.fixture
def search(photos, tmp_path, monkeypatch):
    """`search("key=value", ...)` searches among networks that learn and ones whose rate is too low for that."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> list[FrozenTrial]:
        line = ["train", "-m", "sweep=optuna", *TINY, "optimizer.weight_decay=0", "augment=none", "regime.epochs=4"]
        line += ["image_size=[32,32]", f"dataset.root={photos}", f"dataset.cache_dir={tmp_path / 'cache'}"]
        line += ["optimizer.lr=choice(0.01,1e-9)", "output=found", f"hydra.sweeper.pruner={PRUNER}", *words]
        assert cli.run(line) == 0
        return optuna.load_study(study_name="streetlab", storage="sqlite:///found/optuna.db").trials

    return run


@pytest.mark.slow
def test_a_hopeless_trial_is_pruned_its_record_says_so_and_it_counts(search, capsys):
    trials = search("hydra.sweeper.n_trials=2")
    out = capsys.readouterr().out
    rates = {trial.params["optimizer.lr"]: trial for trial in trials}
    hopeless, good = rates[1e-9], rates[0.01]
    assert (hopeless.state, good.state) == (TrialState.PRUNED, TrialState.COMPLETE)
    assert list(hopeless.intermediate_values) == [0, 1]
    assert list(good.intermediate_values) == [0, 1, 2, 3]
    records = {record.config["optimizer"]["lr"]: record for record in find_runs("found")}
    assert [row["val/macro_f1"] for row in records[0.01].history()] == list(good.intermediate_values.values())
    record = records[1e-9]
    assert record.state == "pruned"
    assert "given up by its search (hydra.sweeper.pruner) after epoch 2" in record.status["error"]
    assert len(record.history()) == 2
    assert f"lr=1e-09: pruned after epoch 2, macro_f1 {hopeless.value:.4f}" in out
    assert "1 pruned" in out
    assert len(search("hydra.sweeper.n_trials=2")) == 2
    assert "2 of 2 trials are finished" in capsys.readouterr().out


def test_a_killed_trial_that_goes_on_reports_the_epochs_from_before_too(search, monkeypatch):
    words = ("optimizer.lr=choice(0.01,0.011)", "regime.epochs=3")
    run_killed(lambda *words, output: search(*words), monkeypatch, 3, 0, *words, "hydra.sweeper.n_trials=1")
    (trial,) = search(*words, "hydra.sweeper.n_trials=1")
    assert (trial.state, list(trial.intermediate_values)) == (TrialState.COMPLETE, [0, 1, 2])
    (record,) = find_runs("found")
    assert [row["val/macro_f1"] for row in record.history()] == list(trial.intermediate_values.values())
