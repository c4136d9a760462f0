"""Take folders out of a zip, all or nothing, and hash what came out."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from streetlab.errors import UserError
from streetlab.io.files import cannot_write, file_sha256


def unpack(archive: Path, inside: str, folders: Sequence[str], target: Path, sha256: str | None) -> str:
    """Unpack `<first folder>/<inside>/<one of folders>/...` of a zip into `target`, which is there whole or not at all.

    Args:
        sha256: of the files, see `files_sha256`; None: not known.

    Returns:
        The files' SHA-256.

    Raises:
        UserError: no zip, damaged, without such a folder, or with other files; a full disk; something at `target`.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        _extract(archive, inside, folders, temporary)
        digest = files_sha256(temporary, folders)
        if sha256 is not None and digest != sha256:
            archive.unlink()
            raise UserError(f"{archive}: the SHA-256 of its files is {digest}, not {sha256}; it was deleted, try again")
        temporary.replace(target)  # refused where a folder with something in it is there
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        archive.unlink()
        raise UserError(f"{archive} is damaged or no zip ({error}); it was deleted, try again") from None
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return digest


def files_sha256(root: Path, folders: Sequence[str]) -> str:
    """Hash the files of some folders: SHA-256 of the lines that `sha256sum` prints for them, sorted by path."""
    paths = [path for folder in folders for path in (root / folder).rglob("*") if path.is_file()]
    lines = {path.relative_to(root).as_posix(): file_sha256(path) for path in paths}
    return hashlib.sha256("".join(f"{lines[name]}  {name}\n" for name in sorted(lines)).encode()).hexdigest()


def is_whole_zip(path: Path) -> bool:
    """Tell whether a zip was brought to its end, where its directory stands."""
    return path.is_file() and zipfile.is_zipfile(path)


def _extract(archive: Path, inside: str, folders: Sequence[str], target: Path) -> None:
    seen = set()
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            parts = PurePosixPath(member.filename).parts
            if member.is_dir() or len(parts) < 4 or parts[1] != inside or parts[2] not in folders or ".." in parts:
                continue
            seen.add(parts[2])
            path = target.joinpath(*parts[2:])
            path.parent.mkdir(parents=True, exist_ok=True)
            with packed.open(member) as source, path.open("wb") as file:
                shutil.copyfileobj(source, file)
    for folder in folders:
        if folder not in seen:
            raise UserError(f"{archive}: there is no {inside}/{folder}/ in it; the source has changed")
