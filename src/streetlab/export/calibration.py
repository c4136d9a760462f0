"""Images that show a network what it will see, so that the ranges of its values can be taken from them."""

from __future__ import annotations

import numpy as np

from streetlab.errors import UserError
from streetlab.loading.datamodule import StreetData


def calibration_images(data: StreetData, count: int) -> list[np.ndarray]:
    """Images of val as they are cached, at the size that the network was trained at, evenly spread over the split.

    Args:
        count: how many; all of a split that has fewer.

    Returns:
        uint8 (1, H, W, 3) each, RGB.

    Raises:
        UserError: `count` is below 1; val is empty, or none of it decodes.
    """
    if count < 1:
        raise UserError(f"calibration: found {count}, allowed is 1 or more images of val; 64 are usual")
    if not data.samples("val"):
        raise UserError(
            f"calibration: dataset {data.source.name} has no images in val, from which int8 takes the ranges of a "
            "network's values; choose a data set that has some with dataset=..., or precision=fp16"
        )
    data.open(("val",))
    available = len(data.samples("val"))
    rows = np.linspace(0, available - 1, min(count, available)).round().astype(int)
    return [data.cached_image("val", row)[None] for row in rows.tolist()]
