"""The journal of `streetlab predict`: one line per finished file, from which a killed call resumes."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from streetlab.errors import UserError
from streetlab.inference.sources import Item
from streetlab.io import files
from streetlab.io.filenames import as_text, from_text
from streetlab.records.lock import sole_writer
from streetlab.records.process_status import is_running

LINES, MADE_WITH = "predictions.jsonl", "predict.json"
Line = dict[str, Any]
_NAMES = ("file", "path", "stem")
"""What a line holds of names; they are text in the file alone, see `filenames`."""


class Journal:
    """predictions.jsonl of a folder of results, and predict.json, which says what they were made with.

    Use it in a `with` block; a second process is refused while it lasts.

    Args:
        output: the folder; made where it is missing.
        made_with: the checkpoint (`checkpoint`, its sha256) and the `settings` that the results follow from.
        resume: go on where an earlier call stopped; else its results are deleted first.

    Attributes:
        lines: the last line of each file, by the file's absolute path.

    Raises:
        UserError: the folder holds something else or results of other settings, another process writes to it, or
            it cannot be written.
    """

    def __init__(self, output: Path, made_with: Mapping[str, Any], resume: bool = True) -> None:
        self.output, self.path = output, output / LINES
        self._made_with: dict[str, Any] = json.loads(files.json_text(made_with))  # as it will be read again
        before = self._earlier()
        with ExitStack() as held:
            self._make_folder()
            held.enter_context(sole_writer(output, _writer(before)))
            before = self._earlier()  # as the one that wrote before has left it
            if before is not None and not resume:
                self._start_over()
            elif before is not None:
                self._refuse_others(before)
            if before is not None and before.get("state") != "completed":
                files.clear_unfinished(self.output)
            self._mark("running")
            self.lines = {line["path"]: line for line in self._read()}
            try:
                self._file = self.path.open("ab")
            except OSError as error:
                raise self._cannot_write(error) from None
            self._held = held.pop_all()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            self._file.close()
            self._mark("interrupted" if kind else "completed")

    def is_done(self, item: Item) -> bool:
        """Tell whether a file's results are there and it has not changed since.

        A file without any result is tried again: what was wrong may not have been the file's fault.
        """
        line = self.lines.get(str(item.path))
        if line is None or (line["bytes"], line["modified"]) != (item.bytes, item.modified):
            return False
        if line.get("error") and not line["outputs"]:
            return False
        return all((self.output / name).is_file() for name in line["outputs"])

    def record(self, item: Item, stem: str, outputs: Iterable[str], result: Mapping[str, Any]) -> None:
        """Note that a file is done, now that its results are written; earlier ones that are not among them go.

        Args:
            stem: what its results are called.
            outputs: their paths under the folder.
            result: what else is to be said of it; `error` where it could not be predicted, or not to its end.
        """
        line: Line = {
            "file": item.file,
            "path": str(item.path),
            "kind": item.kind,
            "bytes": item.bytes,
            "modified": item.modified,
            "stem": stem,
            "outputs": list(outputs),
            **files.to_plain(result),
        }
        stale = set(self.lines.get(line["path"], {}).get("outputs", ())) - set(line["outputs"])
        try:
            self._file.write(_coded(line))
            self._file.flush()
        except OSError as error:
            raise self._cannot_write(error) from None
        self.lines[line["path"]] = line
        self._remove(stale)

    def compact(self) -> None:
        """Write the file anew without the lines that later ones have replaced."""
        self._file.flush()
        content = b"".join(map(_coded, self.lines.values()))
        if content != self.path.read_bytes():
            files.write_bytes(self.path, content)

    def _read(self) -> list[Line]:
        """The whole lines; half of one, where a process was killed as it wrote, is cut off."""
        try:
            content = self.path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(self.path, whole)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._cannot_write(error) from None
        read = (_decoded(line) for line in content[:whole].split(b"\n"))
        return [line for line in read if line is not None]

    def _earlier(self) -> dict[str, Any] | None:
        """Read the predict.json of an earlier call; None where the folder is new."""
        if self.output.exists() and not self.output.is_dir():
            raise UserError(f"output: {self.output} is a file; give a folder with output=DIR")
        try:
            before = json.loads((self.output / MADE_WITH).read_text(encoding="utf-8"))
            if not isinstance(before["settings"], dict) or not isinstance(before["checkpoint"], str):
                raise TypeError
        except (FileNotFoundError, NotADirectoryError):
            others = [path.name for path in self.output.iterdir()] if self.output.exists() else []
            if others:
                raise UserError(
                    f"output: {self.output} holds other things ({min(others)}); give another with output=DIR"
                ) from None
            return None
        except PermissionError:
            raise UserError(f"output: no permission to read {self.output}; give another with output=DIR") from None
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(
                f"output: {self.output / MADE_WITH} cannot be read; give another folder with output=DIR"
            ) from None
        return before

    def _make_folder(self) -> None:
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot_write(error) from None

    def _refuse_others(self, before: Mapping[str, Any]) -> None:
        """Raise the UserError that says in what the folder's results differ from those that are asked for."""
        way_out = "give another folder with output=DIR, or resume=false to start over"
        if before["checkpoint"] != self._made_with["checkpoint"]:
            raise UserError(f"output: {self.output} holds predictions of other weights ({before['model']}); {way_out}")
        asked = self._made_with["settings"]
        for key in dict.fromkeys((*asked, *before["settings"])):
            then, now = before["settings"].get(key), asked.get(key)
            if then != now:
                raise UserError(
                    f"output: {self.output} holds predictions with {key}={_typed(then)}, not {key}={_typed(now)}; "
                    f"{way_out}"
                )

    def _start_over(self) -> None:
        """Delete what earlier calls have written, as far as their journal tells."""
        self._remove({name for line in self._read() for name in line["outputs"]})
        try:
            for path in (*self.output.glob("*.csv"), self.path):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise self._cannot_write(error) from None

    def _remove(self, names: Iterable[str]) -> None:
        """Delete results; a name that leads out of the folder is none of ours."""
        inside = Path(os.path.realpath(self.output))
        for name in names:
            path = self.output / name
            if Path(os.path.realpath(path)).is_relative_to(inside):
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise self._cannot_write(error) from None

    def _mark(self, state: str) -> None:
        who = {"state": state, "process": os.getpid(), "host": socket.gethostname()}
        files.write_json(self.output / MADE_WITH, self._made_with | who)

    def _cannot_write(self, error: OSError) -> UserError:
        where = error.filename or self.path
        return UserError(f"output: cannot write {where} ({error.strerror or error}); give another with output=DIR")


def _writer(before: Mapping[str, Any] | None) -> int | None:
    """The process that the predict.json of an earlier call names, if that runs."""
    if before is None or before.get("state") != "running":
        return None
    process = before.get("process")
    return process if is_running(before.get("host"), process) else None


def _coded(line: Line) -> bytes:
    names: Line = {key: as_text(line[key]) for key in _NAMES} | {"outputs": list(map(as_text, line["outputs"]))}
    return files.json_text(line | names).encode() + b"\n"


def _decoded(content: bytes) -> Line | None:
    """The line; None where it is not one of ours."""
    try:
        line = json.loads(content.decode("utf-8", errors="surrogateescape"))
        if not all(key in line for key in ("kind", "bytes", "modified")) or not isinstance(line["outputs"], list):
            return None
        names: Line = {key: from_text(line[key]) for key in _NAMES}
        return {**line, **names, "outputs": list(map(from_text, line["outputs"]))}
    except (ValueError, KeyError, TypeError):
        return None


def _typed(value: object) -> str:
    """A setting as it is typed."""
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
