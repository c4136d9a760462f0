"""Photos and words of runs that take a moment, and ways to break them off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("clean", "medium", "litter")


TINY = (
    "dataset=street_cleanliness",
    "model=timm_classifier",
    "model.name=test_resnet",  # timm's own network for tests: layer1 to layer4 and fc, 0.5 M parameters
    "image_size=[32,32]",
    "batch_size=8",
    "trainer=cpu",
    "trainer.precision=32-true",
    "logger=none",
    "optimizer.lr=0.01",
)


def write_photos(root: Path, per_split: dict[str, int], side: int = 40) -> Path:
    """Noise with a class-dependent tint, so that something can be learned."""
    random = np.random.default_rng(0)
    for split, count in per_split.items():
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 160, (side, side, 3))
                pixels[..., label] += 60
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}_{number}.png")
    return root
