"""Small streets on disk in the layouts that people have: Cityscapes' and a pair of folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from streetlab.datasets.labels import CITYSCAPES, to_label_ids
from streetlab.synthetic import draw_scene


def write_cityscapes(root: Path, counts: dict[str, int], size: tuple[int, int] = (64, 128)) -> Path:
    """`leftImg8bit` and `gtFine` as published, drawn scenes in the place of photos; test has no masks."""
    number = 0
    for split, count in counts.items():
        for _ in range(count):
            scene = draw_scene(number, *size)
            name = f"bonn_{number:06d}_000019"
            _save(root / "leftImg8bit" / split / "bonn" / f"{name}_leftImg8bit.png", scene.image)
            if split != "test":
                _save(root / "gtFine" / split / "bonn" / f"{name}_gtFine_labelIds.png", to_label_ids(scene.mask))
            number += 1
    return root


def write_mask_folder(root: Path, counts: dict[str, int], size: tuple[int, int] = (64, 96), classes: int = 19) -> Path:
    """`images/` and `masks/` with the classes' numbers as values; the first mask of each split holds all of them."""
    number = 0
    for split, count in counts.items():
        for position in range(count):
            scene = draw_scene(number, *size)
            _save(root / "images" / split / f"{position}.png", scene.image)
            mask = scene.mask.copy()
            if position == 0:
                mask[:8, : 4 * classes] = np.repeat(np.arange(classes), 4)
            _save(root / "masks" / split / f"{position}.png", mask)
            number += 1
    return root


CLASSES = f"dataset.classes=[{','.join(CITYSCAPES.names)}]"


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
