"""Search with Optuna: every trial is a job with a run record in the sweep's folder, beside the trials' database."""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from optuna.trial import FrozenTrial, Trial, TrialState

from streetlab.config import instantiate, plain
from streetlab.config.options import PositiveInt, checked
from streetlab.config.run_names import identity_hash, sweep_name
from streetlab.config.sweeps import SweepPlan, plan_sweep
from streetlab.config.values import without_hydra
from streetlab.errors import UserError
from streetlab.io import files
from streetlab.records.lock import sole_writer
from streetlab.records.process_status import is_running
from streetlab.records.record import find_runs
from streetlab.sweeps.outcome import JobCutShort
from streetlab.sweeps.pruning import PRUNED, build_pruner
from streetlab.sweeps.space import Parameter, read_parameter, words
from streetlab.sweeps.storage import open_study, storage_at

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_PROCESS = "process"
"""The study's attribute that says who searches: another call must not take its running trials for killed ones."""


@dataclass(frozen=True)
class Objective:
    """Objective of a search: a metric of the best epoch on val, by its name in the task."""

    metric: str
    mode: str

    def __str__(self) -> str:
        return f"{self.mode} of val {self.metric}"


class Search(Sweeper):
    """Draws the swept keys' values with Optuna until `n_trials` trials of the study are finished.

    Failed trials are finished ones; those that a killed process left running go on, with their records. Given what
    has been drawn, what is drawn next follows from the sampler's seed and the trial's number.

    Args:
        n_trials: finished trials in all, those of earlier calls included.
        n_jobs: trials that are drawn at once and given to the launcher together.
        sampler: a node for one of `optuna.samplers`; its `seed` and a trial's number make that trial's seed.
        pruner: a node for one of `optuna.pruners`, which ends hopeless trials; None lets all train to their end.
        storage: URL of the database; None for `optuna.db` in the sweep's folder.
        study_name: the study within the database.
        params: swept and fixed overrides beside those of the command line.

    Raises:
        UserError: the search, a job's config or the database is faulty; before any trial is drawn.
    """

    def __init__(
        self,
        n_trials: int,
        n_jobs: int,
        sampler: Mapping[str, Any],
        pruner: Mapping[str, Any] | None,
        storage: str | None,
        study_name: str,
        params: Mapping[str, Any],
    ) -> None:
        for name, number in {"n_trials": n_trials, "n_jobs": n_jobs}.items():
            checked(PositiveInt, number, f"hydra.sweeper.{name}")
        self.n_trials = n_trials
        self.n_jobs = n_jobs
        self.storage = storage
        self.study_name = study_name
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store the objects that Hydra hands over before `sweep`."""
        self.sweep_config: DictConfig = config
        self.sampler = config.hydra.sweeper.sampler  # with its full name, for messages
        self.pruner = config.hydra.sweeper.pruner
        self.loader = hydra_context.config_loader
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials that are left; `arguments` are the command line's, which the config holds as well."""
        folder = Path(self.sweep_config.hydra.sweep.dir)
        plan = plan_sweep(self.sweep_config)
        space = self._space(plan, arguments)
        first = plan.first_config()
        objective = Objective(first.task.objective.metric, first.task.objective.mode)
        if objective.mode not in ("min", "max"):
            raise UserError(f"task.objective.mode: min or max is expected, found '{objective.mode}'")
        self._check_jobs(plan, space)
        self._sampler(0)  # a fault in its node is said now
        pruner = build_pruner(self.pruner)
        identity = {"objective": str(objective)} | {key: str(parameter) for key, parameter in space.items()}
        identity["settings"] = sweep_name(plan.swept, plan.fixed, first)
        _refuse_stale(folder, plain(without_hydra(first)))
        with storage_at(folder, self.storage) as (url, name):
            study = open_study(url, name, self.study_name, objective.mode == "max", identity)
            study.pruner = pruner  # which some samplers look at
            process = _searcher(study)
            if process is not None and self.storage is not None:  # from another folder perhaps
                raise UserError(f"{name}: process {process} is searching; wait for it or give output=DIR")
            with sole_writer(folder, process):
                study.set_user_attr(_PROCESS, [socket.gethostname(), os.getpid()])
                killed = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
                self._announce(study, name, killed)
                for trials in self._batches(study, space, killed):
                    batch = [[*plan.fixed, *words(trial.params)] for trial in trials]
                    returned = self.launcher.launch(batch, initial_job_idx=trials[0].number)
                    for trial, job in zip(trials, returned, strict=True):
                        if isinstance(job._return_value, JobCutShort):  # the trial goes on when there is room again
                            raise job._return_value
                        _tell(study, trial, job)
                        print(_line(study, trial.number, objective), flush=True)
                    _write_best(study, folder)

    def _space(self, plan: SweepPlan, arguments: Iterable[str]) -> dict[str, Parameter]:
        """The parameter of each swept key."""
        lines = [*words(self.params), *arguments]  # the last word on a key counts, as it does in the plan
        parser = OverridesParser.create(config_loader=self.loader)
        last = {override.get_key_element(): override for override in parser.parse_overrides(lines)}
        space = {key: read_parameter(last[key]) for key in plan.swept}
        if not space:
            raise UserError("nothing is searched: sweep a key, as in 'optimizer.lr=tag(log,interval(1e-5,1e-2))'")
        return space

    def _check_jobs(self, plan: SweepPlan, space: Mapping[str, Parameter]) -> None:
        """Compose a job with each choice, so that a missing key or choice is no failed trial."""
        some = {key: parameter.examples[0] for key, parameter in space.items()}
        others = [{key: value} for key, parameter in space.items() for value in parameter.examples[1:]]
        for changed in ({}, *others):
            self.loader.load_sweep_config(self.sweep_config, [*plan.fixed, *words(some | changed)])

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler of one trial: with one seed for all, a search that goes on would begin with the same draws."""
        if self.sampler.get("seed") is None:
            return instantiate(self.sampler)
        (seed,) = np.random.SeedSequence([self.sampler["seed"], number]).generate_state(1)
        return instantiate(self.sampler, seed=int(seed))

    def _batches(
        self, study: optuna.Study, space: Mapping[str, Parameter], killed: Sequence[FrozenTrial]
    ) -> Iterator[list[Trial]]:
        """Draw what the launcher gets at once, the trials that go on first, as long as finished ones are missing."""
        while (left := self.n_trials - len(_finished(study))) > 0:
            size = min(left, self.n_jobs)
            taken = _successive(killed[:size])
            killed = killed[len(taken) :]
            yield [self._draw(study, space, trial) for trial in taken or repeat(None, size)]

    def _draw(self, study: optuna.Study, space: Mapping[str, Parameter], killed: FrozenTrial | None = None) -> Trial:
        """A trial with all its values drawn: a new one, or one that goes on with those it has."""
        study.sampler = self._sampler(len(study.trials) if killed is None else killed.number)
        trial = study.ask() if killed is None else Trial(study, killed._trial_id)
        for key, parameter in space.items():
            parameter.draw(key, trial)
        return trial

    def _announce(self, study: optuna.Study, name: str, killed: Iterable[FrozenTrial]) -> None:
        finished = len(_finished(study))
        left = self.n_trials - finished
        more = "" if left > 0 else f" (hydra.sweeper.n_trials={finished + 1} runs one more)"
        print(f"{name}: {finished} of {self.n_trials} trials are finished{more}", flush=True)
        for trial in killed:
            print(f"trial {trial.number} was cut short and goes on", flush=True)


def _successive(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The first of the trials, as far as their numbers follow one another: those that a launcher takes together."""
    return [trial for place, trial in enumerate(trials) if trial.number == trials[0].number + place]


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=_FINISHED)


