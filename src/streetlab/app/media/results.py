"""What the results of photos and videos have in common: what their files are called, written and asked for."""

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
    """Where the page asks for a file of a job."""
    return f"/api/jobs/{job_id}/files/{name}"


def addresses(job_id: str, **names: str) -> dict[str, str]:
    """`files` of a result: what each is, and where it is asked for."""
    return {what: address(job_id, name) for what, name in names.items()}


def file_name(url: str) -> str:
    """The name of the file that an address of a result leads to."""
    return url.rpartition("/")[2]


def write(path: Path, content: bytes) -> None:
    """Write a file in one step. It is not forced to the disk: a result does not outlive the server anyway."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """The image as a file of Pillow's format."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows with the same keys as CSV."""
    return csv_text(rows, list(rows[0])).encode(errors=ERRORS)
