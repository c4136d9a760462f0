"""Upsample scores to class ids in bands of rows, in memory that does not grow with the photo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streetlab.inference.argmax_cpu import label, label_enlarged, sources
from streetlab.inference.predictions import Segmented

BAND_BYTES = 256 * 2**20
"""What the scores of one band may take: 19 classes of 2048x1024 pixels are one band, as in an evaluation."""


def rows_of_a_band(classes: int, width: int) -> int:
    """Count the rows of float32 scores in a band."""
    return max(1, BAND_BYTES // (4 * classes * width))


def enlarged(scores: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """Scores `(K, h, w)` at `size` = (H, W) as bands `(K, rows, W)`, from the top.

    The same as `F.interpolate(mode="bilinear", align_corners=False)`: to the bit where one band is enough, else up to
    the rounding of float32.
    """
    rows = rows_of_a_band(len(scores), size[1])
    if rows >= size[0] and tuple(scores.shape[-2:]) != size:
        yield F.interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0]
    else:
        yield from in_bands([scores], scores.shape[-2], size, rows)


def in_bands(chunks: Iterable[Tensor], height: int, size: tuple[int, int], rows: int) -> Iterator[Tensor]:
    """Upsample an image that arrives in chunks `(K, any, w)` to bands `(K, rows, W)` of `size` = (H, W), from the top.

    No more of the image is held than one band is made of; the last band may have fewer rows.

    Args:
        chunks: float32, `height` rows in all.
    """
    arriving = iter(chunks)
    upper, lower, weights = sources(height, size[0])
    pending, first = next(arriving), 0
    for top, end in pairwise([*range(0, size[0], rows), size[0]]):
        begin, stop = int(upper[top]), int(lower[end - 1]) + 1
        parts, arrived = [pending], first + pending.shape[1]
        while arrived < stop:
            parts.append(next(arriving))
            arrived += parts[-1].shape[1]
        pending = (torch.cat(parts, dim=1) if len(parts) > 1 else pending)[:, begin - first :]
        first = begin
        used = _widened(pending[:, : stop - begin], size[1])
        if height == size[0]:
            yield used
            continue
        above, below = (torch.from_numpy(place[top:end] - begin).to(used.device) for place in (upper, lower))
        weight = torch.from_numpy(weights[top:end]).to(used.device)[:, None]
        yield used.index_select(1, above).mul_(1 - weight).add_(used.index_select(1, below).mul_(weight))


def labelled(bands: Iterable[Tensor], size: tuple[int, int]) -> Segmented:
    """The most probable class of each pixel and its probability, of `(K, rows, W)` logits from the top.

    Where they are on a GPU, what is found stays there until the last band is done.

    Args:
        size: height and width of all bands together.
    """
    found: Tensor | None = None
    top = 0
    for band in bands:
        if found is None:
            found = torch.empty(2, *size, dtype=torch.uint8, device=band.device)
        ids, confidence = found[:, top : top + band.shape[1]]
        if band.device.type == "cpu":
            label(band.float().numpy(), ids.numpy(), confidence.numpy(), torch.get_num_threads())
        else:
            largest, classes = band.max(dim=0)
            ids.copy_(classes)
            confidence.copy_((band - largest).exp_().sum(dim=0).reciprocal_().mul_(255).round_())
        top += band.shape[1]
    assert found is not None
    return Segmented(*found.cpu().numpy())


def enlarged_labels(scores: Tensor, size: tuple[int, int]) -> Segmented:
    """Return what `labelled` gives for `enlarged` scores `(K, h, w)`, on the CPU without ever holding those.

    There, classes whose enlarged scores are equal up to the rounding of float32 may be taken for each other.
    """
    if scores.device.type != "cpu" or scores.shape[-2] > size[0] or scores.shape[-1] > size[1]:
        return labelled(enlarged(scores, size), size)
    if tuple(scores.shape[-2:]) == size:
        return labelled([scores], size)
    ids, confidence = np.empty(size, np.uint8), np.empty(size, np.uint8)
    label_enlarged(scores.float().numpy(), ids, confidence, torch.get_num_threads())
    return Segmented(ids, confidence)


def _widened(rows: Tensor, width: int) -> Tensor:
    """`(K, rows, w)` to `(K, rows, width)`."""
    if rows.shape[-1] == width:
        return rows
    lines = F.interpolate(rows.flatten(0, 1)[None], size=width, mode="linear", align_corners=False)
    return lines[0].unflatten(0, rows.shape[:2])
