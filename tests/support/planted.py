"""A small data set with planted faults, whose audit is known beforehand."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from streetlab.datasets.labels import CLEANLINESS
from streetlab.synthetic import draw_scene

Alteration = Callable[[Image.Image], Image.Image]

SIZE = (128, 256)
CROP = 0.05


@dataclass(frozen=True)
class Planted:
    """The planted copies and their places; ids are paths below the root, with forward slashes.

    Attributes:
        root: the tree of class folders.
        pairs: (kind, id of the original, id of its copy); the kinds are `bytes`, `pixels` and the keys of `ALTERED`.
        broken: files that do not decode.
        conflicts: (id, id) of files with the same bytes under two labels; they stand among the pairs too.
    """

    root: Path
    pairs: list[tuple[str, str, str]]
    broken: list[str]
    conflicts: list[tuple[str, str]]


def plant(root: Path, scenes: int, seed: int, split_folders: bool = False) -> Planted:
    """Write scenes, copies of every kind of half of them, and broken files below `root`.

    Scene `i` is `draw_scene(seed + i)`; the others have no copy and must stay on their own.

    Args:
        root: a folder that is not there yet.
        scenes: number of originals, at least 20, so that each class has some.
        seed: the first scene's.
        split_folders: write `root/{train,val,test}/<class>/*`, where copies leak from train, rather than
            `root/<class>/*`.
    """
    planted = Planted(root, [], [], [])
    names = CLEANLINESS.names

    def place(split: str, label: int, name: str) -> Path:
        path = root / (split if split_folders else "") / names[label] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def id_of(path: Path) -> str:
        return path.relative_to(root).as_posix()

    for number in range(scenes):
        scene = draw_scene(seed + number, *SIZE)
        picture, label = Image.fromarray(scene.image), scene.label
        split = ("train", "val", "test")[number // 2 % 3]
        original = place(split, label, f"scene{number:04d}.{'png' if number % 4 < 2 else 'jpg'}")
        picture.save(original, quality=95)
        if number % 2:
            continue
        copies = {"bytes": place("test", label, f"same bytes {number:04d}{original.suffix}")}
        shutil.copyfile(original, copies["bytes"])
        with Image.open(original) as opened:
            picture = opened.convert("RGB")
        copies["pixels"] = place("val", label, f"same-pixels-{number:04d}.png")
        picture.save(copies["pixels"], compress_level=1)
        for kind, alterations in ALTERED.items():
            copies[kind] = place("train", label, f"{kind}-{number:04d}.png")
            alterations[number // 2 % len(alterations)](picture).save(copies[kind])
        planted.pairs.extend((kind, id_of(original), id_of(copy)) for kind, copy in copies.items())
        if number % 10 == 0:
            other = place("val", (label + 1) % len(names), f"conflict{number:04d}{original.suffix}")
            shutil.copyfile(original, other)
            planted.conflicts.append((id_of(original), id_of(other)))
            planted.pairs.append(("bytes", id_of(original), id_of(other)))

    jpeg = next(root.rglob("scene*.jpg")).read_bytes()
    for name, content in {"truncated.jpg": jpeg[: len(jpeg) // 2], "text.jpg": b"no picture, but words\n"}.items():
        path = place("train", 0, name)
        path.write_bytes(content)
        planted.broken.append(id_of(path))
    return planted


def jpeg(quality: int) -> Alteration:
    def alter(picture: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer).convert("RGB")

    return alter


def resized(factor: float) -> Alteration:
    return lambda picture: picture.resize(
        (round(picture.width * factor), round(picture.height * factor)), Image.Resampling.BICUBIC
    )


def brightness(factor: float) -> Alteration:
    return lambda picture: Image.fromarray((np.asarray(picture) * factor).clip(0, 255).astype(np.uint8))


def crop(left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> Alteration:
    """Cut off shares of the width and height."""
    return lambda picture: picture.crop(
        (
            round(left * picture.width),
            round(top * picture.height),
            round((1 - right) * picture.width),
            round((1 - bottom) * picture.height),
        )
    )


ALTERED: dict[str, list[Alteration]] = {
    "jpeg": [jpeg(quality) for quality in (50, 60, 70, 80, 90)],
    "resize": [resized(factor) for factor in (0.5, 0.75, 1.5, 2.0)],
    "brightness": [brightness(factor) for factor in (0.8, 1.2)],
    "mirror": [ImageOps.mirror],
    "crop": [
        *(crop(**{side: CROP}) for side in ("left", "top", "right", "bottom")),
        crop(CROP, CROP, CROP, CROP),
    ],
}
"""Kind of alteration → its variants; a scene's copy of the kind takes one of them in turn."""
