"""Download a file over HTTP: continued where it was cut, checked before it gets its name."""

from __future__ import annotations

import fcntl
import re
import shutil
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from io import FileIO
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener, urlopen

from streetlab import __version__
from streetlab.errors import UserError
from streetlab.io.files import cannot_write, file_sha256, write_text

Show = Callable[[int, int | None], None]
"""A call `show(done, total)` with bytes; total is None where the server does not say."""

_CHUNK = 1 << 18
_SILENCE = 30.0
"""Seconds without a byte after which the connection counts as cut."""
_TRIES = 5
"""Attempts in a row that bring nothing new before it is given up."""
_PAUSE = 1.0
"""Seconds before the second attempt; doubled for each further one that brings nothing."""
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses of a fault that may pass."""


class DownloadError(Exception):
    """The file could not be had over the network."""


def download(url: str, target: Path, sha256: str | None = None, show: Show = lambda done, total: None) -> str:
    """Bring the file at `url` to `target`, and return its SHA-256 in hex.

    What has come lies in `<target>.part` until it is complete and right, and a later call goes on there. It does so
    where the server still has the same file (its ETag or date), or where `sha256` shows a mixture afterwards.

    Args:
        sha256: the digest, or its first digits; None: not known, and the file is taken as it comes.

    Raises:
        DownloadError: no network, no such file there, or a server that keeps cutting the connection.
        UserError: the digest is another, the disk is full or cannot be written, or another process brings the file.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("ab", buffering=0)  # a full disk shows at the write, not at the closing
    except OSError as error:
        raise cannot_write(part, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{part}: another process is bringing this file; wait for it") from None
        try:
            _receive_all(url, part, file, sha256 is not None, show)
        finally:
            if file.tell() == 0:  # nothing to go on with
                part.unlink()
                _validator_file(part).unlink(missing_ok=True)
        digest = file_sha256(part)
        if sha256 is not None and not digest.startswith(sha256):
            part.unlink()
            _validator_file(part).unlink(missing_ok=True)
            raise UserError(
                f"{url}: its SHA-256 is {digest}, not {sha256}{'…' if len(sha256) < 64 else ''}: "
                "it was damaged on the way or is another file by now; what came was deleted, try once more"
            )
        _validator_file(part).unlink(missing_ok=True)
        part.replace(target)
    return digest


def stated_sha256(url: str) -> str | None:
    """Ask a server for the SHA-256 of a file, as hubs state it beside the address that they lead on to.

    Hugging Face's hub names the SHA-256 of a large file in the header `X-Linked-ETag`; it has 64 digits then.

    Returns:
        None where the server states none, or can't be reached.
    """
    request = Request(url, headers={"User-Agent": f"streetlab/{__version__}"}, method="HEAD")
    try:
        with build_opener(_NoRedirect).open(request, timeout=_SILENCE) as response:
            headers = response.headers
    except HTTPError as error:  # which an answer that leads on elsewhere is, where that is not followed
        headers = error.headers
        error.close()
    except (OSError, HTTPException):
        return None
    match = re.fullmatch(r'"?([0-9a-f]{64})"?', headers.get("X-Linked-ETag") or "")
    return match[1] if match else None


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow nothing: what the first server states is lost on the way."""


def _receive_all(url: str, part: Path, file: FileIO, checked: bool, show: Show) -> None:
    furthest, failures = file.tell(), 0
    answered = False  # a server that has answered once is worth another attempt
    while True:
        try:
            _receive(url, part, file, checked, show)
            return
        except HTTPError as error:
            if error.code not in _AGAIN:
                raise DownloadError(f"{url}: the server answers {error.code} {error.reason}") from None
            answered, reason = True, f"the server answers {error.code} {error.reason}"
        except URLError as error:  # no connection
            reason = _reason(error.reason)
            if not answered:
                raise DownloadError(f"{url} can't be reached ({reason})") from None
        except (HTTPException, OSError) as error:
            answered, reason = True, _reason(error)
        here = file.tell()
        failures = 0 if here > furthest else failures + 1
        furthest = max(furthest, here)
        if failures == _TRIES:
            raise DownloadError(f"{url}: {reason}" + (f"; {here:,} bytes are kept for the next time" if here else ""))
        time.sleep(_PAUSE * 2**failures)


def _reason(error: object) -> str:
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


def _receive(url: str, part: Path, file: FileIO, checked: bool, show: Show) -> None:
    """One request; returns when the file is complete."""
    kept = _validator_file(part)
    validator = kept.read_text() if kept.is_file() else ""
    start = file.tell() if validator or checked else 0
    headers = {"User-Agent": f"streetlab/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    try:
        response = urlopen(Request(url, headers=headers), timeout=_SILENCE)
    except HTTPError as error:
        if error.code != 416:  # nothing lies behind the last byte that we have
            raise
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return
        _empty(part, file)
        raise ConnectionError("the server has another file by now") from None
    with response:
        if start and _first_byte(response) != start:
            if response.status == 206:
                _empty(part, file)
                raise ConnectionError("the server sends another part than the one requested")
            start = 0  # it does not continue files, or has another one by now
        if start == 0:
            _empty(part, file)
        write_text(kept, _validator(response))
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        _check_space(part, (total or 0) - start)
        show(start, total)
        while chunk := response.read(_CHUNK):
            _append(part, file, chunk)
            show(file.tell(), total)
        if total is not None and file.tell() < total:
            raise ConnectionError(f"the connection was cut after {file.tell():,} of {total:,} bytes")


def _first_byte(response: HTTPResponse) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
    return int(match[1]) if response.status == 206 and match else None


def _validator(response: HTTPResponse) -> str:
    """Return the value for `If-Range`: the strong ETag, else the date; empty where there is neither."""
    tag = response.headers.get("ETag") or ""
    return tag if tag.startswith('"') else response.headers.get("Last-Modified") or ""


def _validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _append(part: Path, file: FileIO, chunk: bytes) -> None:
    try:
        while chunk:
            chunk = chunk[file.write(chunk) :]
    except OSError as error:
        raise cannot_write(part, error) from error


def _empty(part: Path, file: FileIO) -> None:
    if file.tell() == 0:
        return
    try:
        file.truncate(0)
        file.seek(0)
    except OSError as error:
        raise cannot_write(part, error) from error


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise UserError(
            f"cannot write {part}: {needed:,} bytes are to come and {free:,} are free; "
            "free some space or choose another folder with output=DIR"
        )
