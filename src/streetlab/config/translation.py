"""Translate errors of Hydra and OmegaConf about overrides and config files into one line with the nearest choice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streetlab.config.command_line import CommandLine, swept_by
from streetlab.config.composition import config_folder
from streetlab.config.nearest import nearest_key
from streetlab.config.quoting import split_commas
from streetlab.errors import UserError, chain, did_you_mean

if TYPE_CHECKING:
    from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException

_PLUGINS = {
    "hydra/launcher/joblib": "sweep",
    "hydra/launcher/submitit_local": "slurm",
    "hydra/launcher/submitit_slurm": "slurm",
}
"""Choices that packages bring along, and the extra that brings the package."""
_SLIPS = (TypeError, AssertionError, AttributeError, LookupError)
"""What Hydra raises of words that it did not expect."""


def translate(error: BaseException, command: str, line: CommandLine) -> UserError | None:
    """Turn a fault before the command's own code into a UserError; None for faults of other causes.

    Args:
        error: what Hydra raised.
        command: the root config's name.
        line: the words it was given; they are composed again, without the faulty one, to find what was meant.
    """
    from hydra.errors import (
        ConfigCompositionException,
        HydraException,
        MissingConfigException,
        OverrideParseException,
    )
    from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
    from yaml import YAMLError

    for link in chain(error):
        if isinstance(link, UserError):
            return link
    outer = error
    if isinstance(error, InterpolationResolutionError):  # a job's config, composed while a folder was named
        error = next((link for link in chain(error) if _is_of_composing(link)), error)
    text: str | None
    if isinstance(error, OverrideParseException):
        text = _unparsable(error)
    elif isinstance(error, MissingConfigException):
        text = _no_such_choice(error)
    elif isinstance(error, ConfigCompositionException):
        text = _not_composable(error, command, line)
    elif isinstance(error, YAMLError):
        text = _bad_yaml(error)
    elif isinstance(error, (HydraException, OmegaConfBaseException)):
        text = _keyed_lines(error)
    elif isinstance(error, ValueError):
        text = _bad_group_value(error, line)
    elif isinstance(error, AssertionError) and "type for root: NoneType" in str(error):
        text = _below_nothing(command, line)
    elif isinstance(error, RuntimeError) and 'not detect "srun"' in str(error):
        text = "no srun here: hydra/launcher=slurm submits from a machine of the cluster"
    elif isinstance(error, RuntimeError) and _is_raised_by_hydra(error):
        text = re.sub(r"^Hydra (\w+) is not configured", r"hydra.\1 is null: a sweep needs one", str(error))
    elif isinstance(error, _SLIPS) and _is_raised_by_hydra(error):
        text = _unfit_word(error, command, line) or _unfit_sweep(error, line)
    elif isinstance(error, OSError) and error.filename:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = None
    if text is None and isinstance(outer, OmegaConfBaseException):
        text = _keyed_lines(outer)
    return None if text is None else UserError(text)


def _is_of_composing(error: BaseException) -> bool:
    """Check that Hydra raised the error of what it was given."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    slip = isinstance(error, _SLIPS) and not isinstance(error, OmegaConfBaseException)
    return isinstance(error, HydraException) or _is_of_group(error) or (slip and _is_raised_by_hydra(error))


def _unparsable(error: OverrideParseException) -> str:
    hint = "put a value with special characters in quotes, as in key=\"'a (b)'\""
    return f"cannot read '{error.override}': {hint}"


def _no_such_choice(error: MissingConfigException) -> str:
    message = str(error)
    found = re.search(r"(?:In '(?P<file>[^']*)': )?Could not (?:find|load) '(?P<missing>[^']+)'", message)
    missing = found["missing"] if found else str(error.missing_cfg_file)
    group, _, choice = missing.rpartition("/")
    options = list(error.options or ())
    where = _where(found["file"]) if found and found["file"] and _is_ours(found["file"]) else ""
    if not group:
        return f"{where}no config '{missing}'{did_you_mean(missing, options)}"
    if (extra := _PLUGINS.get(missing)) is not None:
        return f"{where}hydra's plugin {choice} is not installed (pip install 'streetlab[{extra}]')"
    known = f" ({group} has {', '.join(options)})" if options else ""
    return f"{where}no {group} '{choice}'{did_you_mean(choice, options)}{known}"


