"""Sort the command-line arguments into Hydra's options and overrides, with paths quoted."""

from __future__ import annotations

import re
from argparse import Action
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from streetlab.config.composition import config_folder
from streetlab.config.quoting import quote, quote_paths
from streetlab.config.sweeps import defer_values
from streetlab.config.values import REFUSED
from streetlab.errors import UserError, did_you_mean
from streetlab.hydra_compat import command_line_options


@dataclass(frozen=True)
class CommandLine:
    """Options (`-m`, `--cfg job`) and overrides (`key=value`), each in the order given."""

    options: list[str]
    overrides: list[str]
    config_dir: str | None = None


def with_first_key(words: Sequence[str], key: str) -> list[str]:
    """Write the first word as a value of `key` where it is neither an option nor an override; without a key never."""
    if not key or not words or re.match(r"[-+]|~(?!/)|[A-Za-z_][\w.]*=", words[0]):
        return list(words)
    return [f"{key}={words[0]}", *words[1:]]


def arrange(words: Sequence[str]) -> CommandLine:
    """Put options first, whatever the order typed: Hydra's parser stops reading overrides at a later option.

    Raises:
        UserError: an unknown option, a word that is no override, an override that is refused.
    """
    options, overrides, values = [], [], list(words)
    actions = command_line_options()
    config_dir = None
    while values:
        word = values.pop(0)
        if not word.startswith("-") or word == "-":
            overrides.append(word)
            continue
        name, sign, given = word.partition("=")
        action = actions.get(name)
        if action is None:
            raise UserError(f"no option '{name}'{did_you_mean(name, actions)}")
        options.append(word)
        if sign and not _takes(action, [given]):
            raise UserError(f"{name} takes {'another value' if action.choices else 'no value'}, not '{given}'")
        if not sign and _takes(action, values[:1]):
            options.append(values.pop(0))
        if name in ("--config-dir", "-cd"):
            config_dir = options[-1].partition("=")[2] if sign else options[-1]
    _check(overrides)
    sweeping = is_sweep([*options, *overrides])
    overrides = quote_paths(overrides, multirun=sweeping)
    return CommandLine(options, defer_values(overrides) if sweeping else overrides, config_dir)


def collect(line: CommandLine, command: str) -> CommandLine:
    """Combine the arguments into one value for a command about a run; else drop null choices.

    Such a command has a key `overrides`. It gets every word whose key is none of the command's own, each as it
    would be given to `train`, and no config of the command has to know their keys.

    Raises:
        UserError: several jobs are asked for, or see `without_null_choices`.
    """
    own = own_keys(command)
    if "overrides" not in own:
        return replace(line, overrides=without_null_choices(line.overrides, command, line.config_dir))
    if is_sweep([*line.options, *line.overrides]):
        raise UserError(f"-m: {command} is about one run; give the command once for each")
    first = {word: re.split(r"[.=/]", word.lstrip("+~"), maxsplit=1)[0] for word in line.overrides}
    kept = [word for word in line.overrides if first[word] in own]
    others = [quote(word) for word in line.overrides if first[word] not in own]
    return replace(line, overrides=[*kept, *([f"overrides=[{','.join(others)}]"] if others else [])])


def without_null_choices(overrides: Sequence[str], command: str, config_dir: str | None = None) -> list[str]:
    """Remove the overrides that choose nothing in a group where the root chooses nothing either.

    Hydra refuses `experiment=null`, although a defaults list may hold it. As everywhere, the last word about a group
    counts: `experiment=a experiment=null` chooses nothing, and the name of the run is that without both words.

    Args:
        command: the root config's name.
        config_dir: a further folder of configs.

    Raises:
        UserError: a preset of `sweep` runs over choices of the group.
    """
    from omegaconf import OmegaConf

    root: Any = OmegaConf.to_container(OmegaConf.load(config_folder() / f"{command}.yaml"))
    defaults = root.get("defaults", [])
    optional = {group for entry in defaults if isinstance(entry, dict) for group, name in entry.items() if name is None}
    last = {_group(word): word for word in overrides}
    kept = [
        word
        for word in overrides
        if _group(word) not in optional or not (_chooses_nothing(word) or _chooses_nothing(last[_group(word)]))
    ]
    swept = swept_by(overrides, config_dir)
    for group in optional & {_group(word) for word in overrides if word not in kept}:
        if group in swept:
            raise UserError(f"{last[group]}: {last['sweep']} runs over choices of {group}; leave out one of the two")
    return kept


def _group(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")


def _chooses_nothing(word: str) -> bool:
    key, sign, value = word.partition("=")
    return value.strip().lower() == "null" or (key.startswith("~") and not sign)


def swept_by(overrides: Sequence[str], config_dir: str | None) -> Mapping[str, Any]:
    """Read the keys and values that the chosen preset of the group `sweep` runs over; none where none can be read."""
    import yaml

    preset = next((word.partition("=")[2] for word in reversed(overrides) if _group(word) == "sweep"), "")
    folders = [config_folder(), *([Path(config_dir)] if config_dir else [])]
    files = [folder / "sweep" / f"{preset}.yaml" for folder in folders]
    try:
        node = next((yaml.safe_load(file.read_bytes()) for file in files if file.is_file()), None)
    except (OSError, ValueError, yaml.YAMLError):  # Hydra reads the preset too, and says what is wrong
        return {}
    for key in ("hydra", "sweeper", "params"):
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}


def own_keys(command: str) -> list[str]:
    """The keys at the root of a command's config, `hydra` among them."""
    from omegaconf import OmegaConf

    return [str(key) for key in OmegaConf.load(config_folder() / f"{command}.yaml") if key != "defaults"]


def keeps_sweeps(command: str) -> bool:
    """True if a command's config names the folder of a sweep; the jobs of others write where they say."""
    from omegaconf import OmegaConf

    return OmegaConf.select(OmegaConf.load(config_folder() / f"{command}.yaml"), "hydra.sweep") is not None


def is_sweep(words: Sequence[str]) -> bool:
    """Check that the overrides ask for several jobs: by an option, or by a preset of the group `sweep`."""
    presets = [word for word in words if _group(word) == "sweep"]
    by_preset = bool(presets) and presets[-1] != "sweep=" and not _chooses_nothing(presets[-1])
    return by_preset or any(word in ("-m", "--multirun", "hydra.mode=MULTIRUN") for word in words)


def _takes(action: Action, following: Sequence[str]) -> bool:
    """Check that the option takes the next word as its value."""
    if action.nargs == 0:
        return False
    if action.nargs == "?":
        return bool(following) and following[0] in (action.choices or ())
    if not following:
        raise UserError(f"{action.option_strings[0]} needs a value")
    if action.choices and following[0] not in action.choices:
        known = ", ".join(map(str, action.choices))
        raise UserError(f"{action.option_strings[0]} takes {known}, not '{following[0]}'")
    return True


def _check(overrides: Sequence[str]) -> None:
    for word in overrides:
        key = word.partition("=")[0].lstrip("+~")
        if key in REFUSED:
            raise UserError(REFUSED[key])
        if ("=" not in word and not word.startswith("~")) or not key:
            raise UserError(f"'{word}' is no override: write key=value")
