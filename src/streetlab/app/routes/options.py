"""Query parameters of a prediction."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from streetlab.errors import UserError, did_you_mean

PARAMETERS = ("model", "name", "source", "mode", "flip", "scales", "smooth", "cam", "blur")
_MOST_SCALES = 5
_SMALLEST, _LARGEST = 0.25, 2.0


def check_names(names: Iterable[str]) -> None:
    """Refuse unknown parameters, which would else be ignored silently.

    Raises:
        UserError: one is unknown (the nearest known one is named) or given twice.
    """
    seen: set[str] = set()
    for name in names:
        if name not in PARAMETERS:
            near = did_you_mean(name[:40], PARAMETERS)
            raise UserError(f"no parameter {name[:40]!a}{near} (parameters: {', '.join(PARAMETERS)})")
        if name in seen:
            raise UserError(f"{name} is given twice")
        seen.add(name)


def read_options(mode: str, flip: bool, scales: str, smooth: float, cam: bool, blur: bool = False) -> dict[str, Any]:
    """Check the options of a job.

    Args:
        scales: the network sees the photo at these multiples of its size, `0.75,1,1.25`.
        smooth: weight of the frame before in a video, from 0 to below 1.
        blur: hide people and vehicles.

    Raises:
        UserError: one is out of range.
    """
    if not 0 <= smooth < 1:
        raise UserError(f"smooth: {smooth:g} is not from 0 to below 1")
    options = {"mode": mode, "flip": flip, "scales": _scales(scales), "smooth": smooth, "cam": cam}
    return options | ({"blur": True} if blur else {})


def _scales(words: str) -> list[float]:
    try:
        scales = [float(word) for word in words.split(",")]
    except ValueError:
        raise UserError(f"scales: {words[:40]!a} is not a list of numbers such as 0.75,1,1.25") from None
    if len(scales) > _MOST_SCALES or not all(math.isfinite(s) and _SMALLEST <= s <= _LARGEST for s in scales):
        raise UserError(f"scales: at most {_MOST_SCALES} numbers from {_SMALLEST} to {_LARGEST:g}, not {words[:40]!a}")
    return scales