def _refuse_stale(folder: Path, now: Mapping[str, Any]) -> None:
    """Raise a UserError where a trial's photos or weights have changed since.

    Args:
        now: a config of the search, plain Python; its data may have moved since.
    """
    from streetlab.datasets.source import DataSource
    from streetlab.records.identity import identify

    sources: dict[str, DataSource] = {}
    for record in find_runs(folder) if folder.is_dir() else []:
        if record.known_status.get("state") != "completed":
            continue
        config = record.config
        if identity_hash({"dataset": config["dataset"]}, {}) == identity_hash({"dataset": now["dataset"]}, {}):
            config["dataset"] = now["dataset"]
        node = json.dumps(config["dataset"], sort_keys=True)
        if node not in sources:
            sources[node] = instantiate(config["dataset"])
        difference = identify(config, sources[node]).difference(record)
        if difference:
            raise UserError(
                f"{record.path} is a trial of other photos or weights: {difference}; a search goes on with the same "
                "ones only: give this one another folder with output=DIR"
            )


def _searcher(study: optuna.Study) -> int | None:
    """The other process of this machine that searches, if trials of its are running."""
    host, process = study.user_attrs.get(_PROCESS, (None, None))
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return process if running and process != os.getpid() and is_running(host, process) else None


def _tell(study: optuna.Study, trial: Trial, job: JobReturn) -> None:
    """Close the trial with what its job returned; without a number it has failed, unless it was pruned."""
    value = job.return_value if job.status == JobStatus.COMPLETED else None
    if value == PRUNED:
        study.tell(trial, state=TrialState.PRUNED)
    elif isinstance(value, int | float) and math.isfinite(value):
        study.tell(trial, float(value))
    else:
        study.tell(trial, state=TrialState.FAIL)


def _line(study: optuna.Study, number: int, objective: Objective) -> str:
    """Line about one trial: drawn values, result, the best trial so far."""
    trial = study.trials[number]
    drawn = " ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
    value = "failed" if trial.value is None else f"{objective.metric} {trial.value:.4f}"
    if trial.state == TrialState.PRUNED:
        value = f"pruned after epoch {(trial.last_step or 0) + 1}, {value}"
    best = _best(study)
    so_far = "" if best is None else f" (best {best.value:.4f}, trial {best.number})"
    return f"trial {number}: {drawn}: {value}{so_far}"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _best(study: optuna.Study) -> FrozenTrial | None:
    return study.best_trial if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) else None


def _write_best(study: optuna.Study, folder: Path) -> None:
    """Write optimization_results.yaml, in the words of Hydra's own Optuna sweeper; none before a trial succeeds."""
    best = _best(study)
    if best is not None:
        results = {"name": "optuna", "best_params": best.params, "best_value": best.value, "best_trial": best.number}
        files.write_text(folder / "optimization_results.yaml", yaml.safe_dump(results, sort_keys=False))
