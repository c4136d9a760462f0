"""Common actions of the tests of the page."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST = 60.0
"""Seconds that a slow and busy machine may take for anything."""


def eventually(said: Callable[[], Any], wanted: Any, what: str = "") -> None:
    """Ask until `said()` equals `wanted`; the page goes on working in between."""
    deadline = time.monotonic() + LONGEST
    while True:
        found = said()
        equal = np.array_equal(found, wanted) if isinstance(wanted, np.ndarray) else found == wanted
        if equal:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'the page'}: {found!r} is not {wanted!r}")
        time.sleep(0.02)


def upload(page: Any, *files: Path) -> None:
    """Choose files once the page is ready."""
    page.wait_for_selector("body[data-state=ready]")
    page.set_input_files("#files", files)


def shown(page: Any, *files: Path) -> None:
    """Choose files and wait until the first of them is painted."""
    upload(page, *files)
    is_shown(page)


def is_shown(page: Any) -> None:
    """Wait until the open photo is painted."""
    page.wait_for_selector(".pane:not([hidden]) .host:not(.arriving)")
    page.wait_for_selector("#waiting", state="hidden")


def canvas(page: Any, which: str = "canvas.overlay", nth: int = 0) -> NDArray[np.uint8]:
    """(H, W, 4) uint8: the pixels of a canvas on the stage."""
    height, width, values = page.evaluate(
        """([which, nth]) => {
          const canvas = document.querySelectorAll(which)[nth];
          const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return [canvas.height, canvas.width, btoa(Array.from(data, byte => String.fromCharCode(byte)).join(""))];
        }""",
        [which, nth],
    )
    return np.frombuffer(base64.b64decode(values), dtype=np.uint8).reshape(height, width, 4)


def overlay_of(ids: NDArray[np.uint8], palette: Sequence[Sequence[int]], where: Any = True) -> NDArray[np.uint8]:
    """(H, W, 4) uint8: the overlay at full weight, transparent but for `where`."""
    pixels = np.concatenate([np.array(palette, dtype=np.uint8)[ids], np.full((*ids.shape, 1), 255, np.uint8)], axis=-1)
    return np.where(np.broadcast_to(where, ids.shape)[..., None], pixels, 0).astype(np.uint8)


def row(class_id: int) -> str:
    """The row of a class in the legend."""
    return f".legend [data-class='{class_id}']"


def set_value(page: Any, selector: str, value: Any) -> None:
    """Move a slider, or choose a colour, as a hand would: the value, then the event."""
    page.locator(selector).evaluate(
        "(field, value) => { field.value = value; field.dispatchEvent(new Event('input', {bubbles: true})); }",
        str(value),
    )
