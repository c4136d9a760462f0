"""Augmented masks stay with their images, to the pixel, and what is unknown in them is ignored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.support.augmented import augmentations, colors, photos
from torch import Tensor

from streetlab.loading.augment import Augment, draws
from streetlab.loading.sampler import sample_keys

CLASS_COLORS = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.uint8)


def label_maps(count: int, height: int, width: int) -> Tensor:
    """Random maps of three classes in large regions, `(B, h, w)` uint8."""
    coarse = torch.rand(count, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").argmax(dim=1).to(torch.uint8)


def painted(masks: Tensor) -> Tensor:
    """Images whose colour tells the class."""
    return CLASS_COLORS[masks.long()].movedim(-1, 1).contiguous()


def away_from_edges(masks: Tensor) -> Tensor:
    """Mask of the pixels whose 5x5 neighbourhood is in the frame and of one class; outside counts as a class."""
    values = torch.nn.functional.pad(masks.float()[:, None], (2, 2, 2, 2), value=-1.0)
    most = torch.nn.functional.max_pool2d(values, 5, 1)
    return (most == -torch.nn.functional.max_pool2d(-values, 5, 1))[:, 0]


JOINT = {
    "flip": Augment(flip=0.5),
    "rotation": Augment(rotation=90.0),
    "shear": Augment(shear=20.0),
    "crop": Augment(scale=[0.3, 1.0], ratio=[0.5, 2.0]),
    "zoom": Augment(zoom=[0.5, 2.0]),
    "all": Augment(scale=[0.3, 1.0], ratio=[0.5, 2.0], zoom=[0.4, 2.0], flip=0.5, rotation=30.0, shear=15.0),
}


@pytest.mark.parametrize("name", JOINT)
@pytest.mark.parametrize("size", [(64, 80), (48, 100)])
def test_masks_stay_aligned_with_their_images(name: str, size: tuple[int, int]) -> None:
    masks = label_maps(40, 64, 80)
    for seed in range(3):
        u = draws(sample_keys([str(n) for n in range(40)]), seed, 0)
        images, labels = JOINT[name](painted(masks), u, size, masks)
        assert labels.dtype == torch.int64
        assert labels.shape == (40, *size)
        assert set(labels.unique().tolist()) <= {0, 1, 2, 255}
        found = colors(images)
        told = torch.where(found.sum(dim=1) < 0.5, 255, found.argmax(dim=1))
        inner = away_from_edges(labels)
        assert inner.float().mean() > 0.4
        assert torch.equal(told[inner], labels[inner])


@pytest.mark.parametrize("name", JOINT)
def test_a_mask_takes_the_pixel_that_its_centre_falls_into_and_ignores_what_lies_outside(name: str) -> None:
    count, height, width, size = 20, 40, 56, (37, 61)
    masks = torch.randint(0, 255, (count, height, width), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    u = draws(sample_keys([str(n) for n in range(count)]), 0, 0)
    _, labels = JOINT[name](photos(count, height, width), u, size, masks)
    theta = JOINT[name].warps(u, size).astype(float)
    x, y = np.meshgrid((2 * np.arange(61) + 1) / 61 - 1, (2 * np.arange(37) + 1) / 37 - 1)
    places = np.einsum("bij,jhw->bihw", theta, np.stack([x, y, np.ones_like(x)]))
    columns, rows = (places[:, 0] + 1) / 2 * width, (places[:, 1] + 1) / 2 * height  # pixel i spans i to i + 1
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    taken = np.where(
        inside,
        masks.numpy()[
            np.arange(count)[:, None, None],
            rows.astype(int).clip(0, height - 1),
            columns.astype(int).clip(0, width - 1),
        ],
        255,
    )
    clear = (np.abs(columns - columns.round()) > 1e-3) & (np.abs(rows - rows.round()) > 1e-3)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(labels.numpy()[clear], taken[clear])


@pytest.mark.parametrize("size", [(80, 112), (120, 168), (24, 24), (8, 8)])
def test_masks_of_another_size_are_those_of_nearest_exact(size: tuple[int, int]) -> None:
    masks = torch.randint(0, 256, (3, 40, 56), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    _, labels = Augment()(photos(), draws(sample_keys(list("abc")), 0, 0), size, masks)
    wanted = torch.nn.functional.interpolate(masks[:, None], size, mode="nearest-exact")[:, 0].long()
    assert torch.equal(labels, wanted)


def test_masks_pass_as_they_are_where_nothing_moves() -> None:
    images, masks, u = photos(), label_maps(3, 40, 56), draws(sample_keys(list("abc")), 0, 0)
    for augment in (Augment(), Augment(brightness=0.5, hue=0.5, grayscale=1.0)):
        found, labels = augment(images, u, (40, 56), masks)
        assert torch.equal(labels, masks.long())
        assert labels.dtype == torch.int64
        assert torch.equal(found, augment(images, u, (40, 56)))


@pytest.mark.parametrize("choice", ["none", "original", "strong"])
def test_images_are_the_same_with_and_without_masks(choice: str) -> None:
    augment, images, u = augmentations()[choice], photos(), draws(sample_keys(list("abc")), 0, 0)
    found, _ = augment(images, u, (30, 42), label_maps(3, 40, 56))
    assert torch.equal(found, augment(images, u, (30, 42)))


def test_pixels_that_are_ignored_stay_so_and_none_but_them_is_where_the_crop_is_inside() -> None:
    masks = label_maps(20, 40, 56)
    masks[:, :20] = 255
    u = draws(sample_keys([str(n) for n in range(20)]), 0, 0)
    _, labels = Augment(flip=0.5, zoom=[1.0, 1.0], brightness=0.5)(photos(20), u, (40, 56), masks)
    assert (labels[:, :20] == 255).all()
    assert (labels[:, 20:] != 255).all()
    _, labels = Augment(scale=[0.3, 1.0], zoom=[1.0, 2.0])(photos(20), u, (40, 56), label_maps(20, 40, 56))
    assert (labels != 255).all()


def test_labels_in_an_erased_box_are_ignored() -> None:
    u = draws(sample_keys([str(n) for n in range(20)]), 0, 0)
    images, labels = Augment(erase=0.5)(photos(20), u, (40, 56), label_maps(20, 40, 56))
    boxes = (images == 0).all(dim=1)
    assert 3 < boxes.any(dim=(1, 2)).sum() < 17
    assert torch.equal(labels == 255, boxes)


def test_for_masks_takes_the_fields_that_differ() -> None:
    augment = Augment(scale=[0.5, 1.0], flip=0.5, erase=0.5, with_masks={"zoom": [0.5, 2.0], "erase": 0.0})
    assert augment.for_masks() == Augment(scale=[0.5, 1.0], flip=0.5, zoom=[0.5, 2.0])
    assert augment.zoom == (1.0, 1.0)
    assert Augment(flip=0.5).for_masks() == Augment(flip=0.5)


def test_masks_lose_nothing_to_corners_with_the_choice_of_the_original() -> None:
    masks = label_maps(40, 40, 56)
    u = draws(sample_keys([str(n) for n in range(40)]), 0, 0)
    _, labels = augmentations()["original"].for_masks()(photos(40), u, (40, 56), masks)
    assert (labels != 255).all()
    strong = augmentations()["strong"].for_masks()
    assert strong.moves
    assert strong.source_size((64, 128)) == (64, 128)


def test_masks_of_another_shape_than_their_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"masks \(3, 20, 28\) for images"):
        Augment()(photos(), draws(sample_keys(list("abc")), 0, 0), (40, 56), label_maps(3, 20, 28))
