"""Predict by a sliding window, in memory for one row of windows whatever the photo's height."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, pairwise

import torch
from torch import Tensor

from streetlab.inference.upsample import rows_of_a_band
from streetlab.tasks.test_time import window_starts

Probabilities = Callable[[Tensor], Tensor]
"""Crops `(B, 3, h, w)` of a photo to class probabilities `(B, K, h, w)` float32."""


def slide(
    probabilities: Probabilities, image: Tensor, window: tuple[int, int], overlap: float, batch_size: int
) -> Iterator[Tensor]:
    """Class probabilities of an image `(3, H, W)`, averaged over windows, as chunks `(K, rows, W)` from the top.

    The windows and their mean are those of `tasks.test_time.TestTime`, which holds the whole image's at once.
    """
    height, width = image.shape[-2:]
    window = min(window[0], height), min(window[1], width)
    tops, lefts = (window_starts(side, step, overlap) for side, step in zip((height, width), window, strict=True))
    rows_seen, columns_seen = _times_seen(tops, window[0], height), _times_seen(lefts, window[1], width)
    ends = dict(pairwise([*tops, height]))
    total: Tensor | None = None
    row = 0
    places = ((top, left) for top in tops for left in lefts)
    while batch := list(islice(places, batch_size)):
        crops = torch.stack([image[:, y : y + window[0], x : x + window[1]] for y, x in batch])
        for (top, left), seen in zip(batch, probabilities(crops), strict=True):
            if total is None:
                total = seen.new_zeros(len(seen), window[0], width)
                columns_seen = columns_seen.to(seen.device)
            if top != row:  # no window to come reaches above it
                closed = ends[row] - row
                yield from _means(total[:, :closed], rows_seen[row:top], columns_seen)
                open_rows = total[:, closed:].clone()
                total[:, : open_rows.shape[1]] = open_rows
                total[:, open_rows.shape[1] :] = 0
                row = top
            total[:, :, left : left + window[1]] += seen
    assert total is not None
    yield from _means(total, rows_seen[row:], columns_seen)


def _means(total: Tensor, rows_seen: Tensor, columns_seen: Tensor) -> Iterator[Tensor]:
    """Sums `(K, rows, W)` as means, a few rows at a time: those of a whole row of windows may take gigabytes."""
    step = rows_of_a_band(len(total), total.shape[-1])
    for sums, times in zip(total.split(step, dim=1), rows_seen.split(step), strict=True):
        yield sums / (times[:, None].to(total.device) * columns_seen)


def _times_seen(starts: list[int], window: int, length: int) -> Tensor:
    """Count the windows that cover each place of a side."""
    times = torch.zeros(length)
    for start in starts:
        times[start : start + window] += 1
    return times