def _not_composable(error: ConfigCompositionException, command: str, line: CommandLine) -> str:
    message = str(error)
    cause = error.__cause__ or error.__context__
    if found := re.match(r"In '(?P<file>[^']+)': (?P<kind>\w+) raised while composing config:\n(?P<text>.*)", message):
        return _bad_file(found["file"], message, command, line)
    if found := re.match(r"In '(?P<file>[^']+)': Could not override '(?P<key>[^']+)'", message):
        return f"{_where(found['file'])}no group {nearest_key(found['key'], command, line)}"
    if found := re.search(r"Could not (?:override|delete(?: from config\.)?) '(?P<key>[^']+)'", message):
        if found["key"] in _groups(line):
            return f"{found['key']} is not part of {command}: add it with +{found['key']}=..."
        return f"no key {nearest_key(found['key'], command, line)}"
    if found := re.search(r"Could not delete from config\. '(?P<key>[^']+)' does not exist", message):
        return f"no key {nearest_key(found['key'], command, line)}"
    if found := re.match(r"Error merging override (?P<word>.*)", message, re.DOTALL):
        return f"{found['word']}: {_first_lines(cause)}" if cause else found["word"]
    if found := re.match(r"Ambiguous value for argument '(?P<word>.*)'", message):
        return f"{found['word']} names several values: add -m to run one job for each"
    if found := re.match(r"Sweep parameters '(?P<word>.*)' requires --multirun", message):
        return f"{found['word']} names several values: add -m to run one job for each"
    if found := re.match(r"(?P<key>\S+) appears more than once in the final defaults list", message):
        return f"{found['key']} is chosen twice: write {found['key']}=... without the +"
    if found := re.match(r"Could not append to config\. An item is already at '(?P<key>[^']+)'", message):
        return f"{found['key']} exists: write {found['key']}=... without the +"
    return _keyed_lines(cause if not message and cause is not None else error)


def _bad_file(file: str, message: str, command: str, line: CommandLine) -> str:
    """A key or a value in a config file that the root's schema does not allow."""
    if found := re.search(r"Key '(?P<key>[^']+)' (?:is not in|not in)", message):
        full = re.search(r"full_key: (\S+)", message)
        return f"{_where(file)}no key {nearest_key(full[1] if full else found['key'], command, line)}"
    text = message.split("\n", 1)[1] if "\n" in message else message
    full = re.search(r"full_key: (\S+)", message)
    return f"{_where(file)}{full[1] + ': ' if full else ''}{_plain(text.splitlines()[0])}"


def _below_nothing(command: str, line: CommandLine) -> str | None:
    """A key below a group in which nothing is chosen."""
    from streetlab.config.composition import composer

    with composer(line.config_dir) as found:
        chosen = found.defaults(command)
    for word in line.overrides:
        group, dot, _ = word.lstrip("+~").partition("=")[0].partition(".")
        if dot and chosen.get(group, group) is None:
            return f"{word}: nothing is chosen in {group}; {group}=NAME takes NAME.yaml of {group}/ in --config-dir=DIR"
    return None


def _is_of_group(error: BaseException) -> bool:
    """Check that Hydra was given something other than a name for a group."""
    return isinstance(error, ValueError) and str(error).startswith("Config group override")


def _bad_group_value(error: ValueError, line: CommandLine) -> str:
    message = str(error)
    if not _is_of_group(error):
        return _plain(message)
    groups = _groups(line)
    for word in _words(line):
        key, _, value = word.partition("=")
        key = key.lstrip("+~")
        names = split_commas(value)
        if key in groups and any(re.fullmatch(r"(?i)null|true|false|[-+.\d]+(e[-+]?\d+)?|", name) for name in names):
            return f"{word}: {key} takes a name; it has {', '.join(groups[key])}"
    return _unfit_sweep(error, line) or message


