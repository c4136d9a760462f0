"""Group runs that differ only by seed, and name each group by the settings that set it apart."""

from __future__ import annotations

import functools
import json
import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streetlab.config.run_names import LEFT_OUT, PATHS, TEACHER, has_teacher, matches
from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.task_spec import CLASSIFICATION, TASKS, TaskSpec
from streetlab.errors import UserError
from streetlab.metrics.catalogue import added_metrics
from streetlab.metrics.results import RESULT_FILES, SplitResults
from streetlab.records.record import RunRecord

_MISSING = "–"


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """One completed record, read once, or a complete set of folds (see `folds`), as a comparison uses it.

    Args:
        record: the run folder; of a set of folds that of the first.
        settings: the resolved config as `dotted.key: value`, without the seed and what changes no result.
        choices: what was chosen from each config group, as far as the record tells.
        metrics, model, status: the record's files; model is empty where it is missing.
        by_fold: the runs that this one is joined from, by fold; empty for a run of its own.
        added: the targets of the metrics that its config adds to the catalogue's, by name.
    """

    record: RunRecord
    seed: int | None
    settings: dict[str, Any]
    choices: dict[str, str]
    metrics: dict[str, Any]
    model: dict[str, Any]
    status: dict[str, Any]
    by_fold: tuple[FinishedRun, ...] = ()
    added: Mapping[str, str] = field(default_factory=dict)

    @property
    def members(self) -> tuple[FinishedRun, ...]:
        """The runs on disk that the numbers are from: itself, or one per fold."""
        return self.by_fold or (self,)

    @property
    def where(self) -> str:
        """The folders for a message: `runs/a`, `runs/a and 4 more folds`."""
        others = len(self.members) - 1
        return f"{self.record.path}" + (f" and {others} more fold{'s' * (others > 1)}" if others else "")

    @property
    def task(self) -> str:
        """`classification` or `segmentation`."""
        return str(self.metrics.get("task", CLASSIFICATION))

    @property
    def spec(self) -> TaskSpec:
        """The facts of the task."""
        return TASKS[self.task]

    @property
    def eval_split(self) -> str:
        """The split that the final numbers are from, normally `test`."""
        return str(self.metrics.get("eval_split") or "test")

    @property
    def test(self) -> dict[str, Any]:
        """The final numbers of that split; empty where the record has none."""
        return self.metrics.get(self.eval_split) or {}

    @property
    def label_space(self) -> LabelSpace | None:
        """The classes that metrics.json names; None where it names none or is damaged there."""
        plain = self.metrics.get("label_space")
        try:
            return LabelSpace.from_dict(plain) if plain else None
        except (KeyError, TypeError, ValueError):
            return None

    def results(self) -> SplitResults:
        """The answers to each photo or image of the evaluated split, of all folds together.

        Raises:
            UserError: the record's file of them is missing or damaged, or does not hold the split.
        """
        file = RESULT_FILES[self.task]
        return file.join([file.read(member.record.path / file.name, self.eval_split) for member in self.members])


@dataclass(frozen=True, eq=False)
class RunGroup:
    """Runs of one config, ordered by seed. `parts` is what sets it apart, `key=value` or a preset's name."""

    runs: tuple[FinishedRun, ...]
    parts: tuple[str, ...]

    @property
    def name(self) -> str:
        """The parts in one line."""
        return " · ".join(self.parts)

    @property
    def seeds(self) -> tuple[int | None, ...]:
        """One seed per run."""
        return tuple(run.seed for run in self.runs)

    @property
    def records(self) -> tuple[RunRecord, ...]:
        """Every record behind the runs: one per run, or one per run and fold."""
        return tuple(member.record for run in self.runs for member in run.members)


def read_finished(record: RunRecord) -> FinishedRun:
    """Read a completed record.

    Raises:
        UserError: config.yaml, metrics.json or status.json is missing, empty or damaged.
    """
    config, metrics, status = record.config, record.metrics, record.status
    if not config or not metrics:
        raise UserError(f"{record.path}: config.yaml or metrics.json is empty")
    if metrics.get("task", CLASSIFICATION) not in TASKS:
        raise UserError(f"{record.path / 'metrics.json'}: task {metrics['task']!r} is not {' or '.join(TASKS)}")
    # neither is needed to rank a run: its cost shows as –, its choices are read off the config
    overrides, model = _or_empty(lambda: record.overrides, []), _or_empty(lambda: record.model, {})
    return FinishedRun(
        record=record,
        seed=config.get("seed"),
        settings=flatten(config) | _split_read(status) | _taught_by(status),
        choices=_choices(config, overrides) | dict(status.get("choices") or {}),
        metrics=metrics,
        model=model,
        status=status,
        added={name: str(config["metrics"][name].get("_target_")) for name in added_metrics(config)},
    )


