"""What data sets of files share: which bytes a file holds, cheaply and surely, and trees that stay as they are."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from streetlab.data.archive import File, ZipMember
from streetlab.data.decode import UnreadablePhoto
from streetlab.data.index import split as splits
from streetlab.data.index.scan import Photo
from streetlab.data.source import make_cache_folder
from streetlab.errors import UserError

log = logging.getLogger(__name__)


def fingerprint(file: File) -> str:
    """Changes whenever the file's bytes may have changed; never fails."""
    if isinstance(file, ZipMember):
        return file.fingerprint()
    try:
        status = file.stat()
    except OSError:  # a link to nothing: reading it will say so
        return f"{file}:missing"
    if not os.access(file, os.R_OK):  # neither size nor time changes once it may be read
        return f"{file}:closed"
    return f"{file.resolve()}:{status.st_size}:{status.st_mtime_ns}"


def content_hash(file: File) -> str:
    """SHA-256 of the file's bytes, in hex. Raises `UnreadablePhoto` where they cannot be read."""
    try:
        return file.content_hash() if isinstance(file, ZipMember) else splits.content_hash(file)
    except OSError as error:
        raise UnreadablePhoto(f"{file}: cannot be read ({error.strerror or error})") from None


def refuse_cache_below(root: Path, cache_dir: Path) -> None:
    """Raise a UserError where the cache would lie under the data."""
    if cache_dir.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"dataset.cache_dir: {cache_dir} lies under the photos in {root}, which are never "
            "written to; give another with dataset.cache_dir=DIR"
        )


def place_photos(
    photos: list[Photo], root: Path, cache_dir: Path, names: tuple[str, ...], split_file: str | Path | None, seed: int
) -> list[Photo]:
    """The photos with the split of `split_file`, else the tree's own, else one that is drawn and kept.

    A drawn split is stratified 70/15/15; it is kept beside the cache as a file of content hashes, so that the
    same split returns wherever the photos lie and whatever they are called.

    Args:
        photos: of one tree; `split` is None in all of them where the tree has no split folders.
        names: the classes' names, for the error message.
        seed: of the draw.

    Raises:
        UserError: the split file does not fit, or there are too few photos to split.
    """
    if split_file is not None:
        path = Path(split_file).expanduser()
    elif photos[0].split is not None:
        return photos
    else:
        where = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]
        path = cache_dir / "splits" / f"{root.resolve().name}-{where}-seed{seed}.json"
        if not path.exists():
            _draw(path, photos, root, names, seed)
    return splits.apply_split(photos, splits.read_split(path), path)


def _draw(path: Path, photos: list[Photo], root: Path, names: tuple[str, ...], seed: int) -> None:
    hashes, labels = [splits.photo_hash(photo) for photo in photos], [photo.label for photo in photos]
    try:
        split = splits.stratified_split(hashes, labels, seed, names)
    except UserError as error:
        raise UserError(f"dataset.root: {root}: {error}") from None
    make_cache_folder(path.parent)
    splits.write_split(path, split, seed)
    log.info("drew a stratified 70/15/15 split of %d photos: %s", len(photos), path)
