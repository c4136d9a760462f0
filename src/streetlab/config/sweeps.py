"""What a multirun is going to do: its swept keys and its jobs; the complaint about a glob without a match."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from streetlab.errors import UserError


@dataclass(frozen=True)
class SweepPlan:
    """The swept keys with the values of each (None where the sweeper draws them), and the fixed overrides."""

    config: DictConfig
    swept: dict[str, list[str] | None]
    fixed: list[str]

    @property
    def jobs(self) -> int | None:
        """The number of jobs; None where the sweeper decides it."""
        if any(values is None for values in self.swept.values()):
            return None
        return math.prod(len(values) for values in self.swept.values() if values is not None)

    def first_config(self) -> DictConfig:
        """The first job's config: the sweep's own lacks what the swept presets set, such as `study`."""
        first = [f"{key}={values[0]}" for key, values in self.swept.items() if values]
        return _loader().load_sweep_config(self.config, [*self.fixed, *first])

    def __str__(self) -> str:
        counted = [key if values is None else f"{len(values)} {key}" for key, values in self.swept.items()]
        number = "jobs" if self.jobs is None else f"{self.jobs} job{'s' * (self.jobs != 1)}"
        return f"{number}: {' × '.join(counted) or 'nothing is swept'}"


def plan_sweep(config: DictConfig) -> SweepPlan:
    """Read the plan off the sweep's config: `hydra.overrides.task` and `hydra.sweeper.params`.

    Raises:
        UserError: a glob() that matches no choice.
    """
    words = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    assert isinstance(words, list)
    params: Any = OmegaConf.select(config, "hydra.sweeper.params")
    words = [*(f"{key}={value}" for key, value in (params or {}).items()), *map(str, words)]
    swept: dict[str, list[str] | None] = {}
    fixed: dict[str, str] = {}
    for override in OverridesParser.create(config_loader=_loader()).parse_overrides(words):
        key, line = override.get_key_element(), override.input_line or ""
        swept.pop(key, None)
        fixed.pop(key, None)
        if not override.is_sweep_override():
            fixed[key] = line
        else:
            swept[key] = _values(override) if override.is_discrete_sweep() else None
    return SweepPlan(config, swept, list(fixed.values()))


def _values(override: Override) -> list[str]:
    values = list(override.sweep_string_iterator())
    if values or not isinstance(override._value, Glob):
        return values
    choices = _loader().get_group_options(override.key_or_group)
    known = (
        f"the choices are {', '.join(choices)}" if choices else f"there is no group '{override.key_or_group}'"
    )
    raise UserError(f"{override.input_line} matches nothing; {known}")


def _loader() -> ConfigLoader:
    return GlobalHydra.instance().config_loader()


class AnnounceJobs(Callback):
    """Prints the number of jobs before the first one starts."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        # Hydra turns an error here into a warning; the sweep folder's name meets the same error and stops.
        try:
            plan = plan_sweep(config)
        except UserError:
            return
        print(plan, flush=True)
