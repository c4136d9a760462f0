"""What a search goes by is what the run records say."""

from __future__ import annotations

from pathlib import Path

import optuna
from tests.support.tiny_runs import TINY

from streetlab import cli
from streetlab.records.record import find_runs


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
