"""Suggest the nearest existing key for one that does not exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from streetlab.config.command_line import CommandLine
from streetlab.config.composition import Composer, composer
from streetlab.config.targets import Arguments, locate, signature_of
from streetlab.errors import did_you_mean


def nearest_key(key: str, command: str, line: CommandLine) -> str:
    """`'optimizer.lrr'; did you mean 'optimizer.lr'? (optimizer has betas, lr, weight_decay)`."""
    with composer(line.config_dir) as compose:
        tree = _without_values(compose, command, line)
        groups = compose.groups()
    word = next((word for word in reversed(line.overrides) if word.partition("=")[0] == key), "")
    return nearest_in(tree, key, groups, word)


def nearest_in(tree: Mapping[str, Any], key: str, further: Iterable[str] = (), word: str = "") -> str:
    """The same for the keys of a config that is there, plain Python, and `further` ones at its root.

    Args:
        word: the override that would change the key. Where the node's target takes it, only a `+` is missing.
    """
    first, *rest = key.split(".")
    if first not in tree:
        return f"'{key}'{_nearest_root(first, rest, tree, further)}"
    path, node = [first], tree[first]
    for index, part in enumerate(rest):
        if not isinstance(node, Mapping):
            return f"'{key}': {'.'.join(path)} is a value, not a group of keys"
        if part not in node:
            parent = ".".join(path)
            near = did_you_mean(part, map(str, node))
            elsewhere = _elsewhere(rest[-1], tree)
            target = _target(node)
            can_add = bool(word) and index == len(rest) - 1
            if can_add and (part in target.names or (target.open_ended and not near and not elsewhere)):
                return f"'{key}' in the config; to add it say +{word}"
            if near:
                near = did_you_mean(part, map(str, node)).replace("'", f"'{parent}.", 1)
                if rest[index + 1 :]:
                    near = near.replace("'?", f".{'.'.join(rest[index + 1 :])}'?")
            elif elsewhere:
                near = elsewhere
            elif can_add:
                near = did_you_mean(part, target.names).replace("'", f"'+{parent}.", 1)
            known = [str(name) for name in node if not str(name).startswith("_")]
            takes = [name for name in target.names if name not in node]
            more = f", and takes {', '.join(takes)}" if takes else ""
            return f"'{key}'{near} ({parent} has {', '.join(known) or 'no keys'}{more})"
        path.append(part)
        node = node[part]
    return f"'{key}'"


def _target(node: Mapping[str, Any]) -> Arguments:
    """The node target's arguments; any key for a node without a target, none for one that cannot be read."""
    if "_target_" not in node:
        return Arguments((), (), open_ended=True)
    try:
        return signature_of(locate(node["_target_"])) or Arguments((), (), open_ended=False)
    except ImportError:
        return Arguments((), (), open_ended=False)


def _nearest_root(first: str, rest: list[str], tree: Mapping[str, Any], further: Iterable[str]) -> str:
    known = {*map(str, tree), *further}
    near = did_you_mean(first, known)
    exact = _elsewhere(first, tree)
    if not rest and exact:  # `lr=1` is optimizer.lr rather than the group `loss`
        return exact
    if near:
        return near.replace("'?", "." + ".".join(rest) + "'?") if rest else near
    return f" (there are {', '.join(sorted(known))})"


def _elsewhere(name: str, tree: Mapping[str, Any]) -> str:
    """The hint for a key of exactly that name deeper in the config."""
    found = [path for path in _paths(tree) if path.rpartition(".")[2] == name]
    return f"; did you mean '{min(found, key=len)}'?" if found else ""


def _paths(node: object, prefix: str = "") -> Iterator[str]:
    if isinstance(node, Mapping):
        for name, child in node.items():
            path = f"{prefix}.{name}" if prefix else str(name)
            yield path
            yield from _paths(child, path)


def _without_values(compose: Composer, command: str, line: CommandLine) -> Mapping[str, Any]:
    """The config's choices without values, since one of the values is at fault."""
    from omegaconf import OmegaConf

    groups = {group: compose.choices(group) for group in compose.groups()}
    chosen = []
    for word in line.overrides:
        key, _, value = word.partition("=")
        value = value.split(",")[0]
        if value in groups.get(key.lstrip("+"), ()):
            chosen.append(f"{key}={value}")
    for overrides in (chosen, []):
        try:
            tree = OmegaConf.to_container(compose.compose(command, overrides), resolve=False)
        except Exception:
            continue  # a choice is itself at fault: the default's keys are the best that is left
        assert isinstance(tree, dict)
        return {str(name): node for name, node in tree.items()}
    return {}
