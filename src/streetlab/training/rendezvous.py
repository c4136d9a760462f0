"""Rendezvous of the processes that train one run: the first decides on record and checkpoint for all.

The others train along and write nothing. Those that Lightning starts learn the decision from a variable of the
environment, which they inherit; those that torchrun, submitit or srun start together with the first read it from
the key-value store of torch.distributed, which is there before any process group.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist
from lightning_fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment

from streetlab.config.process_count import processes_of
from streetlab.errors import UserError
from streetlab.process_rank import process_rank
from streetlab.records.record import RunRecord

_FOLLOW = "STREETLAB_FOLLOW"
_PATIENCE = timedelta(minutes=10)
"""For processes of other machines to start."""

Decision = tuple[RunRecord, Path | None]
"""The record to write to and the checkpoint to go on from."""

_stores: list[dist.Store] = []
"""Kept open, so that the process group of the training meets at the same server on the same port."""


def is_first() -> bool:
    """Tell whether this process writes the record."""
    return process_rank().rank == 0


def environment() -> ClusterEnvironment | None:
    """The Lightning environment of processes started from outside; None lets Lightning start them."""
    launcher = process_rank().launcher
    if launcher == "torchrun":
        return TorchElasticEnvironment()
    if launcher == "submitit":
        from submitit import JobEnvironment
        from submitit.helpers import TorchDistributedEnvironment

        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        os.environ["GROUP_RANK"] = str(JobEnvironment().node)
        return TorchElasticEnvironment()
    if launcher == "srun":
        # Lightning's own requeueing would resume from a checkpoint within an epoch, which the record knows nothing of
        return SLURMEnvironment(auto_requeue=False)
    return None


def check_size(trainer: Mapping[str, Any]) -> None:
    """Raise a UserError where torchrun, submitit or srun has started other processes than the trainer asks for.

    Likewise in a notebook, which Lightning cannot start again as a further process.
    """
    here = process_rank()
    nodes, each = processes_of(trainer)
    if not here.launcher and each is not None and nodes * each > 1 and hasattr(sys, "ps1"):
        raise UserError(
            f"trainer.devices × trainer.num_nodes is {each} × {nodes}, but a notebook or prompt is one process: "
            "trainer.devices=1 trains here; `streetlab train` in a terminal trains with several"
        )
    if here.launcher in ("", "lightning") or each is None or nodes * each == here.world_size:
        return
    raise UserError(
        f"trainer.devices × trainer.num_nodes is {each} × {nodes}, but {here.launcher} has started {here.world_size} "
        f"process{'es' * (here.world_size > 1)}: one for each device is needed"
    )


def decide_once(decide: Callable[[], Decision]) -> Decision:
    """Return the first process's decision, in all processes.

    Raises:
        UserError: here the first process could not decide; there it is that process's own error.
    """
    here = process_rank()
    if here.launcher == "lightning" and here.rank > 0:
        return _decode(os.environ[_FOLLOW])
    if here.launcher in ("", "lightning") or here.world_size == 1:
        return decide()
    store = _meet(here.rank, here.world_size)
    readers = [f"streetlab/read/{rank}" for rank in range(1, here.world_size)]
    if here.rank > 0:
        told = store.get("streetlab/decision").decode()
        store.set(readers[here.rank - 1], "")
        if not told:
            raise UserError("the first process could not open the run's record, and says why")
        return _decode(told)
    try:
        decision = decide()
    except BaseException:
        with suppress(RuntimeError):
            store.set("streetlab/decision", "")
            store.wait(readers, timedelta(seconds=30))
        raise
    store.set("streetlab/decision", _encode(decision))
    store.wait(readers, _PATIENCE)  # this process may end at once, and with it the store
    return decision


@contextmanager
def followed(decision: Decision) -> Iterator[None]:
    """Let processes that Lightning starts meanwhile follow this decision."""
    os.environ[_FOLLOW] = _encode(decision)
    try:
        yield
    finally:
        del os.environ[_FOLLOW]


def _meet(rank: int, world_size: int) -> dist.Store:
    """The store of the processes that were started together, which a launch has for itself."""
    cluster = environment()
    assert cluster is not None
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = cluster.main_address, str(cluster.main_port)
    store, _, _ = next(dist.rendezvous("env://", rank, world_size, timeout=_PATIENCE))
    _stores.append(store)
    return store


def _encode(decision: Decision) -> str:
    record, checkpoint = decision
    return json.dumps([str(record.path.resolve()), checkpoint and str(checkpoint.resolve())])


def _decode(text: str) -> Decision:
    record, checkpoint = json.loads(text)
    return RunRecord(record), checkpoint and Path(checkpoint)