def _is_raised_by_hydra(error: BaseException) -> bool:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and frame.tb_frame.f_globals["__name__"].partition(".")[0] in ("hydra", "omegaconf")


def _unfit_word(error: BaseException, command: str, line: CommandLine) -> str | None:
    """The first word that ends in this error by itself."""
    from streetlab.config.composition import composer

    for word in _words(line):
        signed, sign, values = word.partition("=")
        key = signed.lstrip("+~")
        for value in split_commas(values):
            with composer(line.config_dir) as found:
                try:
                    found.compose(command, [f"{signed}{sign}{value}"])
                except type(error):
                    choices = found.choices(key) if key in found.groups() else ()
                    named = not choices or value in choices
                    takes = "Hydra cannot read it" if named else f"{key} takes a name; it has {', '.join(choices)}"
                    return f"{word}: {takes}"
                except Exception:  # another fault, which is not the one that ended this line
                    continue
    return None


def _unfit_sweep(error: BaseException, line: CommandLine) -> str | None:
    """The preset of `sweep`, where one is chosen, for what no word ends in by itself."""
    preset = next((word for word in reversed(line.overrides) if word.startswith("sweep=")), None)
    return preset and f"{preset}: Hydra cannot run it ({_first_lines(error) or type(error).__name__})"


def _words(line: CommandLine) -> list[str]:
    """The overrides, and those of the jobs of a preset of `sweep`."""
    return [*line.overrides, *(f"{key}={value}" for key, value in swept_by(line.overrides, line.config_dir).items())]


def _bad_yaml(error: Any) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or _first_lines(error)
    return f"{mark.name}, line {mark.line + 1}: {problem}" if mark else str(problem)


def _is_ours(file: str) -> bool:
    """Check that the fault is in a preset, not in the command line that chooses in a root config."""
    return "/" in file and not file.startswith("hydra/")


def _where(file: str) -> str:
    """`conf/experiment/x.yaml: `, or as much of the name as is known."""
    name = file if file.endswith(".yaml") else f"{file}.yaml"
    return f"{config_folder().name}/{name}: " if (config_folder() / name).exists() else f"{Path(name)}: "


def _groups(line: CommandLine) -> dict[str, list[str]]:
    from streetlab.config.composition import composer

    with composer(line.config_dir) as found:
        return {group: found.choices(group) for group in found.groups()}


def _first_lines(error: BaseException | None) -> str:
    """The message up to OmegaConf's and Hydra's notes for programmers, and the cause where there is one."""
    stop = re.compile(r"\s*(full_key|object_type|reference_type|See https|Set the environment|Config search path)")
    kept: list[str] = []
    for row in str(error).splitlines():
        if stop.match(row):
            break
        kept.append(row.strip())
    return _plain(" ".join(kept).partition(", set env var")[0])


def _keyed_lines(error: BaseException) -> str:
    """The message behind the key that OmegaConf was at, unless the message says it."""
    text, said = _first_lines(error), re.search(r"full_key: (\S+)", str(error))
    key = said[1] if said else str(getattr(error, "full_key", None) or "")
    return text if key in text else f"{key}: {text}"


def _plain(text: str) -> str:
    """What OmegaConf and Hydra say of lists, mappings and choices that do not fit, in words for people."""
    if re.search(r"Index '.*' \(str\) is not an int", text):
        return "a list stands where a mapping is expected"
    if found := re.match(r"Error resolving interpolation '(.*)', possible interpolation keys: (.*)", text):
        return f"defaults: {found[1]} is no group that is chosen there (these are: {found[2]})"
    if found := re.match(r"Missing ConfigDefault is not supported : (.*)", text):
        return f"defaults: {found[1]} is no choice"
    unlike = re.search("Cannot merge (Dict|List)Config with|(list|dict) is not a subclass of (Dict|List)", text)
    return "a mapping stands where a list is expected, or a list where a mapping is" if unlike else text
