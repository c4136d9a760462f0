"""Prune hopeless trials of a search: report from a job's own process to the search's database, and ask its pruner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from streetlab.config import instantiate
from streetlab.errors import UserError

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

PRUNED = "pruned"
"""State of a pruned trial's record, and what its job returns in place of an objective."""


class TrialPruned(Exception):  # noqa: N818  (a decision, not a fault)
    """Ends the training of a trial that its search gives up."""


def build_pruner(node: object) -> BasePruner:
    """Build the pruner of a search; `NopPruner` for null.

    Args:
        node: a mapping with `_target_`, one of `optuna.pruners`.

    Raises:
        UserError: the node is no such mapping, or its target is no pruner.
    """
    from optuna.pruners import BasePruner, NopPruner

    if node is None:
        return NopPruner()
    example = "{_target_: optuna.pruners.MedianPruner, n_warmup_steps: 2}"
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise UserError(f"hydra.sweeper.pruner: '{node}' is no mapping with a `_target_`, such as {example}")
    pruner = instantiate(node)
    if not isinstance(pruner, BasePruner):
        raise UserError(f"hydra.sweeper.pruner: {node['_target_']} is none of optuna.pruners, such as {example}")
    return pruner


def may_be_pruned() -> bool:
    """Tell whether the running job is a trial of a search that has a pruner."""
    if not HydraConfig.initialized():
        return False
    hydra = HydraConfig.get()
    return hydra.mode == RunMode.MULTIRUN and hydra.sweeper.get("pruner") is not None


class RunningTrial:
    """The trial that the running job is; `may_be_pruned` tells whether it is one.

    Raises:
        UserError: the database cannot be opened.
    """

    def __init__(self) -> None:
        import optuna

        from streetlab.sweeps.storage import storage_at

        hydra = HydraConfig.get()
        with storage_at(Path(hydra.sweep.dir), hydra.sweeper.storage) as (url, _):
            self._storage = optuna.storages.get_storage(url)
            study = optuna.load_study(
                study_name=hydra.sweeper.study_name,
                storage=self._storage,
                sampler=optuna.samplers.RandomSampler(),  # nothing is drawn here
                pruner=build_pruner(hydra.sweeper.pruner),
            )
            study_id = self._storage.get_study_id_from_name(study.study_name)
            # the search launches each trial as the job of its number
            self._id = self._storage.get_trial_id_from_study_id_trial_number(study_id, hydra.job.num)
            self._trial = optuna.trial.Trial(study, self._id)

    def report(self, step: int, value: float) -> None:
        """Report a value; one that was reported before, by a job that was queued again, stands."""
        if step not in self._storage.get_trial(self._id).intermediate_values:
            self._trial.report(value, step)

    def should_prune(self) -> bool:
        """Ask the pruner about the last step that was reported."""
        return self._trial.should_prune()
