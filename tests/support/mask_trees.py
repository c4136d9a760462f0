"""Trees of images and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SPLIT_TREE = {"train/a": 4, "val/a": 2, "test/b": 3}


def write_tree(root: Path, counts: dict[str, int], values=(0, 1, 255), mask_suffix: str = "") -> Path:
    for place, count in counts.items():
        for number in range(count):
            random = np.random.default_rng([number, len(place)])
            for top, name, pixels in (
                ("images", f"{number}.bmp", random.integers(0, 256, (4, 6, 3), dtype=np.uint8)),
                ("masks", f"{number}{mask_suffix}.png", random.choice(np.array(values, np.uint8), (4, 6))),
            ):
                path = root / top / place / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return root
