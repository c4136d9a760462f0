"""Count the processes that a job trains in and check that a sweep's launcher can start as many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from streetlab.config.sweeps import SweepPlan
from streetlab.errors import UserError
from streetlab.process_rank import process_rank

_PRESETS = ("experiment", "debug", "trainer")
"""Groups whose choices may set the trainer."""


def processes_of(trainer: Mapping[str, Any]) -> tuple[int, int | None]:
    """Count the machines, and the processes on each of them, that a trainer's config asks for.

    Returns:
        both; None for the processes where the hardware decides.

    Raises:
        UserError: one of the two keys holds no number.
    """
    devices, nodes = trainer.get("devices", 1), trainer.get("num_nodes", 1)
    if not _is_whole(nodes) or nodes < 1:
        raise UserError(f"trainer.num_nodes: {nodes} is not a whole number of 1 or more")
    if not _is_whole(devices) and (not isinstance(devices, str | Sequence) or not all(map(_names_device, devices))):
        raise UserError(f"trainer.devices: {devices} is not a number of devices, a list of their numbers, -1 or auto")
    if isinstance(devices, str):
        if devices in ("auto", "-1"):
            devices = -1
        else:
            devices = int(devices) if devices.isdigit() else [name for name in devices.split(",") if name.strip()]
    if not isinstance(devices, int):
        devices = len(devices)
    if devices < 0 and trainer.get("accelerator") == "cpu":
        devices = 1
    return nodes, devices if devices > 0 else None


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _names_device(value: object) -> bool:
    return isinstance(value, str) or _is_whole(value)


def check_processes(plan: SweepPlan, first: DictConfig) -> None:
    """Refuse a sweep whose jobs would start processes by repeating the sweep, before any job trains.

    Args:
        plan: the sweep.
        first: the config of its first job.

    Raises:
        UserError: a job trains in several processes, and the launcher starts another number.
    """
    here = process_rank()
    if here.launcher in ("torchrun", "srun") and here.world_size > 1:
        raise UserError(
            f"-m under {here.launcher}: its {here.world_size} processes would wait for each other forever once a job "
            f"fails in one of them; a shell loop of single runs, or hydra/launcher=workers without {here.launcher}"
        )
    launcher = plan.config.hydra.launcher
    for swept, config in _trainers(plan, first):
        nodes, each = processes_of(config.trainer)
        if nodes == each == 1:
            continue
        asked = f"trainer.devices={config.trainer.devices} trainer.num_nodes={nodes}"
        asked = f"{swept}, which has {asked}" if swept else asked
        if "submitit" not in launcher._target_:
            raise UserError(
                f"-m with several processes for each job ({asked}): Lightning starts them by repeating the command "
                "line, the sweep included; hydra/launcher=workers with trainer.devices=1 runs a job on each device, "
                f"hydra/launcher=slurm with hydra.launcher.tasks_per_node={each or 'N'} a task on each, and a shell "
                "loop single runs"
            )
        if launcher.nodes != nodes or launcher.tasks_per_node != (each or max(launcher.tasks_per_node, 2)):
            raise UserError(
                f"each process is a task of its own under submitit: {asked} needs hydra.launcher.nodes={nodes} "
                f"hydra.launcher.tasks_per_node={each or 'N'}, found {launcher.nodes} and {launcher.tasks_per_node}"
            )


def _trainers(plan: SweepPlan, first: DictConfig) -> Iterator[tuple[str, DictConfig]]:
    """The first job, and one for each other value of a swept key that may change the trainer; what was swept."""
    yield "", first
    chosen = {key: values[0] for key, values in plan.swept.items() if values}
    loader = GlobalHydra.instance().config_loader()
    for key, values in plan.swept.items():
        if key not in _PRESETS and not key.startswith("trainer."):
            continue
        for value in (values or [])[1:]:
            words = [f"{name}={text}" for name, text in (chosen | {key: value}).items()]
            yield "" if "." in key else f"{key}={value}", loader.load_sweep_config(plan.config, [*plan.fixed, *words])
