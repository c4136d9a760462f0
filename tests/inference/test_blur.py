"""No pixel of a person or vehicle gets through: hidden pixels are noisy means of large blocks, all others stay."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from streetlab.datasets.class_roles import PrivateClasses
from streetlab.datasets.labels import CITYSCAPES
from streetlab.inference import blur
from streetlab.inference.blur import FrameMemory, hidden_pixels, pixelate
from streetlab.synthetic import draw_scene

CLASSES = PrivateClasses.of(CITYSCAPES).ids
CAR, PERSON, ROAD = 13, 11, 0


@pytest.fixture
def street() -> tuple[np.ndarray, np.ndarray]:
    """A drawn street with people and vehicles in several places: its photo and ids."""
    scene = draw_scene(8, 128, 256)
    assert ndimage.label(np.isin(scene.mask, CLASSES))[1] > 1
    return scene.image, scene.mask


def noise_of(monkeypatch, size: int = 0) -> None:
    """The noise is the same for all photos, of at most this size."""
    monkeypatch.setattr(blur, "_noise", lambda photo: np.random.default_rng(0))
    monkeypatch.setattr(blur, "_NOISE", size)


@pytest.mark.parametrize(("margin", "reach"), [(0, 0), (0.001, 1), (0.01, 3), (0.1, 26)])
def test_silhouettes_are_dilated_by_a_share_of_the_longer_side(street, margin, reach):
    _, ids = street
    square = np.ones((2 * reach + 1, 2 * reach + 1), bool)
    assert np.array_equal(hidden_pixels(ids, CLASSES, margin), ndimage.binary_dilation(np.isin(ids, CLASSES), square))
    assert not hidden_pixels(np.full((4, 5), 255, np.uint8), CLASSES).any(), "a pixel of no class is no person"


def test_nothing_outside_the_hidden_pixels_changes(street):
    photo, ids = street
    before = photo.copy()
    hidden = hidden_pixels(ids, CLASSES)
    blurred = pixelate(photo, hidden)
    assert np.array_equal(blurred[~hidden], photo[~hidden])
    assert (blurred[hidden] != photo[hidden]).any(axis=-1).mean() > 0.95
    assert np.array_equal(photo, before)
    assert np.array_equal(pixelate(photo, np.zeros_like(hidden)), photo)
    with pytest.raises(ValueError, match="fit each other"):
        pixelate(photo, hidden[1:])


def test_each_silhouette_is_at_most_twelve_blocks_across_and_they_are_means(monkeypatch, street):
    photo, ids = street
    noise_of(monkeypatch)
    hidden = hidden_pixels(ids, CLASSES)
    blurred = pixelate(photo, hidden)
    labels, count = ndimage.label(hidden, np.ones((3, 3)))
    for label in range(1, count + 1):
        y, x = np.nonzero(labels == label)
        top, left, height, width = y.min(), x.min(), np.ptp(y) + 1, np.ptp(x) + 1
        least = max(max(height, width) / 12, 8)
        for start_y, end_y in spans(height, least):
            for start_x, end_x in spans(width, least):
                box = np.s_[top + start_y : top + end_y, left + start_x : left + end_x]
                inside = labels[box] == label
                mean = np.rint(photo[box].reshape(-1, 3).mean(axis=0))
                assert (np.abs(blurred[box][inside] - mean) <= 0.5).all()


def spans(length: int, least: float) -> list[tuple[int, int]]:
    """Equal parts of a length, as many as are at least so long."""
    count = max(1, int(length // np.ceil(least)))
    edges = [length * number // count for number in range(count + 1)]
    return list(itertools.pairwise(edges))


def test_only_means_of_blocks_get_through_whatever_the_pixels_were(monkeypatch):
    noise_of(monkeypatch, 12)
    random = np.random.default_rng(1)
    hidden = np.zeros((96, 120), bool)
    hidden[24:72, 36:84] = True  # a silhouette of 48 x 48: 6 x 6 blocks of 8
    photo = random.integers(0, 256, (96, 120, 3), dtype=np.uint8)
    other = photo.copy()
    for y in range(24, 72, 8):
        for x in range(36, 84, 8):
            pixels = photo[y : y + 8, x : x + 8].reshape(-1, 3)
            other[y : y + 8, x : x + 8] = random.permutation(pixels).reshape(8, 8, 3)
    assert (photo[hidden] != other[hidden]).any(axis=-1).mean() > 0.9
    assert np.array_equal(pixelate(photo, hidden), pixelate(other, hidden))


def test_the_noise_is_that_of_the_photo_alone_and_comes_again():
    photo = np.full((64, 64, 3), 128, np.uint8)
    hidden = np.zeros((64, 64), bool)
    hidden[8:56, 8:56] = True
    blurred = pixelate(photo, hidden)
    assert np.array_equal(blurred, pixelate(photo.copy(), hidden))
    values = blurred[hidden].astype(int) - 128
    assert 4 < values.std() < 9
    assert np.abs(values).max() <= 12
    other = photo.copy()
    other[0, 0, 0] += 1  # nobody who lacks one pixel of it can repeat the noise
    assert not np.array_equal(pixelate(other, hidden)[hidden], blurred[hidden])


def test_a_detection_that_is_lost_in_a_video_does_not_flash():
    ids = np.full((40, 60), ROAD, np.uint8)
    there = ids.copy()
    there[10:20, 10:20] = PERSON
    memory = FrameMemory(CLASSES, frames=5)
    first = memory.hidden(there)
    assert np.array_equal(first, hidden_pixels(there, CLASSES))
    for _ in range(4):
        assert np.array_equal(memory.hidden(ids), first)
    assert not memory.hidden(ids).any()
    moved = np.roll(there, 25, axis=1)
    memory.hidden(there)
    assert np.array_equal(memory.hidden(moved), first | hidden_pixels(moved, CLASSES))
    assert not memory.hidden(ids[:20]).any(), "frames of another size remember nothing"
    with pytest.raises(ValueError, match="1 to 255"):
        FrameMemory(CLASSES, frames=0)


def test_the_union_of_the_last_frames_is_hidden_whatever_was_seen_in_them():
    random = np.random.default_rng(2)
    frames = [np.where(random.random((30, 30)) < 0.01, CAR, ROAD).astype(np.uint8) for _ in range(40)]
    masks = [hidden_pixels(ids, CLASSES) for ids in frames]
    memory = FrameMemory(CLASSES)
    for number, ids in enumerate(frames):
        last = masks[max(0, number - blur.MEMORY_FRAMES + 1) : number + 1]
        assert np.array_equal(memory.hidden(ids), np.any(last, axis=0))
