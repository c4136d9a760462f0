"""Stock parts of the ecosystem, each through a real run from a YAML in a user's folder given with `--config-dir`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.support.killed_runs import assert_same_bits, run_killed

from streetlab.records.record import RunRecord

MODULE = """
import pytorch_lightning as pl

class Counts(pl.Callback):
    def __init__(self, file):
        self.file = file
    def on_train_end(self, trainer, pl_module):
        with open(self.file, "a") as file:
            file.write(f"{trainer.current_epoch}\\n")
"""
CHOICES = {
    "logger/lightnings_csv": """
        csv:
          _target_: pytorch_lightning.loggers.CSVLogger
          save_dir: ${hydra:runtime.output_dir}
          name: csv
          version: ""
    """,
    "logger/mlflow": """
        mlflow:
          _target_: pytorch_lightning.loggers.MLFlowLogger
          experiment_name: streets
          tracking_uri: file:${hydra:runtime.output_dir}/mlruns
    """,
    "callbacks/patient": """
        early_stopping:
          _target_: pytorch_lightning.callbacks.EarlyStopping
          monitor: val/loss
          min_delta: 100.0  # no epoch is that much better than the first
          patience: 2
    """,
    "scheduler/annealing": """
        _target_: torch.optim.lr_scheduler.CosineAnnealingLR
        _partial_: true
    """,
    "scheduler/warm": """
        _target_: torch.optim.lr_scheduler.SequentialLR
        _partial_: true
        milestones: [1]
        schedulers:
          - {_target_: torch.optim.lr_scheduler.LinearLR, _partial_: true, total_iters: 1}
          - {_target_: torch.optim.lr_scheduler.CosineAnnealingLR, _partial_: true}
    """,
    "scheduler/timm_cosine": """
        _target_: timm.scheduler.CosineLRScheduler
        _partial_: true
        warmup_t: 1
        warmup_lr_init: 1e-4
    """,
    "scheduler/no_step_size": """
        _target_: torch.optim.lr_scheduler.StepLR
        _partial_: true
    """,
    "callbacks/counts": "counts:\n  _target_: stock_street_parts.Counts\n  file: ???",
}
TWO_PHASES = (
    "regime=frozen_then_unfrozen",
    "regime.phases=[{name: probe, epochs: 5, train: [head], scheduler: none},"
    "{name: tune, epochs: 4, train: [layer4, head], lr_scale: 0.1, start_from: best}]",
)
Train = Callable[..., RunRecord]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("stock")
    (folder / "stock_street_parts.py").write_text(MODULE)
    for name, text in CHOICES.items():
        file = folder / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text + "\n")
    yield folder
    sys.modules.pop("stock_street_parts", None)


@pytest.fixture
def train_with(train: Train, folder: Path) -> Train:
    def run(*words: str, output: str = "run", code: int = 0) -> RunRecord:
        return train("--config-dir", str(folder), *words, output=output, code=code)

    return run


def phases(record: RunRecord) -> list[tuple[str, int]]:
    """Name of each phase and how many epochs it had, by the rows of metrics.csv."""
    names = [str(row["phase"]) for row in record.history()]
    return [(name, names.count(name)) for name in dict.fromkeys(names)]


def test_a_stock_logger_gets_every_epoch_of_every_phase(train_with):
    record = train_with(*TWO_PHASES, "regime.max_epochs=2", "logger=lightnings_csv")
    with (record.path / "csv" / "metrics.csv").open() as file:
        logged = [row["val/macro_f1"] for row in csv.DictReader(file) if row["val/macro_f1"]]
    assert [float(value) for value in logged[:4]] == [row["val/macro_f1"] for row in record.history()]


def test_mlflow_without_a_server_gets_every_epoch_of_every_phase(train_with, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # later versions ask for a database without it
    record = train_with(*TWO_PHASES, "regime.max_epochs=2", "logger=mlflow")
    client = mlflow.MlflowClient(f"file:{record.path}/mlruns")
    experiment = client.get_experiment_by_name("streets")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    logged = [metric.value for metric in client.get_metric_history(run.info.run_id, "val/macro_f1")]
    assert logged[:4] == pytest.approx([row["val/macro_f1"] for row in record.history()])


@pytest.mark.skipif(find_spec("mlflow") is not None, reason="MLflow is installed")
def test_a_logger_without_its_package_is_one_line(train_with, capsys):
    train_with("logger=mlflow", code=2)
    line = "logger.mlflow: a package is missing for pytorch_lightning.loggers.MLFlowLogger"
    assert line in capsys.readouterr().err


def test_early_stopping_ends_the_phase_and_begins_anew_in_the_next(train_with):
    record = train_with(*TWO_PHASES, "callbacks=patient")
    assert phases(record) == [("probe", 3), ("tune", 3)]
    assert record.metrics["phases"] == [
        {"name": "probe", "first_epoch": 1, "epochs": 3},
        {"name": "tune", "first_epoch": 4, "epochs": 3},
    ]
    log = (record.path / "train.log").read_text()
    assert "phase probe: stopped after 3 of 5 epochs" in log
    assert "phase tune: stopped after 3 of 4 epochs" in log


@pytest.mark.parametrize("epoch", [3, 4, 6], ids=["last-before-the-stop", "first-after-the-stop", "second-phase"])
def test_a_killed_run_stops_early_in_the_same_epochs(train_with, monkeypatch, epoch):
    words = (*TWO_PHASES, "callbacks=patient", "model.dropout=0.5")
    whole = train_with(*words, output="whole")
    run_killed(train_with, monkeypatch, epoch, 0, *words)
    record = train_with(*words, output="killed")
    assert phases(record) == [("probe", 3), ("tune", 3)]
    assert record.metrics["phases"] == whole.metrics["phases"]
    assert_same_bits(whole, record)


def test_a_phase_that_was_stopped_goes_on_when_more_epochs_are_asked_for(train_with, monkeypatch):
    words = (*TWO_PHASES, "callbacks=patient")
    run_killed(train_with, monkeypatch, 4, 0, *words)
    last = Path("killed/checkpoints/last.ckpt").absolute()
    longer = [word.replace("epochs: 5", "epochs: 6") for word in words]
    record = train_with(*longer, f"resume={last}", output="longer")
    assert phases(record) == [("probe", 4), ("tune", 3)]


def test_a_callback_of_the_users_own_runs_in_every_phase(train_with, tmp_path):
    train_with(*TWO_PHASES, "regime.max_epochs=1", "callbacks=counts", f"callbacks.counts.file={tmp_path / 'ends'}")
    assert (tmp_path / "ends").read_text().split() == ["1", "2"]


@pytest.mark.parametrize("scheduler", ["warm", "timm_cosine"])
def test_a_stock_scheduler_runs_in_its_phase_and_goes_on_after_a_kill(train_with, monkeypatch, scheduler):
    phases = (
        "{name: probe, epochs: 2, train: [head], scheduler: annealing}, {name: tune, epochs: 3, train: [layer4, head]}"
    )
    words = ("regime=frozen_then_unfrozen", f"regime.phases=[{phases}]", f"scheduler={scheduler}")
    whole = train_with(*words, output="whole")
    lr = [row["lr"] for row in whole.history()]
    assert lr[:2] == pytest.approx([0.01, 0.005])
    warm = {"warm": [0.01 / 3, 0.01, 0.0075], "timm_cosine": [1e-4, 0.0075, 0.0025]}
    assert lr[2:] == pytest.approx(warm[scheduler])
    run_killed(train_with, monkeypatch, 4, 0, *words)
    assert_same_bits(whole, train_with(*words, output="killed"))


def test_a_scheduler_without_what_it_needs_is_one_line(train_with, capsys):
    train_with("scheduler=no_step_size", code=2)
    assert "scheduler.step_size: missing; StepLR needs it (it takes optimizer, step_size, " in capsys.readouterr().err
