"""Apply a later command's overrides to a run's recorded config: change values, choose groups anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from streetlab.config.command_line import CommandLine
from streetlab.config.composition import Composer, composer
from streetlab.config.nearest import nearest_in
from streetlab.config.quoting import escape_interpolations
from streetlab.config.translation import translate
from streetlab.errors import UserError
from streetlab.hydra_compat import apply_overrides

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

ROOT = "train"
"""The root that recorded configs were composed from."""


@dataclass(frozen=True)
class RecordedConfig:
    """A recorded config after the overrides.

    Attributes:
        config: typed like the root's; interpolations of newly chosen groups lead into the recorded values.
        keys: what the words change, dotted, in their order.
        choices: the groups chosen anew.
    """

    config: DictConfig
    keys: tuple[str, ...]
    choices: dict[str, str]


def recorded_config(
    recorded: Mapping[str, Any], words: Sequence[str], command_keys: Iterable[str] = ()
) -> RecordedConfig:
    """Apply overrides to a run's config as `streetlab train` would have applied them.

    A choice (`dataset=camvid`) replaces that node by what the group's file composes to, and no other node,
    whatever the file brings along for a new training. Values (`key=`, `+key=`, `~key`) are applied after all
    choices. Keys that came after the run was recorded have their default.

    Args:
        recorded: config.yaml, fully resolved.
        words: overrides with their paths quoted, see `config.quoting`.
        command_keys: what else can be typed there, to be suggested for a typo.

    Raises:
        UserError: a word that cannot be read, no such key or choice, a value of the wrong type, a choice that is
            not of one node; or the config is of another version of streetlab.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        with composer() as compose:
            overrides = OverridesParser.create().parse_overrides(list(words))
            groups = compose.groups()
            for override in overrides:
                _check(override, override.key_or_group in groups, recorded)
            chosen = [override for override in overrides if override.key_or_group in groups]
            config = _with_choices(compose, recorded, chosen)
            values = [override for override in overrides if override.key_or_group not in groups]
            _apply(values, config, [*groups, *command_keys])
    except Exception as error:
        known = translate(error, ROOT, CommandLine([], list(words)))
        if known is None:
            raise
        raise known from error
    keys = tuple(override.key_or_group for override in overrides)
    return RecordedConfig(config, keys, {o.key_or_group: str(o.value()) for o in chosen if not o.is_delete()})


def _check(override: Override, is_choice: bool, recorded: Mapping[str, Any]) -> None:
    """Refuse overrides that have a meaning only when a config is composed from its beginning."""
    word, key = override.input_line, override.key_or_group
    if override.is_sweep_override():
        raise UserError(f"{word} names several values; one run has one config")
    if is_choice and (override.package is not None or key not in recorded):
        parts = ", ".join(name for name, node in recorded.items() if isinstance(node, Mapping))
        raise UserError(
            f"{word}: only a choice of one part ({parts}) can be made in a recorded config; "
            "give the keys that it would set"
        )


def _with_choices(compose: Composer, recorded: Mapping[str, Any], chosen: Sequence[Override]) -> DictConfig:
    """The recorded config, typed, with the nodes of the chosen groups as their files have them."""
    config = compose.compose(ROOT, [str(override.input_line) for override in chosen])
    anew = {override.key_or_group for override in chosen}
    for key, value in recorded.items():
        if key not in config:
            raise UserError(f"config.yaml: no key '{key}' in this version of streetlab; another one recorded the run")
        if key not in anew:
            config[key] = _literal(value)
    return config


def _apply(values: Sequence[Override], config: DictConfig, further: Sequence[str]) -> None:
    for override in values:
        if not override.is_add() and not override.is_force_add():
            tree: Any = OmegaConf.to_container(config, resolve=False)
            if not _has(tree, override.key_or_group):
                word = "" if override.is_delete() else str(override.input_line)
                raise UserError(f"no key {nearest_in(tree, override.key_or_group, further, word)}")
        # Hydra's own, so that a word means here what it means to the command that made the config
        apply_overrides([override], config)


def _has(node: object, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True


def _literal(value: object) -> Any:
    """A resolved value such that OmegaConf reads no interpolation into it: a folder may be called `${x}`."""
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    if isinstance(value, str):
        return escape_interpolations(value)
    return value
