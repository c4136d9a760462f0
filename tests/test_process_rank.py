"""Every launcher's variables are read as it documents them: a wrong rank would have two processes write one record."""

from __future__ import annotations

import pytest

from streetlab.process_rank import ProcessRank, process_rank, repeats_faults

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
LOCAL = {"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_GLOBALID": "1", "SUBMITIT_LOCAL_NTASKS": "2"}
SLURM = {"SLURM_JOB_ID": "8", "SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "8"}
ARRAY = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ProcessRank()),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, ProcessRank(1, 2, "lightning")),
        (TORCHRUN, ProcessRank(3, 4, "torchrun")),
        (SLURM | TORCHRUN, ProcessRank(3, 4, "torchrun")),
        (LOCAL | {"SUBMITIT_LOCAL_JOB_ID": "12"}, ProcessRank(1, 2, "submitit", "12")),
        (SLURM | {"SUBMITIT_EXECUTOR": "slurm"}, ProcessRank(5, 8, "submitit", "8")),
        (SLURM | ARRAY | {"SUBMITIT_EXECUTOR": "slurm", "LOCAL_RANK": "1"}, ProcessRank(5, 8, "submitit", "7_2")),
        (SLURM, ProcessRank(5, 8, "srun", "8")),
        ({"SLURM_JOB_ID": "8", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, ProcessRank()),  # a batch script without srun
    ],
)
def test_the_place_of_a_process(monkeypatch, environment, expected):
    for name in (*TORCHRUN, *LOCAL, *SLURM, *ARRAY):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert process_rank() == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, False),  # the first has passed its checks before it starts others
        (TORCHRUN, True),
        (TORCHRUN | {"LOCAL_RANK": "0"}, False),
        (LOCAL, True),
        (SLURM | {"SLURM_LOCALID": "0"}, False),
        (SLURM | {"SLURM_LOCALID": "1"}, True),
    ],
)
def test_one_process_of_each_machine_says_what_all_of_it_find(monkeypatch, environment, expected):
    for name in (*TORCHRUN, *LOCAL, *SLURM, *ARRAY, "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert repeats_faults() == expected
