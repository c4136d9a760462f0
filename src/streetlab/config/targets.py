"""Instantiate and check the objects that a config names: the one wrapper around hydra.utils.instantiate."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from streetlab.config.annotations import misfits
from streetlab.config.moved import current_target, with_current_targets
from streetlab.config.values import REFUSED, plain, without_hydra
from streetlab.errors import UserError, did_you_mean, first_line
from streetlab.hydra_compat import full_key

Given = Mapping[str, Iterable[str]]

NOTHING: Given = MappingProxyType({})

_COMPLETED_LATER = {
    "model": "the data set's number of classes is added to it",
    "task": "network, loss and classes are added to it",
    "optimizer": "the parameters of each phase are added to it",
    "scheduler": "the optimizer of each phase is added to it",
}
"""Nodes that have to be partials, and why."""
_COMPLETE = (
    "augment", "callbacks.*", "dataset", "logger.*", "loss", "metrics.*", "mix", "regime", "trainer", "transforms.*",
)  # fmt: skip
"""Nodes that must not be: all that their targets need is there when they are called."""
_HYDRA_KEYS = frozenset({"_target_", "_partial_", "_recursive_", "_convert_", "_args_"})


def instantiate(node: object, **kwargs: Any) -> Any:
    """Call the node's `_target_` with the node's keys and `kwargs`; None for null.

    Lists and mappings arrive as plain Python, in partials as well, so that they can be pickled; `kwargs`
    arrive as they are. A node without `_target_` gives its mapping or list with every member instantiated.

    Raises:
        UserError: the target cannot be imported, or the keys do not fit its signature.
    """
    return _instantiate(node, {}, kwargs)


def instantiate_with(node: Any, **offered: Any) -> Any:
    """Call the node's `_target_` as `instantiate` does, with those of the offered arguments that it can take.

    A target inside the node gets them as well. An argument counts where the target's signature names it and the node
    does not set it.

    Args:
        offered: numbers or text.
    """
    return _instantiate(node, offered, {})


def _instantiate(node: Any, offered: Mapping[str, Any], kwargs: Mapping[str, Any]) -> Any:
    if node is None:
        return None
    key = full_key(node) if isinstance(node, (DictConfig, ListConfig)) else ""
    tree = with_current_targets(plain(node) if isinstance(node, (DictConfig, ListConfig)) else node)
    if offered:
        tree = _completed(tree, offered)
    for fault in _faults(tree, key, {key: tuple(kwargs)}):
        raise UserError(fault)
    if not isinstance(tree, Mapping) or "_target_" not in tree:
        if kwargs:
            raise UserError(f"{key or 'config'}: _target_ is missing; it names what takes {', '.join(kwargs)}")
        return _make(tree, key)
    # Hydra would turn dataclasses among kwargs into configs, so they never pass through it.
    made = _make({**tree, "_partial_": True}, key)
    if tree.get("_partial_"):
        return functools.partial(made, **kwargs) if kwargs else made
    with values_named(tree, key):
        return made(**kwargs)


@contextmanager
def values_named(node: Any, key: str) -> Iterator[None]:
    """Turn what the node's target raises of its values into a line that names the value.

    For a call of a partial that `instantiate` has made; other calls of a target are inside it.

    Args:
        node: with its `_target_`, or a mapping of such nodes.
        key: its place in the config.

    Raises:
        UserError: in place of a TypeError and the like, which stays its cause.
    """
    try:
        yield
    except Exception as error:
        line = _value_fault(error, plain(node) if isinstance(node, (DictConfig, ListConfig)) else node, key)
        if line is None:
            raise
        raise UserError(line) from error


_OF_VALUES = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, AssertionError)
"""What code raises that was given a value which it does not expect."""


def _value_fault(error: Exception, tree: Any, key: str) -> str | None:
    """One line about a value of the tree that a target did not take; None where the error is of another kind."""
    # Lightning's own is no ValueError
    of_values = isinstance(error, _OF_VALUES) or type(error).__name__ == "MisconfigurationException"
    if not of_values and not isinstance(error, RuntimeError):
        return None
    target = tree.get("_target_") if isinstance(tree, Mapping) else None
    # a target with **options finds out late; torchmetrics' raise a ValueError
    name = re.search(r"[Uu]nexpected keyword arguments?:? ['`](\w+)['`]", str(error))
    if target and name is not None and name[1] in tree:
        arguments = signature_of(locate(target))
        near = did_you_mean(name[1], arguments.names if arguments else ())
        return f"{_join(key, name[1])}: {target} takes no '{name[1]}'{near}"
    for line in _misfits(tree, key):
        return line
    if not of_values:  # no memory, a fault of the device, a name that nothing has
        return None
    taker = f"{target} does not take these values" if target else "these values do not fit"
    reason = f"{type(error).__name__}: {first_line(error)}"
    return f"{key or 'config'}: {taker} ({reason})"


def _misfits(node: Any, key: str) -> Iterator[str]:
    """One line for each value of the tree's targets that is not of the type which its annotation says."""
    if isinstance(node, Mapping):
        if isinstance(node.get("_target_"), str):
            values = {name: value for name, value in node.items() if not _holds_target(value)}
            with suppress(ImportError):
                yield from misfits(locate(node["_target_"]), values, key)
        for name, child in node.items():
            yield from _misfits(child, _join(key, name))
    elif isinstance(node, (list, tuple)):
        for index, child in enumerate(node):
            yield from _misfits(child, f"{key}[{index}]")


