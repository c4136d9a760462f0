"""Videos whose every frame says its number, in the photo and in the ids: what a stage shows can be checked."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = 19
BITS = 8
FPS = Fraction(30000, 1001)


def numbered_ids(frame: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) ids that differ in almost every pixel from those of any other of 256 frames."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    return ((x // 3 + y // 2 * 5 + frame * (1 + x % 4) + frame // CLASSES * (y % 3)) % CLASSES).astype(np.uint8)


def numbered_confidence(frame: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) confidences, each over 2x2 pixels one of the 21 values that an id stream holds."""
    height, width = size
    y, x = np.mgrid[:height, :width] // 2
    return np.rint((x + y + frame) % 21 * (255 / 20)).astype(np.uint8)


def numbered_photo(frame: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) bars from left to right: bit b of the number is bar b, bright or dark."""
    height, width = size
    pixels = np.zeros((height, width, 3), np.uint8)
    for bit in range(BITS):
        pixels[:, bit * width // BITS : (bit + 1) * width // BITS] = 235 if frame >> bit & 1 else 20
    return pixels


def write_numbered(folder: Path, frames: int, size: tuple[int, int], sound: Path | None = None) -> dict[str, Any]:
    """Write `photo.mp4` and `ids.webm` into the folder; what a job's result says of them, the addresses apart."""
    from streetlab.inference.video.id_stream import IdStreamWriter
    from streetlab.inference.video.writer import VideoWriter

    with (
        VideoWriter(folder / "photo.mp4", size, FPS, 1 / FPS, audio_from=sound) as photo,
        IdStreamWriter(folder / "ids.webm", size, CLASSES, FPS, 1 / FPS) as ids,
    ):
        for frame in range(frames):
            photo.write(numbered_photo(frame, size), frame)
            ids.write(numbered_ids(frame, size), numbered_confidence(frame, size), frame)
    return {
        "task": "segmentation",
        "width": size[1],
        "height": size[0],
        "fps": f"{FPS.numerator}/{FPS.denominator}",
        "frames": frames,
        "times": [round(float(frame / FPS), 6) for frame in range(frames)],
        "layout": ids.layout.to_dict(),
        "audio": sound is not None,
        "broken": None,
    }