def _split_read(status: Mapping[str, Any]) -> dict[str, str]:
    """Two split files of one name are two settings: what sets them apart is what they held."""
    file = status.get("split_file")
    return {"dataset.split_file": f"{file['name']} {file['sha256'][:8]}"} if file else {}


def _taught_by(status: Mapping[str, Any]) -> dict[str, str]:
    """A teacher is known by its best epoch, as the run read it."""
    teacher = status.get("teacher")
    return {"distillation.name": f"{teacher['name']} {teacher['sha256'][:8]}"} if teacher else {}


def group_by_seed(
    runs: Iterable[FinishedRun], mark: Callable[[FinishedRun], str] = lambda run: ""
) -> tuple[list[RunGroup], list[tuple[RunRecord, str]]]:
    """Group runs whose settings are equal but for the seed, and name the groups.

    A second run of the same settings and seed is no new evidence: the one that ended last counts, the others
    are returned with the reason.

    Args:
        runs: of one task.
        mark: what sets runs apart besides their settings; it becomes the last part of their group's name.
    """
    by_settings: dict[tuple[str, str], list[FinishedRun]] = defaultdict(list)
    for run in runs:
        by_settings[json.dumps(run.settings, sort_keys=True, default=str), mark(run)].append(run)
    kept, marks, repeated = [], [], []
    for (_, marked), members in by_settings.items():
        latest: dict[Any, FinishedRun] = {}
        for run in sorted(members, key=lambda run: str(run.status.get("ended") or "")):
            if run.seed in latest:
                reason = f"same config and seed as {run.where}"
                repeated += [(member.record, reason) for member in latest[run.seed].members]
            latest[run.seed] = run
        kept.append(tuple(sorted(latest.values(), key=lambda run: (run.seed is None, run.seed or 0))))
        marks.append((marked,) if marked else ())
    names = name_apart([members[0] for members in kept])
    return [RunGroup(*group) for group in zip(kept, map(operator.add, names, marks), strict=True)], repeated


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config as `dotted.key: value`, without the seed, paths and what else leaves the result as it is.

    A list of named mappings (the phases of a regime) becomes `regime.phases.<name>.<key>`. Keys called `seed`
    anywhere are left out where they repeat the run's seed. The teacher becomes `distillation.name`; without one there
    is no `distillation`.
    """
    flat: dict[str, Any] = {}
    taught = has_teacher(config)

    def visit(node: Any, key: str) -> None:
        if key == "distillation" and not taught:
            return
        if _left_out(key) or (key.rpartition(".")[2] == "seed" and node == config.get("seed")):
            return
        if isinstance(node, list) and node and all(isinstance(item, dict) and "name" in item for item in node):
            flat[f"{key}.order"] = [item["name"] for item in node]
            for item in node:
                visit({k: v for k, v in item.items() if k != "name"}, f"{key}.{item['name']}")
        elif isinstance(node, Mapping) and node:
            for name, below in node.items():
                visit(below, f"{key}.{name}" if key else str(name))
        elif key == TEACHER and taught:
            flat["distillation.name"] = node.rstrip("/").rpartition("/")[2]
        elif isinstance(node, str) and matches(key, PATHS):
            flat[key] = node.rstrip("/").rpartition("/")[2]
        elif node is not None:  # a key that came later and is off does not set a run apart from older ones
            flat[key] = node

    visit(config, "")
    return flat


def differing_keys(runs: Sequence[FinishedRun]) -> list[str]:
    """The dotted keys that are not the same in all runs, in the configs' order."""
    order = list(dict.fromkeys(key for run in runs for key in run.settings))
    return [key for key in order if len({_frozen(run.settings.get(key, _MISSING)) for run in runs}) > 1]


