"""Crops are proposed with the window that they were cut from."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from streetlab.audit.crops import crop_pairs
from streetlab.synthetic import draw_scene


def thumbnail(picture: Image.Image, box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    return np.asarray(picture.convert("L").resize((64, 64), Image.Resampling.BILINEAR, box=box))


@pytest.mark.parametrize("box", [(0.0, 0.0, 0.65, 1.0), (0.35, 0.2, 1.0, 1.0), (0.0, 0.1, 0.8, 0.9)])
def test_the_whole_is_proposed_with_the_window_that_was_cut(box):
    left, top, right, bottom = box
    pictures = [Image.fromarray(draw_scene(seed, 96, 160).image) for seed in range(8)]
    wholes = [thumbnail(picture) for picture in pictures]
    parts = [thumbnail(picture, (160 * left, 96 * top, 160 * right, 96 * bottom)) for picture in pictures]
    pairs = crop_pairs(np.stack([*wholes, *parts]))
    warps = {(part, whole): warp for part, whole, warp in zip(pairs.part, pairs.whole, pairs.warp, strict=True)}
    expected = [right - left - 1, (left + right) / 2 - 0.5, bottom - top - 1, (top + bottom) / 2 - 0.5]
    for number in range(len(pictures)):
        assert warps[number + len(pictures), number] == pytest.approx(expected, abs=0.16)
    assert not any(part == whole for part, whole in warps)


def test_too_many_images_or_one_have_no_proposals(monkeypatch):
    image = thumbnail(Image.fromarray(draw_scene(0, 96, 160).image))
    assert len(crop_pairs(image[None]).part) == 0
    assert len(crop_pairs(np.stack([image, image])).part) == 2
    monkeypatch.setattr("streetlab.audit.crops.MOST_IMAGES", 1)
    assert len(crop_pairs(np.stack([image, image])).part) == 0
