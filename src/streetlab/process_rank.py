"""Read this process's rank among the processes of a job from the environment that started it."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessRank:
    """This process among those that were started together.

    Attributes:
        rank: counted from 0 over all machines; 0 writes the record.
        world_size: how many there are.
        launcher: `torchrun`, `submitit` or `srun`, which start all of them at once; `lightning`, which starts the
            others from the first; empty for a process of its own.
        job: the cluster's name for the job, which stays when it is put in the queue again; empty without a cluster.
    """

    rank: int = 0
    world_size: int = 1
    launcher: str = ""
    job: str = ""


def process_rank() -> ProcessRank:
    """Read this process's rank from the variables that each launcher documents."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return ProcessRank(_number("RANK", 0), _number("WORLD_SIZE", 1), "torchrun")
    executor = os.environ.get("SUBMITIT_EXECUTOR")
    if executor == "local":
        job = os.environ.get("SUBMITIT_LOCAL_JOB_ID", "")
        return ProcessRank(_number("SUBMITIT_LOCAL_GLOBALID", 0), _number("SUBMITIT_LOCAL_NTASKS", 1), "submitit", job)
    if executor == "slurm":
        return ProcessRank(_number("SLURM_PROCID", 0), _number("SLURM_NTASKS", 1), "submitit", _slurm_job())
    if _number("SLURM_STEP_NUM_TASKS", 1) > 1:
        return ProcessRank(_number("SLURM_PROCID", 0), _number("SLURM_STEP_NUM_TASKS", 1), "srun", _slurm_job())
    if "LOCAL_RANK" in os.environ:
        return ProcessRank(_number("LOCAL_RANK", 0), _number("WORLD_SIZE", 1), "lightning")
    return ProcessRank()


def repeats_faults() -> bool:
    """True where a process of this machine, started at once with this one, finds the same faults in words and files.

    Processes that Lightning starts are not meant: the first has passed its checks by then.
    """
    launcher = process_rank().launcher
    if launcher == "torchrun":
        return _number("LOCAL_RANK", 0) > 0
    if launcher in ("submitit", "srun"):
        return _number("SUBMITIT_LOCAL_GLOBALID", _number("SLURM_LOCALID", 0)) > 0
    return False


def _slurm_job() -> str:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ.get("SLURM_JOB_ID", "")


def _number(name: str, otherwise: int) -> int:
    return int(os.environ.get(name, otherwise))
