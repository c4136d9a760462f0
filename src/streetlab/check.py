"""`streetlab check`: compose every experiment and choice and bind every `_target_`; no data loads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streetlab.config.command_line import CommandLine
from streetlab.config.composition import Composer, composer
from streetlab.config.targets import binding_faults
from streetlab.config.translation import translate

if TYPE_CHECKING:
    from omegaconf import DictConfig

ROOT = "train"


@dataclass(frozen=True)
class Checked:
    """One composition: the group it chooses from, the file it chooses, its targets and its faults."""

    group: str
    file: str
    targets: frozenset[str]
    faults: tuple[str, ...]


def run(cfg: DictConfig) -> None:
    """Entry point of the command: prints counts, or every fault in a line of its own and exits with 1."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    checked = check_all()
    console = Console(soft_wrap=True)
    table = Table("group", "composed", "faults")
    for group in dict.fromkeys(result.group for result in checked):
        found = [result for result in checked if result.group == group]
        table.add_row(group, str(len(found)), str(sum(len(result.faults) for result in found)))
    console.print(table)
    faults = [fault for result in checked for fault in result.faults]
    for fault in faults:
        console.print(f"[red]fault[/red] {escape(fault)}", highlight=False)
    targets = {target for result in checked for target in result.targets}
    console.print(f"{len(checked)} configs composed, {len(targets)} targets bound, {len(faults)} faults")
    if faults:
        raise SystemExit(1)


def check_all() -> list[Checked]:
    """Compose every command's root, every choice of every group in a command that has it, and every experiment.

    A fault that an earlier composition has shown is not repeated: one in a default would be in all of them.
    """
    seen: set[str] = set()
    with composer() as compose:
        return [_check(compose, *made, seen) for made in _compositions(compose)]


def _compositions(compose: Composer) -> Iterator[tuple[str, str, list[str]]]:
    for root in compose.roots():
        yield root, "commands", []
    chosen = compose.defaults(ROOT)
    of_others = {group: root for root in compose.roots() for group in compose.defaults(root)}
    groups = [group for group in compose.groups() if group != "experiment"]
    for group in [*groups, "experiment"]:
        root = ROOT if group in chosen else of_others.get(group, ROOT)
        mark = "" if group in chosen or root != ROOT else "+"
        for choice in compose.choices(group):
            yield root, group, [f"{mark}{group}={choice}"]


def _check(compose: Composer, root: str, group: str, words: list[str], seen: set[str]) -> Checked:
    from streetlab.training.train import RUNTIME_ARGS

    file = f"conf/{words[0].lstrip('+').replace('=', '/') if words else root}.yaml"
    try:
        config = compose.compose(root, words)
    except Exception as error:
        known = translate(error, root, CommandLine([], words))
        faults = [str(known) if known else f"{type(error).__name__}: {' '.join(str(error).split())}"]
        return Checked(group, file, frozenset(), _unseen(faults, file, seen))
    return Checked(group, file, frozenset(_targets(config)), _unseen(binding_faults(config, RUNTIME_ARGS), file, seen))


def _unseen(faults: Iterable[str], file: str, seen: set[str]) -> tuple[str, ...]:
    new = [fault for fault in faults if fault not in seen]
    seen.update(new)
    name = file.removeprefix("conf/")
    return tuple(fault if name in fault.partition(": ")[0] else f"{file}: {fault}" for fault in new)


def _targets(node: object) -> Iterator[str]:
    from omegaconf import DictConfig, ListConfig, OmegaConf

    if isinstance(node, (DictConfig, ListConfig)):
        node = OmegaConf.to_container(node, resolve=False)
    if isinstance(node, Mapping):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for child in node.values():
            yield from _targets(child)
    elif isinstance(node, list):
        for child in node:
            yield from _targets(child)
