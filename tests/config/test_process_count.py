"""A sweep whose jobs could not start their processes is refused before the first of them, with the way that works."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from streetlab import cli
from streetlab.config.process_count import processes_of
from streetlab.errors import UserError

REPEATED = "Lightning starts them by repeating the command line, the sweep included; hydra/launcher=workers"


@pytest.fixture
def jobs(monkeypatch, tmp_path):
    """The seeds of the jobs that would have trained."""
    seeds: list[int] = []
    module = ModuleType("stand_in")
    module.run = lambda cfg: seeds.append(cfg.seed)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stand_in", module)
    monkeypatch.setitem(cli.COMMANDS, "train", cli.Command("stand_in", "trains nothing"))
    monkeypatch.chdir(tmp_path)
    return seeds


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("seed=1,2 trainer=ddp_cpu", f"(trainer.devices=2 trainer.num_nodes=1): {REPEATED}"),
        ("trainer=cpu,ddp_cpu", f"(trainer=ddp_cpu, which has trainer.devices=2 trainer.num_nodes=1): {REPEATED}"),
        ("trainer=cpu trainer.devices=1,2 output=x", f"(trainer.devices=2 trainer.num_nodes=1): {REPEATED}"),
        ("seed=1,2 trainer=ddp hydra/launcher=workers", f"(trainer.devices=-1 trainer.num_nodes=1): {REPEATED}"),
        (
            "seed=1,2 trainer=ddp_cpu hydra/launcher=submitit_local",
            "needs hydra.launcher.nodes=1 hydra.launcher.tasks_per_node=2, found 1 and 1",
        ),
        (
            "seed=1,2 trainer=ddp trainer.devices=4 trainer.num_nodes=2 hydra/launcher=slurm hydra.launcher.nodes=2",
            "needs hydra.launcher.nodes=2 hydra.launcher.tasks_per_node=4, found 2 and 1",
        ),
        ("seed=1,2 hydra/launcher=slrm", "no hydra/launcher 'slrm'; did you mean 'slurm'?"),
    ],
)
def test_processes_that_the_launcher_does_not_start(jobs, capsys, words, said):
    assert cli.run(["train", "-m", *words.split()]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("streetlab: ")
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert not jobs


def test_a_sweep_of_runs_that_torchrun_started(jobs, monkeypatch, capsys):
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert cli.run(["train", "-m", "seed=1,2"]) == 2
    assert "-m under torchrun" in capsys.readouterr().err
    assert not jobs


def test_a_task_for_each_device_is_no_reason_to_refuse(jobs, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")  # no srun: the sweep stops where it would be submitted
    words = "seed=1,2 trainer=ddp trainer.devices=4 trainer.num_nodes=2 hydra/launcher=slurm hydra.launcher.nodes=2"
    assert cli.run(["train", "-m", *words.split(), "hydra.launcher.tasks_per_node=4"]) == 2
    assert "no srun here: hydra/launcher=slurm submits from a machine of the cluster" in capsys.readouterr().err


def test_single_runs_and_single_processes_pass(jobs):
    assert cli.run(["train", "trainer=ddp_cpu", "seed=7"]) == 0
    assert cli.run(["train", "-m", "trainer=cpu,gpu", "seed=8"]) == 0
    assert jobs == [7, 8, 8]


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        ({}, (1, 1)),
        ({"devices": 2, "num_nodes": 3}, (3, 2)),
        ({"devices": "4"}, (1, 4)),
        ({"devices": [1, 3]}, (1, 2)),
        ({"devices": "0,"}, (1, 1)),
        ({"devices": -1, "accelerator": "gpu"}, (1, None)),
        ({"devices": "auto"}, (1, None)),
        ({"devices": "auto", "accelerator": "cpu"}, (1, 1)),
    ],
)
def test_how_many_processes_a_trainer_asks_for(trainer, expected):
    assert processes_of(trainer) == expected


@pytest.mark.parametrize(
    ("trainer", "line"),
    [
        ({"num_nodes": {"a": 1}}, "trainer.num_nodes: {'a': 1} is not a whole number of 1 or more"),
        ({"num_nodes": 0}, "trainer.num_nodes: 0 is not a whole number of 1 or more"),
        ({"devices": None}, "trainer.devices: None is not a number of devices"),
        ({"devices": [0.5]}, r"trainer.devices: \[0.5\] is not a number of devices"),
    ],
)
def test_numbers_of_processes_that_are_none_are_one_line(trainer, line):
    with pytest.raises(UserError, match=line):
        processes_of(trainer)
