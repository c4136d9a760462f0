"""Plan a multirun: its swept keys and its jobs; the error for a glob without a match."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from streetlab.errors import UserError
from streetlab.hydra_compat import is_glob


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


def defer_values(overrides: Sequence[str]) -> list[str]:
    """The overrides of a sweep over choices, with fixed values left for the jobs to apply.

    Hydra composes the sweep's own config without the swept choices, so that
    `-m experiment=a,b dataset.root=X` fails where the default data set has no root; a preset of `sweep` may hold
    such choices. A choice() of one value
    is part of the sweep, and `plan_sweep` reads it as the fixed value that it is.
    """
    parser = OverridesParser.create()
    try:
        parsed = parser.parse_overrides(list(overrides))
    except HydraException:
        return list(overrides)  # Hydra meets the same error
    choices = any(
        override.key_or_group == "sweep" or (override.is_sweep_override() and "." not in override.key_or_group)
        for override in parsed
    )
    return [
        f"{override.key_or_group}=choice({word.partition('=')[2]})" if choices and _can_wait(override) else word
        for word, override in zip(overrides, parsed, strict=True)
    ]


def _can_wait(override: Override) -> bool:
    change = not (override.is_add() or override.is_force_add() or override.is_delete())
    value = change and not override.is_sweep_override() and not override.is_hydra_override()
    return value and "." in override.key_or_group and override.get_value_string() != ""


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
        values = _values(override) if override.is_discrete_sweep() else None
        if not override.is_sweep_override():
            fixed[key] = line
        elif values is not None and len(values) == 1 and override.value_type is ValueType.CHOICE_SWEEP:
            fixed[key] = f"{key}={values[0]}"
        else:
            swept[key] = values
    return SweepPlan(config, swept, list(fixed.values()))


def _values(override: Override) -> list[str]:
    values = list(override.sweep_string_iterator())
    if values or not is_glob(override):
        return values
    choices = _loader().get_group_options(override.key_or_group)
    known = f"the choices are {', '.join(choices)}" if choices else f"there is no group '{override.key_or_group}'"
    raise UserError(f"{override.input_line} matches nothing; {known}")


def _loader() -> ConfigLoader:
    return GlobalHydra.instance().config_loader()
