"""The catalog of models: finished runs, exported files and checkpoints on disk, and networks in memory."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streetlab.app.models.entries import Entry, checkpoint_entry, export_entry, run_entry
from streetlab.app.models.naming import titles
from streetlab.datasets.labels import LabelSpace
from streetlab.errors import UserError, first_line
from streetlab.inference.export_metadata import EXPORTED, report_of
from streetlab.records.record import RunRecord, find_runs

if TYPE_CHECKING:
    from streetlab.app.settings import Settings
    from streetlab.inference.predictor import Predictor
    from streetlab.inference.views import Views

log = logging.getLogger(__name__)

_RESCAN_SECONDS = 3.0

Stamp = tuple[int, ...]
"""Times and sizes of files; entries read from them stay valid as long as these are unchanged."""


class UnknownModel(UserError):  # noqa: N818  (what it is, not what went wrong)
    """No model has this id."""


class Catalog:
    """Models on disk and in memory: each is loaded once, and the least recently used are dropped to save memory.

    Args:
        settings: `runs` and `models` are listed; `memory_bytes` bounds all loaded networks together, but one is
            always kept; `device`, `precision` and `batch_size` are passed to the predictors.
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
        """All models as `/api/models` lists them: by task, best score first. The disk is scanned every few seconds."""
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
        """Get the model's network, loading it if needed; safe to call from several threads.

        A network that is dropped to save memory stays usable for those who still hold it.

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
        for file, run in self._on_disk():
            if file in read:
                continue
            beside = [run.path / "status.json"] if run else []
            if file.suffix in EXPORTED:
                beside.append(report_of(file))
            stamp = _stamp(file, *beside)
            before = self._read_at.get(file)
            unchanged = before is not None and before[0] == stamp
            read[file] = before if before and unchanged else (stamp, self._read(file, run))
        self._read_at = read
        entries = [entry for _, entry in read.values() if entry is not None]
        names = titles([(entry.plain["title"], entry.seed, entry.plain["name"]) for entry in entries])
        plain = [entry.plain | {"title": title} for entry, title in zip(entries, names, strict=True)]
        self._listed = sorted(plain, key=_best_first)
        self._entries = {
            listed["id"]: Entry(entry.path, entry.run, entry.label_space, entry.seed, listed)
            for entry, listed in zip(entries, plain, strict=True)
        }
        self._scanned = time.monotonic()

    def _on_disk(self) -> Iterator[tuple[Path, RunRecord | None]]:
        """Yield file and record of each run's best checkpoint, its exported files, and each file named in the settings.

        The paths are resolved.
        """
        folders = [Path(self.settings.runs), *map(Path, self.settings.models)]
        for folder in folders:
            if folder.is_file():
                file = folder.resolve()
                run = RunRecord(file.parents[1])
                is_runs = file.name == "best.ckpt" or (file.suffix in EXPORTED and file.parent.name == "export")
                finished = is_runs and (run.path / "status.json").is_file() and run.unfinished() is None
                yield file, run if finished else None
            elif folder.is_dir():
                for run in find_runs(folder.resolve()):
                    checkpoint = run.checkpoints / "best.ckpt"
                    if checkpoint.is_file():
                        yield checkpoint, run
                    exported = (run.path / "export").glob("[!.]*")
                    yield from ((file, run) for file in sorted(exported) if file.suffix in EXPORTED)

    def _read(self, file: Path, run: RunRecord | None) -> Entry | None:
        """Read the entry of a model; None, with a line in the log, where it cannot be read."""
        try:
            if run is not None and run.unfinished() is not None:
                return None
            if file.suffix in EXPORTED:
                return export_entry(file, run)
            return self._read_checkpoint(file) if run is None else run_entry(file, run)
        except UserError as error:
            log.warning("left out: %s", error)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # a value of another kind than ours
            reason = f"{type(error).__name__}: {error}"
            log.warning("left out: %s is damaged (%s)", run.path if run else file, reason)
        return None

    def _read_checkpoint(self, path: Path) -> Entry:
        predictor = self._load(path, None, path.name)
        entry = checkpoint_entry(path, predictor)
        self._keep(entry.plain["id"], _stamp(path), predictor)
        return entry

    def _load(self, path: Path, run: RunRecord | None, title: str) -> Predictor:
        from streetlab.inference.predictor import Predictor

        settings = self.settings
        options: dict[str, Any] = {"device": settings.device, "batch_size": settings.batch_size}
        with_precision = options | {"precision": settings.precision}
        began = time.perf_counter()
        try:
            if path.suffix in EXPORTED:
                predictor = Predictor.from_export(path, **options)
            else:
                predictor = (
                    Predictor.from_run(run, **with_precision)
                    if run
                    else Predictor.from_checkpoint(path, **with_precision)
                )
        except UserError as error:
            log.warning("%s does not load: %s", path, error)
            raise UserError(f"model: {title} does not load ({_without_folders(error, path)})") from error
        except Exception as error:  # torch raises anything on damaged files: the visitor gets a line, the log the rest
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


def _best_first(plain: Mapping[str, Any]) -> tuple[Any, ...]:
    score = plain["score"]
    return plain["task"], score is None, -(score or 0.0), plain["title"], plain["id"]


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


def _without_folders(message: object, path: Path) -> str:
    """Remove the folders of this machine from a message for visitors."""
    text = " ".join(str(message).split())
    for folder in path.parents:
        if len(folder.parts) > 1:
            text = text.replace(f"{folder}/", "")
    return text
