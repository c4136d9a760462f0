"""The models that the page offers: finished runs and checkpoints on disk, and their networks in memory."""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streetlab.app.naming import data_set_name, network_name, titles, variant_name
from streetlab.data.index.labels import LabelSpace
from streetlab.errors import UserError, first_line
from streetlab.runs.record import RunRecord, find_runs
from streetlab.viz.figure import hex_color

if TYPE_CHECKING:
    from streetlab.app.settings import Settings
    from streetlab.inference.predictor import Predictor
    from streetlab.inference.views import Views

log = logging.getLogger(__name__)

_RESCAN_SECONDS = 3.0
_ID_LENGTH = 16

Stamp = tuple[int, ...]
"""When files were last written: what was read of them holds as long as this is the same."""


class UnknownModel(UserError):  # noqa: N818  (what it is, not what went wrong)
    """No model has this id."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One model on disk.

    Attributes:
        path: its checkpoint.
        run: the record that it belongs to; None for a checkpoint alone.
        label_space: its classes.
        seed: of the run, where known.
        plain: its entry in `/api/models`.
    """

    path: Path
    run: RunRecord | None
    label_space: LabelSpace
    seed: Any
    plain: dict[str, Any]


class Catalog:
    """Lists models, loads each once, and drops the least recently used when they take too much memory.

    Args:
        settings: `runs` and `models` are what is listed; `memory_bytes` bounds all loaded networks together, of
            which one is kept in any case; `device`, `precision` and `batch_size` are how they predict.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._read_at: dict[Path, tuple[Stamp, Entry | None]] = {}  # None: no model there, or a damaged one
        self._entries: dict[str, Entry] = {}
        self._listed: list[dict[str, Any]] = []
        self._scanned = float("-inf")
        self._scanning = threading.Lock()
        self._loaded: OrderedDict[str, tuple[Stamp, Predictor]] = OrderedDict()
        self._loaded_lock = threading.Lock()
        self._loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def models(self) -> list[dict[str, Any]]:
        """Every model as `/api/models` lists it: by task, the best score first. The disk is asked every few seconds."""
        with self._scanning:
            if time.monotonic() - self._scanned > _RESCAN_SECONDS:
                self._scan()
            return list(self._listed)

    def entry(self, model_id: str) -> dict[str, Any]:
        """The model as `/api/models` lists it.

        Raises:
            UnknownModel: there is none of this id.
        """
        return self._entry(model_id).plain

    def label_space(self, model_id: str) -> LabelSpace:
        """The model's classes.

        Raises:
            UnknownModel: there is none of this id.
        """
        return self._entry(model_id).label_space

    def predictor(self, model_id: str, views: Views | None = None) -> Predictor:
        """The model's network, loaded if it is not; several threads may ask, and each model loads on its own.

        One that is dropped to make room stays whole for whoever still has it.

        Raises:
            UnknownModel: there is none of this id.
            UserError: it does not load.
        """
        entry = self._entry(model_id)
        with self._loading[model_id]:
            predictor = self._kept(model_id, entry)
            if predictor is None:
                predictor = self._load(entry.path, entry.run, entry.plain["title"])
                self._keep(model_id, _stamp(entry.path), predictor)
        return predictor if views is None else predictor.seen_through(views)

    def loaded(self) -> list[str]:
        """The ids of the models in memory, the least recently used first."""
        with self._loaded_lock:
            return list(self._loaded)

    def _entry(self, model_id: str) -> Entry:
        self.models()
        entry = self._entries.get(model_id)
        if entry is None:
            raise UnknownModel("model: no such model here (any more); /api/models lists those that are")
        return entry

    def _scan(self) -> None:
        read: dict[Path, tuple[Stamp, Entry | None]] = {}
        for checkpoint, run in self._on_disk():
            if checkpoint in read:
                continue
            stamp = _stamp(checkpoint, *([run.path / "status.json"] if run else []))
            before = self._read_at.get(checkpoint)
            unchanged = before is not None and before[0] == stamp
            read[checkpoint] = before if before and unchanged else (stamp, self._read(checkpoint, run))
        self._read_at = read
        found = [entry for _, entry in read.values() if entry is not None]
        names = titles([(entry.plain["title"], entry.seed, entry.plain["name"]) for entry in found])
        plain = [entry.plain | {"title": title} for entry, title in zip(found, names, strict=True)]
        self._listed = sorted(plain, key=_best_first)
        self._entries = {
            listed["id"]: Entry(entry.path, entry.run, entry.label_space, entry.seed, listed)
            for entry, listed in zip(found, plain, strict=True)
        }
        self._scanned = time.monotonic()

    def _on_disk(self) -> Iterator[tuple[Path, RunRecord | None]]:
        """Checkpoint and record of every run that has its best epoch, and every checkpoint named, each resolved."""
        folders = [Path(self.settings.runs), *map(Path, self.settings.models)]
        for folder in folders:
            if folder.is_file():
                checkpoint = folder.resolve()
                run = RunRecord(checkpoint.parents[1])
                is_best = checkpoint.name == "best.ckpt" and (run.path / "status.json").is_file()
                yield checkpoint, run if is_best and run.unfinished() is None else None
            elif folder.is_dir():
                for run in find_runs(folder.resolve()):
                    checkpoint = run.checkpoints / "best.ckpt"
                    if checkpoint.is_file():
                        yield checkpoint, run

    def _read(self, checkpoint: Path, run: RunRecord | None) -> Entry | None:
        """The model at that place; None, with a line in the log, where it cannot be read."""
        try:
            if run is None:
                return self._read_checkpoint(checkpoint)
            return _read_run(checkpoint, run) if run.unfinished() is None else None
        except UserError as error:
            log.warning("left out: %s", error)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # a value of another kind than ours
            what = f"{type(error).__name__}: {error}"
            log.warning("left out: %s is damaged (%s)", run.path if run else checkpoint, what)
        return None

    def _read_checkpoint(self, path: Path) -> Entry:
        """A checkpoint alone says what it is only when it is loaded."""
        predictor = self._load(path, None, path.name)
        model_id = _model_id(path)
        self._keep(model_id, _stamp(path), predictor)
        plain = _plain(
            id=model_id, name=predictor.name, title=predictor.name, variant=None, data_set=None,
            image_size=list(predictor.image_size), label_space=predictor.label_space,
            cost={"checkpoint_bytes": path.stat().st_size},
        )  # fmt: skip
        return Entry(path, None, predictor.label_space, None, plain)

    def _load(self, path: Path, run: RunRecord | None, title: str) -> Predictor:
        from streetlab.inference.predictor import Predictor

        settings = self.settings
        how: dict[str, Any] = {
            "device": settings.device, "precision": settings.precision, "batch_size": settings.batch_size,
        }  # fmt: skip
        began = time.perf_counter()
        try:
            predictor = Predictor.from_run(run, **how) if run else Predictor.from_checkpoint(path, **how)
        except UserError as error:
            log.warning("%s does not load: %s", path, error)
            raise UserError(f"model: {title} does not load ({_without_folders(error, path)})") from error
        except Exception as error:  # whatever a damaged file makes of torch: the visitor gets a line, the log the rest
            log.exception("%s does not load", path)
            line = _without_folders(first_line(error) or type(error).__name__, path)
            raise UserError(f"model: {title} does not load ({line})") from error
        log.info("loaded %s in %.1f s", path, time.perf_counter() - began)
        return predictor

    def _kept(self, model_id: str, entry: Entry) -> Predictor | None:
        with self._loaded_lock:
            stamp, predictor = self._loaded.get(model_id, (None, None))
            if predictor is None or stamp != _stamp(entry.path):
                return None
            self._loaded.move_to_end(model_id)
            return predictor

    def _keep(self, model_id: str, stamp: Stamp, predictor: Predictor) -> None:
        with self._loaded_lock:
            self._loaded[model_id] = (stamp, predictor)
            self._loaded.move_to_end(model_id)
            while len(self._loaded) > 1 and self._memory() > self.settings.memory_bytes:
                dropped, _ = self._loaded.popitem(last=False)
                log.info("dropped model %s to make room", dropped)

    def _memory(self) -> int:
        return sum(predictor.memory_bytes for _, predictor in self._loaded.values())


def _read_run(checkpoint: Path, run: RunRecord) -> Entry:
    """The entry of a completed run.

    Raises:
        UserError: a file of the record is missing or damaged.
        AttributeError, KeyError, TypeError, ValueError: it holds values of another kind than a record does.
    """
    status, metrics, config = run.status, run.metrics, run.config
    label_space = LabelSpace.from_dict(metrics["label_space"])
    split = str(metrics.get("eval_split") or "test")
    numbers = {key: value for key, value in metrics[split].items() if _is_number(value)}
    objective = metrics["objective"]["metric"]
    experiment = (status.get("choices") or {}).get("experiment") or _experiment(run)
    variant, data_set = variant_name(experiment), data_set_name(config["dataset"]["name"])
    title = f"{variant or network_name(config['model'])} on {data_set}"
    plain = _plain(
        id=_model_id(checkpoint), name=run.name, title=title, variant=variant, data_set=data_set,
        image_size=list(config["image_size"]), label_space=label_space, objective=objective,
        score=numbers.get(objective), metrics=numbers, split=split, cost=_cost(run), ended=status.get("ended"),
        calibrated=numbers.get("temperature") is not None,
    )  # fmt: skip
    return Entry(checkpoint, run, label_space, config.get("seed"), plain)


def _plain(
    *, label_space: LabelSpace, cost: Mapping[str, Any], objective: str | None = None, score: float | None = None,
    metrics: Mapping[str, float] | None = None, split: str | None = None, ended: str | None = None,
    calibrated: bool = False, **named: Any,
) -> dict[str, Any]:  # fmt: skip
    """An entry of `/api/models`; what is not known is null."""
    categories = label_space.categories or (None,) * len(label_space)
    criteria = label_space.criteria or (None,) * len(label_space)
    return {
        **named,
        "task": label_space.task,
        "classes": [
            {"name": name, "color": hex_color(color), "category": category, "criterion": criterion}
            for name, color, category, criterion in zip(
                label_space.names, label_space.palette, categories, criteria, strict=True
            )
        ],
        "label_space": label_space.name,
        "ordinal": label_space.ordinal,
        "objective": objective,
        "score": score,
        "metrics": dict(metrics or {}),
        "split": split,
        "parameters": cost.get("parameters"),
        "gmacs": cost.get("gmacs"),
        "checkpoint_bytes": cost.get("checkpoint_bytes"),
        "images_per_second": cost.get("images_per_second"),
        "ended": ended,
        "calibrated": calibrated,
    }


def _experiment(run: RunRecord) -> str | None:
    """The preset of a record that keeps no choices: what was asked names it."""
    try:
        asked = [word.partition("=") for word in run.overrides]
    except UserError:
        return None
    return next((value for key, _, value in reversed(asked) if key.lstrip("+") == "experiment"), None)


def _cost(run: RunRecord) -> dict[str, Any]:
    try:
        return run.model
    except UserError:  # a run can be shown without what it costs
        return {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _best_first(plain: Mapping[str, Any]) -> tuple[Any, ...]:
    score = plain["score"]
    return plain["task"], score is None, -(score or 0.0), plain["title"], plain["id"]


def _model_id(checkpoint: Path) -> str:
    """The same after every restart, and no path: a bookmark may hold it and anyone may see it."""
    return hashlib.sha256(str(checkpoint).encode("utf-8", "surrogateescape")).hexdigest()[:_ID_LENGTH]


def _stamp(*paths: Path) -> Stamp:
    """Times and sizes of the files; zeros for one that is not there."""
    stamp: list[int] = []
    for path in paths:
        try:
            stat = path.stat()
        except OSError:
            stamp += [0, 0]
        else:
            stamp += [stat.st_mtime_ns, stat.st_size]
    return tuple(stamp)


def _without_folders(said: object, path: Path) -> str:
    """A message without where on this machine the files lie, which is no visitor's business."""
    text = " ".join(str(said).split())
    for folder in path.parents:
        if len(folder.parts) > 1:
            text = text.replace(f"{folder}/", "")
    return text