def _holds_target(value: Any) -> bool:
    """Tell whether a value is made into something else before a target gets it."""
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(_holds_target, value.values()))
    return isinstance(value, list | tuple) and any(map(_holds_target, value))


def check_node(node: Any, key: str) -> None:
    """Check that a part of a config may be made into something.

    Raises:
        UserError: it is a plain value.
    """
    if not isinstance(node, Mapping | DictConfig):
        raise UserError(f"{key}: {node} is not {{_target_: ...}} with what it takes, or null")


def of_kind(made: Any, kind: type, node: Any, key: str, name: str = "") -> Any:
    """Return what a node has made.

    Args:
        name: of the class for the reader, where its own does not say enough.

    Raises:
        UserError: it is not of that class.
    """
    if isinstance(made, kind):
        return made
    target = node.get("_target_") if isinstance(node, Mapping | DictConfig) else None
    if target is None:
        raise UserError(f"{key}: _target_ is missing; it names the class or function that makes the {kind.__name__}")
    found = made.__name__ if inspect.isclass(made) else type(made).__name__
    raise UserError(f"{key}: {target} makes a {found}, not a {name or kind.__name__}")


def _completed(node: Any, offered: Mapping[str, Any]) -> Any:
    """The node with the offered arguments that its targets name and that it does not set."""
    if isinstance(node, list):
        return [_completed(item, offered) for item in node]
    if not isinstance(node, Mapping):
        return node
    members = {name: _completed(child, offered) for name, child in node.items()}
    arguments = None
    if isinstance(node.get("_target_"), str) and "_args_" not in node:  # whose places are not known
        with suppress(ImportError):  # reported with the key, when the node is checked
            arguments = signature_of(locate(node["_target_"]))
    names = () if arguments is None else arguments.names
    return {name: value for name, value in offered.items() if name in names} | members


def _make(tree: object, key: str) -> Any:
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate as hydra_instantiate

    try:
        return hydra_instantiate(tree, _convert_="all")
    except InstantiationException as error:
        cause: BaseException | None = error
        place = ""
        while isinstance(cause, InstantiationException):
            found = re.search(r"^full_key: (\S+)$", str(cause), re.MULTILINE)
            place = found[1] if found else place
            cause = cause.__cause__
        if cause is None:
            raise UserError(f"{key or 'config'}: {' '.join(str(error).split())}") from error
        if place and key == "dataset" and isinstance(cause, UserError):
            # a data set inside another one calls its keys as if it stood alone
            cause = UserError(re.sub(r"(?<![\w.])dataset\.(?=\w)", f"dataset.{place}.", str(cause)))
        if isinstance(cause, Exception) and (line := _value_fault(cause, tree, key)) is not None:
            raise UserError(line) from cause
        raise cause from None  # what the target itself raised


def bind(config: DictConfig | Mapping[str, Any], given: Given = NOTHING) -> None:
    """Check that every node with a `_target_` fits its target's signature, before any data is touched.

    Args:
        config: a whole config or a part of it.
        given: arguments that the program adds when it instantiates a node, by the pattern of the node's key.

    Raises:
        UserError: the first fault found.
    """
    for fault in binding_faults(config, given):
        raise UserError(fault)


def binding_faults(config: DictConfig | Mapping[str, Any], given: Given = NOTHING) -> Iterator[str]:
    """One line for each node that does not fit its target; mandatory values may still be missing."""
    tree: Any = config
    if isinstance(config, DictConfig):
        try:
            tree = OmegaConf.to_container(without_hydra(config), resolve=True)
        except OmegaConfBaseException as error:
            yield f"{error.full_key}: {first_line(error)}"
            return
    yield from _faults(tree, "", given)


def _faults(node: object, key: str, given: Given) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            added = {name for pattern, names in given.items() if fnmatchcase(key, pattern) for name in names}
            fault = _fault(node, key, added)
            if fault:
                yield fault
        for name, child in node.items():
            yield from _faults(child, _join(key, name), given)
    elif isinstance(node, (list, tuple)):
        for index, child in enumerate(node):
            yield from _faults(child, f"{key}[{index}]", given)


