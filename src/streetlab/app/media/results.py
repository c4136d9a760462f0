"""Result files: their names, their addresses, and writing them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from streetlab.io.filenames import ERRORS
from streetlab.io.files import csv_text

PHOTO, PHOTO_VIDEO = "photo.jpg", "photo.mp4"
IDS, IDS_VIDEO = "ids.png", "ids.webm"
CONFIDENCE, PALETTE = "confidence.png", "palette.png"
SHARES, PROBABILITIES = "shares.csv", "probabilities.csv"
OVERLAY, OVERLAY_VIDEO = "overlay.png", "overlay.mp4"
MEDIA_TYPES = {
    ".jpg": "image/jpeg", ".png": "image/png", ".mp4": "video/mp4", ".webm": "video/webm", ".csv": "text/csv",
}  # fmt: skip


def address(job_id: str, name: str) -> str:
    """The address of a file of a job."""
    return f"/api/jobs/{job_id}/files/{name}"


def addresses(job_id: str, **names: str) -> dict[str, str]:
    """The `files` of a result: an address for each role."""
    return {role: address(job_id, name) for role, name in names.items()}


def file_name(url: str) -> str:
    """The file name in an address."""
    return url.rpartition("/")[2]


def write(path: Path, content: bytes) -> None:
    """Write a file atomically. It is not synced to disk, because results are deleted with the server."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """Encode an image in one of Pillow's formats."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Encode rows with the same keys as CSV."""
    return csv_text(rows, list(rows[0])).encode(errors=ERRORS)
