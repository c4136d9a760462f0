"""Batched augmentation agrees with torchvision image by image, and each image depends on itself alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.support.augmented import augmentations, colors, photos, uniforms
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from streetlab.errors import UserError
from streetlab.loading.augment import Augment, draws, normalize
from streetlab.loading.sampler import sample_keys
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD

BILINEAR = InterpolationMode.BILINEAR


def inside(images: Tensor, margin: int = 12) -> Tensor:
    return images[..., margin:-margin, margin:-margin]


def test_normalize_is_torchvisions() -> None:
    images = photos()
    torch.testing.assert_close(
        normalize(images),
        TF.normalize(images / 255, list(IMAGENET_MEAN), list(IMAGENET_STD)),
        atol=1e-5,
        rtol=0,
    )


def test_augment_none_shows_training_what_evaluation_sees() -> None:
    images = photos()
    found = Augment()(images, draws(sample_keys(["a", "b", "c"]), 0, 0), (40, 56))
    torch.testing.assert_close(found, normalize(images), atol=1e-6, rtol=1e-6)


def test_a_flip_is_torchvisions() -> None:
    found = colors(Augment(flip=0.5)(photos(), uniforms(flip=0.49), (40, 56)))
    torch.testing.assert_close(found, TF.horizontal_flip(photos() / 255), atol=1e-4, rtol=0)
    unflipped = colors(Augment(flip=0.5)(photos(), uniforms(flip=0.51), (40, 56)))
    torch.testing.assert_close(unflipped, photos() / 255, atol=1e-4, rtol=0)


@pytest.mark.parametrize("draw", [0.0, 0.3, 0.9])
def test_a_rotation_is_torchvisions_also_on_wide_images(draw: float) -> None:
    found = colors(Augment(rotation=20.0)(photos(), uniforms(angle=draw), (40, 56)))
    angle = 20.0 * (2 * draw - 1)
    torch.testing.assert_close(found, TF.rotate(photos() / 255, angle, BILINEAR), atol=1e-3, rtol=0)


@pytest.mark.parametrize("draw", [0.1, 0.8])
def test_a_shear_is_torchvisions(draw: float) -> None:
    found = colors(Augment(shear=15.0)(photos(), uniforms(shear=draw), (40, 56)))
    degrees = 15.0 * (2 * draw - 1)
    wanted = TF.affine(
        photos() / 255, angle=0.0, translate=[0, 0], scale=1.0, shear=[degrees, 0.0], interpolation=BILINEAR
    )
    torch.testing.assert_close(inside(found), inside(wanted), atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [(40, 56), (30, 30), (20, 28)])
@pytest.mark.parametrize(("left", "top"), [(0.0, 1.0), (0.5, 0.25)])
def test_a_crop_is_torchvisions_resized_crop(size: tuple[int, int], left: float, top: float) -> None:
    found = colors(Augment(scale=[0.25, 0.25])(photos(), uniforms(left=left, top=top), size))
    wanted = TF.resized_crop(
        photos() / 255, int(20 * top), int(28 * left), 20, 28, list(size), BILINEAR, antialias=False
    )
    torch.testing.assert_close(inside(found, 2), inside(wanted, 2), atol=1e-3, rtol=0)


def test_a_crops_ratio_is_relative_to_the_photos_own() -> None:
    # a quarter of the area at twice the ratio: 0.707 of the width, 0.354 of the height
    theta = Augment(scale=[0.25, 0.25], ratio=[2.0, 2.0]).warps(uniforms(1), (40, 56))[0]
    np.testing.assert_allclose(theta[:, :2], [[0.5 * 2**0.5, 0], [0, 0.5 / 2**0.5]], atol=1e-6)


def test_crops_never_leave_the_photo_and_keep_the_area_asked_for() -> None:
    u = draws(sample_keys([str(n) for n in range(4000)]), 0, 0)
    theta = Augment(scale=[0.8, 1.0], ratio=[0.75, 1.3333]).warps(u, (224, 224))
    w, h = theta[:, 0, 0], theta[:, 1, 1]
    assert (np.abs(theta[:, 0, 2]) + w).max() <= 1 + 1e-6
    assert (np.abs(theta[:, 1, 2]) + h).max() <= 1 + 1e-6
    assert (w * h).max() <= 1 + 1e-6
    whole = (w < 1) & (h < 1)
    assert (w * h)[whole].min() >= 0.8 - 1e-6


@pytest.mark.parametrize("draw", [0.0, 0.35, 1.0])
def test_brightness_contrast_and_saturation_are_torchvisions(draw: float) -> None:
    images, factor = photos(low=90, high=150), 1 + 0.3 * (2 * draw - 1)
    for name, reference in {
        "brightness": TF.adjust_brightness, "contrast": TF.adjust_contrast,
        "saturation": TF.adjust_saturation,
    }.items():  # fmt: skip
        found = colors(Augment(**{name: 0.3})(images, uniforms(**{name: draw}), (40, 56)))
        torch.testing.assert_close(found, reference(images / 255, factor), atol=2e-3, rtol=0, msg=name)


@pytest.mark.parametrize("draw", [0.0, 1.0])
def test_a_small_turn_of_the_hue_goes_as_far_as_torchvisions_and_keeps_the_brightness(draw: float) -> None:
    images = photos(low=60, high=200)
    before = images / 255
    found = colors(Augment(hue=0.02)(images, uniforms(hue=draw), (40, 56)))
    # torchvision turns HSV's hue, and the other way round; ours is drawn from both sides alike
    wanted = TF.adjust_hue(before, -0.02 * (2 * draw - 1))
    ours, theirs = (found - before).flatten(), (wanted - before).flatten()
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.5
    assert 0.67 < ours.norm() / theirs.norm() < 1.5
    torch.testing.assert_close(TF.rgb_to_grayscale(found), TF.rgb_to_grayscale(before), atol=2e-3, rtol=0)


def test_a_grey_image_is_grey_and_as_bright_as_torchvisions() -> None:
    found = colors(Augment(grayscale=0.5)(photos(), uniforms(grayscale=0.4), (40, 56)))
    torch.testing.assert_close(found, TF.rgb_to_grayscale(photos() / 255, 3), atol=2e-3, rtol=0)


def test_colours_stay_in_range() -> None:
    u = draws(sample_keys([str(n) for n in range(3)]), 0, 0)
    found = colors(Augment(brightness=1.0, contrast=1.0, saturation=1.0, hue=0.5)(photos(), u, (40, 56)))
    assert found.min() >= -1e-5
    assert found.max() <= 1 + 1e-5


def test_erasing_greys_one_box_of_a_fiftieth_to_a_fifth() -> None:
    u = draws(sample_keys([str(n) for n in range(20)]), 0, 0)
    images = photos(20)
    erased = Augment(erase=1.0)(images, u, (40, 56)) == 0
    boxes = erased.all(dim=1)
    shares = boxes.float().mean(dim=(1, 2))
    assert 0.01 < shares.min() < shares.max() < 0.23
    for box in boxes:
        assert box.sum() == box.any(dim=1).sum() * box.any(dim=0).sum()  # a full rectangle


@pytest.mark.parametrize("choice", ["original", "strong"])
def test_an_image_does_not_depend_on_its_batch_or_its_place(choice: str) -> None:
    augment, images, keys = augmentations()[choice], photos(5), sample_keys(list("abcde"))
    whole = augment(images, draws(keys, 1, 2), (40, 56))
    for rows in ([3], [4, 3], [0, 2, 3, 1]):
        found = augment(images[rows], draws(keys[rows], 1, 2), (40, 56))
        torch.testing.assert_close(found, whole[rows], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("choice", ["original", "strong"])
def test_an_image_looks_the_same_in_the_same_epoch_and_other_in_another(choice: str) -> None:
    augment, images, keys = augmentations()[choice], photos(3), sample_keys(list("abc"))
    first = augment(images, draws(keys, 1, 2), (40, 56))
    assert torch.equal(first, augment(images, draws(keys, 1, 2), (40, 56)))
    for seed, epoch in ((1, 3), (2, 2)):
        other = augment(images, draws(keys, seed, epoch), (40, 56))
        assert (other - first).abs().mean(dim=(1, 2, 3)).min() > 0.01


@pytest.mark.parametrize(("left", "top"), [(0.0, 1.0), (0.5, 0.25), (0.75, 0.0)])
def test_a_zoom_is_an_enlargement_and_a_crop_of_the_outputs_size(left: float, top: float) -> None:
    found = colors(Augment(zoom=[2.0, 2.0])(photos(), uniforms(left=left, top=top), (40, 56)))
    large = TF.resize(photos() / 255, [80, 112], BILINEAR)
    row, column = int(40 * top), int(56 * left)
    wanted = large[..., row : row + 40, column : column + 56]
    torch.testing.assert_close(inside(found, 2), inside(wanted, 2), atol=1e-3, rtol=0)
    both = Augment(scale=[0.25, 0.25], zoom=[2.0, 2.0]).warps(uniforms(1), (40, 56))[0]
    np.testing.assert_allclose(both[:, :2], [[0.25, 0], [0, 0.25]], atol=1e-6)


@pytest.mark.parametrize("left", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("top", [0.0, 0.5, 1.0])
def test_a_zoom_below_one_shows_the_whole_photo_small_at_a_random_place(left: float, top: float) -> None:
    images = photos(low=50)
    masks = torch.zeros(3, 40, 56, dtype=torch.uint8)
    found, labels = Augment(zoom=[0.5, 0.5])(images, uniforms(left=left, top=top), (40, 56), masks)
    shown = labels == 0
    assert (shown.sum(dim=(1, 2)) == 20 * 28).all()
    rows, columns = shown[0].any(dim=1).nonzero()[:, 0], shown[0].any(dim=0).nonzero()[:, 0]
    assert len(rows) == 20
    assert len(columns) == 28
    assert rows[0] == round(20 * top)
    assert columns[0] == round(28 * left)
    assert colors(found).movedim(1, -1)[~shown].abs().max() < 1e-5
    small = colors(found)[:, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    torch.testing.assert_close(small, torch.nn.functional.avg_pool2d(images / 255, 2), atol=1e-4, rtol=0)


def test_a_zoom_is_drawn_uniformly_from_a_number_of_its_own() -> None:
    u = draws(sample_keys([str(n) for n in range(5000)]), 0, 0)
    zoom = 1 / Augment(zoom=[0.5, 2.0]).warps(u, (40, 56))[:, 0, 0]
    np.testing.assert_allclose(np.quantile(zoom, [0, 0.25, 0.5, 0.75, 1]), [0.5, 0.875, 1.25, 1.625, 2], atol=0.03)
    for place in range(17):
        assert abs(np.corrcoef(zoom, u[:, place])[0, 1]) < 0.06


def test_draws_are_uniform_and_independent() -> None:
    u = draws(sample_keys([str(n) for n in range(20_000)]), 0, 0)
    assert u.shape == (20_000, 24)
    assert u.min() >= 0
    assert u.max() < 1
    np.testing.assert_allclose(u.mean(axis=0), 0.5, atol=0.01)
    np.testing.assert_allclose(u.var(axis=0), 1 / 12, atol=0.002)
    between = np.corrcoef(np.vstack([u.T, draws(sample_keys([str(n) for n in range(20_000)]), 0, 1).T]))
    assert np.abs(between - np.eye(48)).max() < 0.035


def test_the_cache_keeps_enough_pixels_for_the_smallest_crop_and_no_more_than_it_must() -> None:
    assert Augment().source_size((224, 224)) == (224, 224)
    assert Augment(scale=[0.8, 1.0]).source_size((224, 224)) == (256, 256)
    assert Augment(scale=[0.1, 1.0]).source_size((224, 224)) == (320, 320)
    height, width = Augment(scale=[0.5, 1.0]).source_size((64, 128))
    assert height >= 64 * 1.4 - 1e-9
    assert width >= 128 * 1.4 - 1e-9
    assert Augment(zoom=[0.5, 2.0]).source_size((64, 128)) == (64, 128)  # shown at half size: no more to shrink
    assert Augment(zoom=[0.3, 1.0]).source_size((64, 128)) == (64, 128)
    assert Augment(zoom=[0.6, 2.0]).source_size((80, 160)) == (96, 192)
    assert Augment(zoom=[1.0, 1.25]).source_size((64, 128)) == (80, 160)
    assert Augment(scale=[0.8, 1.0], zoom=[1.0, 2.0]).source_size((80, 160)) == (112, 224)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": [0.8, 1.2]}, r"augment\.scale: 1\.2 is more than the whole image"),
        ({"scale": [1.0, 0.8]}, r"augment\.scale: \[1\.0, 0\.8\] is not an ascending range"),
        ({"scale": 0.8}, r"augment\.scale: 0\.8 is not an ascending range"),
        ({"scale": [0.8]}, r"augment\.scale"),
        ({"ratio": [0, 1]}, r"augment\.ratio"),
        ({"zoom": [0.0, 1.0]}, r"augment\.zoom: \[0\.0, 1\.0\] is not an ascending range above 0"),
        ({"zoom": [2.0, 0.5]}, r"augment\.zoom: \[2\.0, 0\.5\] is not an ascending range"),
        ({"zoom": [0.5, 5.0]}, r"augment\.zoom: 5\.0 is more than 4 times"),
        (
            {"with_masks": {"zooom": [0.5, 2.0]}},
            r"augment\.with_masks\.zooom: not a field of augment \(.*\); did you mean 'zoom'\?",
        ),
        ({"with_masks": {"with_masks": {}}}, r"augment\.with_masks\.with_masks: not a field"),
        ({"with_masks": {"flip": 2}}, r"^augment\.with_masks\.flip: 2 is not a probability"),
        ({"with_masks": "zoom"}, r"augment\.with_masks: zoom is not a mapping"),
        ({"flip": 1.5}, r"augment\.flip: 1\.5 is not a probability \(0 to 1\)"),
        ({"flip": "half"}, r"augment\.flip: half is not a probability"),
        ({"rotation": -7}, r"augment\.rotation: -7 is not an angle in degrees"),
        ({"shear": 90}, r"augment\.shear"),
        ({"brightness": 1.15}, r"augment\.brightness: 1\.15 is not a spread about 1 \(0 to 1\)"),
        ({"hue": 5}, r"augment\.hue: 5 is not a part of a turn"),
    ],
)
def test_a_setting_out_of_range_is_named_with_what_is_allowed(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Augment(**settings)