def name_apart(runs: Sequence[FinishedRun]) -> list[tuple[str, ...]]:
    """For each run the parts that tell it from the others: presets first, then group choices, then values.

    What one part explains is not repeated: two presets differ in many keys, but their names say it. A lone
    run is called by its model and regime.
    """
    if len(runs) == 1:
        run = runs[0]
        lone = run.choices.get("experiment")
        return [(lone,) if lone else tuple(_labels(runs, top)[0] for top in ("model", "regime"))]
    parts: list[list[str]] = [[] for _ in runs]
    everyone = list(range(len(runs)))
    presets = {i: runs[i].choices.get("experiment", "") for i in everyone}
    labels = functools.cache(lambda top: _labels(runs, top))  # every preset asks for the same ones
    for preset, members in _partition(presets).items():
        if preset and len(members) < len(runs):
            for i in members:
                parts[i].append(preset)
        # a run without a preset has no name that explains anything, so it is seen against all
        _name_by_group(runs, members if preset else everyone, set(members), labels, parts)
    return [tuple(part) or (run.record.name,) for part, run in zip(parts, runs, strict=True)]


def _name_by_group(
    runs: Sequence[FinishedRun],
    against: Sequence[int],
    named: set[int],
    labels_of: Callable[[str], list[str]],
    parts: list[list[str]],
) -> None:
    """Add `group=choice` and `dotted.key=value` to the parts of the runs at `named`, against `against`."""
    varying = differing_keys([runs[i] for i in against])
    for top in dict.fromkeys(key.partition(".")[0] for key in varying):
        keys = [key for key in varying if key.partition(".")[0] == top]
        labels = {i: "" if keys == [top] else labels_of(top)[i] for i in against}
        by_label = _partition(labels)
        for label, members in by_label.items():
            unexplained = [key for key in differing_keys([runs[i] for i in members]) if key in keys]
            for i in named.intersection(members):
                if len(by_label) > 1:
                    parts[i].append(f"{top}={label}")
                parts[i] += [f"{key}={show(runs[i].settings.get(key, _MISSING))}" for key in unexplained]


def show(value: object) -> str:
    """A config value as people write it on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return "[" + ",".join(map(show, value)) + "]"
    return str(value)


def _labels(runs: Sequence[FinishedRun], top: str) -> list[str]:
    """Name the choice of one config group in each run, or describe it by the resolved config."""
    below = [_below(run, top) for run in runs]
    chosen: dict[str, str] = {}
    for run, values in zip(runs, below, strict=True):
        if top in run.choices:
            chosen.setdefault(_frozen(values), run.choices[top])
    return [
        run.choices.get(top) or chosen.get(_frozen(values)) or _description(values, top)
        for run, values in zip(runs, below, strict=True)
    ]


def _description(below: Mapping[str, Any], top: str) -> str:
    """A config group without a known choice: its phases, its name, or the class that it builds."""
    if isinstance(phases := below.get(f"{top}.phases.order"), list):
        return "+".join(f"{name} {show(below.get(f'{top}.phases.{name}.epochs'))}" for name in phases)
    return str(below.get(f"{top}.name") or str(below.get(f"{top}._target_", _MISSING)).rpartition(".")[2])


def _below(run: FinishedRun, top: str) -> dict[str, Any]:
    return {key: value for key, value in run.settings.items() if key.partition(".")[0] == top}


def _choices(config: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, str]:
    """`group=choice` words of the command line; the last one counts."""
    chosen = {}
    for word in overrides:
        key, sign, value = word.lstrip("+").partition("=")
        value = value.strip("'\"")
        is_group = key == "experiment" or isinstance(config.get(key), Mapping)
        if sign and is_group and value not in ("", "null"):
            chosen[key] = value
    return chosen


@functools.cache  # the keys of a thousand records are a hundred
def _left_out(key: str) -> bool:
    return key in ("seed", "experiment", "debug") or matches(key, LEFT_OUT)


def _partition(labels: Mapping[int, str]) -> dict[str, list[int]]:
    """The positions that share a label, by label."""
    sets: dict[str, list[int]] = defaultdict(list)
    for i, label in labels.items():
        sets[label].append(i)
    return dict(sets)


def _frozen(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _or_empty(read: Callable[[], Any], empty: object) -> Any:
    try:
        return read()
    except UserError:
        return empty