def _fault(node: Mapping[str, Any], key: str, added: set[str]) -> str | None:
    path = node["_target_"]
    if not isinstance(path, str) or path == "???":
        return f"{_join(key, '_target_')}: {path!r} is not the dotted name of a class or function"
    try:
        target = locate(path)
    except ImportError as error:
        return f"{_join(key, '_target_')}: {error}"
    if fault := _partial_fault(node, key):
        return fault
    arguments = signature_of(target)
    if arguments is None:
        return None
    known = ", ".join(arguments.names)
    keys = [str(name) for name in node if name not in _HYDRA_KEYS]
    for name in keys:
        if name in arguments.names or arguments.open_ended:
            continue
        full = _join(key, name)
        if full in REFUSED:
            return REFUSED[full]
        return f"{full}: {path} takes no '{name}'{did_you_mean(name, arguments.names)} (it takes {known})"
    for name in added if key == "model" else ():
        if name not in arguments.names and not arguments.open_ended:
            return f"{key}: {path} takes no '{name}', which the program gives it (it takes {known})"
    if node.get("_partial_") or node.get("_args_"):
        return None
    for name in arguments.required:
        if name not in keys and name not in added:
            return f"{key or 'config'}: {path} needs '{name}' (it takes {known})"
    return None


def _partial_fault(node: Mapping[str, Any], key: str) -> str | None:
    """Report `_partial_: true` that is missing where the program completes a node, or superfluous."""
    in_phase = re.search(r"phases\[\d+\]\.(optimizer|scheduler)$", key)
    reason = _COMPLETED_LATER.get(in_phase[1] if in_phase else key)
    if reason and not node.get("_partial_"):
        return f"{key}: `_partial_: true` is missing{_file_of(key)} beside `_target_: {node['_target_']}`: {reason}"
    if node.get("_partial_") and any(
        fnmatchcase(key, pattern) and key.count(".") == pattern.count(".") for pattern in _COMPLETE
    ):
        return (
            f"{key}: `_partial_: true`{_file_of(key)} has no place beside `_target_: {node['_target_']}`: leave it out"
        )
    return None


def _file_of(key: str) -> str:
    """` in model/my_net.yaml`, where the running command has chosen one."""
    from hydra.core.hydra_config import HydraConfig

    choice = HydraConfig.get().runtime.choices.get(key) if HydraConfig.initialized() else None
    return f" in {key}/{choice}.yaml" if choice else ""


@dataclass(frozen=True)
class Arguments:
    """The names that a target takes; `open_ended` where it takes any other as well."""

    names: tuple[str, ...]
    required: tuple[str, ...]
    open_ended: bool


def signature_of(target: Callable[..., Any]) -> Arguments | None:
    """The arguments that a class or function takes; None where it is written in C without a signature.

    A class that hands `**options` on to its parent's constructor is read together with the parent, within one
    package. What the parent requires, a class of an installed library may give it; ours hand on what they are given.
    """
    try:
        layers = [inspect.signature(target).parameters]
    except (TypeError, ValueError):
        return None
    if inspect.isclass(target):
        package = target.__module__.partition(".")[0]
        owners = [cls for cls in target.__mro__ if "__init__" in vars(cls)]
        for parent in owners[1:]:
            if not _open_ended(layers[-1]) or parent.__module__.partition(".")[0] != package:
                break
            layers.append(inspect.signature(parent).parameters)
    hands_on = not _is_of_library(getattr(target, "__module__", ""))
    named: dict[str, inspect.Parameter] = {}
    for layer in layers:
        for name, parameter in layer.items():
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                named.setdefault(name, parameter)
    required = tuple(
        name for name, parameter in named.items()
        if parameter.default is parameter.empty and (hands_on or name in layers[0])
    )  # fmt: skip
    return Arguments(tuple(named), required, _open_ended(layers[-1]))


def _is_of_library(module: str) -> bool:
    """Tell whether a module belongs to an installed package other than this one."""
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    ours = module.partition(".")[0] == __name__.partition(".")[0]
    return not ours and file.startswith((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))


def _open_ended(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def locate(path: str) -> Callable[..., Any]:
    """Import the class or function of that dotted name.

    Raises:
        ImportError: one line that says which part of the name leads nowhere.
    """
    from hydra.utils import get_object

    try:
        found = get_object(current_target(path))
    except Exception as error:
        cause = error.__cause__ or error
        hint = ""
        if isinstance(cause, ModuleNotFoundError) and path.startswith(f"{cause.name}."):
            hint = "; --config-dir=DIR names the folder that a module of your own lies in"
        raise ImportError(f"cannot import {path} ({type(cause).__name__}: {first_line(cause)}){hint}") from error
    if not callable(found):
        raise ImportError(f"{path} is a {type(found).__name__}, not a class or function")
    return found
