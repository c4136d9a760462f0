"""Files that are written beside their final path and moved there when complete."""

from __future__ import annotations

import contextlib
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from streetlab.errors import UserError
from streetlab.inference.video.source import pyav, said


class Unfinished:
    """A temporary file in the folder of `path`, which is renamed at the end: readers see all of it or nothing."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        with self.writing():
            self.path.parent.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Raises UserError with the path for faults of the disk in the block, those that come through FFmpeg too."""
        try:
            yield
        except (OSError, pyav().error.FFmpegError) as error:
            raise UserError(f"cannot write {self.path}: {said(error)}") from error

    def finish(self) -> None:
        with self.writing():
            os.replace(self.temporary, self.path)  # noqa: PTH105  (the one atomic call)

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self.temporary.unlink()


class Output:
    """An `av` container under construction: `container` to mux into, then `close()`, or `abort()` to leave nothing."""

    def __init__(self, path: Path, format: str, options: Mapping[str, str]) -> None:
        self._file = Unfinished(path)
        self._open = True
        with self._file.writing():
            self.container: Any = pyav().open(
                f"file:{self._file.temporary}", "w", format=format, container_options=dict(options)
            )

    @property
    def path(self) -> Path:
        return self._file.path

    def writing(self) -> contextlib.AbstractContextManager[None]:
        return self._file.writing()

    def close(self) -> None:
        """Write the file's end and put it in place."""
        if not self._open:
            return
        self._open = False
        try:
            with self._file.writing():
                self.container.close()
            self._file.finish()
        finally:
            self._file.discard()

    def abort(self) -> None:
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(OSError, pyav().error.FFmpegError):
            self.container.close()
        self._file.discard()


class Writer(ABC):
    """Writes a file in a `with` block: its end completes the file, a fault in it leaves nothing."""

    @abstractmethod
    def close(self) -> None:
        """Write the end of the file and put it in place."""

    @abstractmethod
    def abort(self) -> None:
        """Leave nothing; a file that is complete stays."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
