"""Transforms of torchvision's and of the user's: a draw for each image, masks follow, fills are ignored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from streetlab.config.composition import composer
from streetlab.errors import UserError
from streetlab.loading.augment import draws, normalize
from streetlab.loading.sampler import sample_keys
from streetlab.loading.transforms import Transforms, build_transforms
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD

SIZE = (32, 48)


def batch(count: int = 4) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Images as the augmentation gives them, masks of 19 classes, and uniform numbers."""
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, *SIZE), generator=rng, dtype=torch.uint8)
    masks = torch.randint(0, 19, (count, *SIZE), generator=rng)
    return normalize(pixels), masks, draws(sample_keys([f"{i}.png" for i in range(count)]), 0, 0)


def test_a_colour_transform_is_torchvisions_own_on_pixels_from_0_to_1():
    pixels = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    (out, masks) = Transforms({"solarize": v2.RandomSolarize(0.5, p=1)}, SIZE, masks=False)(
        normalize(pixels), batch(2)[2]
    )
    assert masks is None
    expected = normalize(TF.solarize(pixels / 255, 0.5) * 255)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-4)


def test_an_image_is_the_same_in_any_batch_and_another_in_another_epoch():
    transforms = Transforms({"jitter": v2.ColorJitter(0.5, 0.5, 0.5, 0.1), "noise": v2.GaussianNoise()}, SIZE, False)
    images, _, uniforms = batch()
    whole = transforms(images, uniforms)[0]
    alone = torch.cat([transforms(images[i : i + 1], uniforms[i : i + 1])[0] for i in (3, 1)])
    assert torch.equal(whole[[3, 1]], alone)
    later = draws(sample_keys([f"{i}.png" for i in range(4)]), 0, 1)
    assert not torch.equal(whole, transforms(images, later)[0])
    same_picture = images[:1].repeat(4, 1, 1, 1)
    assert len({tuple(image.mean(dim=(1, 2)).tolist()) for image in transforms(same_picture, uniforms)[0]}) == 4


def test_torchs_generator_goes_on_as_if_nothing_had_been_drawn():
    images, _, uniforms = batch()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    Transforms({"noise": v2.GaussianNoise()}, SIZE, False)(images, uniforms)
    assert torch.equal(torch.rand(1), expected)


def test_masks_move_with_their_images():
    images, _, uniforms = batch()
    marked = (images[:, 0] > 0).long()
    out, masks = Transforms({"flip": v2.RandomHorizontalFlip(1.0), "crop": v2.RandomVerticalFlip(1.0)}, SIZE, True)(
        images, uniforms, marked
    )
    torch.testing.assert_close(out, images.flip(-1).flip(-2), rtol=0, atol=1e-5)
    assert torch.equal(masks, marked.flip(-1).flip(-2))


@pytest.mark.parametrize("fill", [0, 1, 7, 127, 128, 255])
def test_what_a_transform_fills_is_ignored_whatever_it_fills_with(fill):
    images, masks, uniforms = batch()
    masks[:, 0] = 255
    out, turned = Transforms({"turn": v2.RandomAffine([90, 90], fill=fill)}, SIZE, True)(images, uniforms, masks)
    left = (SIZE[1] - SIZE[0]) // 2
    middle = slice(left, left + SIZE[0])
    assert torch.equal(turned[..., middle], TF.affine(masks, 90, [0, 0], 1, [0, 0])[..., middle])
    assert (turned[..., :left] == 255).all()
    assert (turned[..., left + SIZE[0] :] == 255).all()
    assert out.shape == images.shape


@pytest.mark.parametrize(
    ("target", "masks", "line"),
    [
        (v2.RandomCrop([16, 16]), False, r"transforms.mine: RandomCrop gives \(3, 16, 16\); the size has to stay"),
        (v2.MixUp(num_classes=3), False, r"transforms.mine: MixUp does not take an image \(3, H, W\): "),
        (torch.nn.Identity(), True, r"Identity does not take an image \(3, H, W\) and a mask \(2, H, W\)"),
        (v2.ToPILImage(), False, r"transforms.mine: ToPILImage gives Image; the size has to stay"),
    ],
)  # fmt: skip
def test_a_transform_that_does_not_fit_is_named_before_data_are_read(target, masks, line):
    with pytest.raises(UserError, match=line):
        Transforms({"mine": target}, SIZE, masks)


def test_rand_augment_of_the_group_is_torchvisions_and_refuses_masks_that_it_would_not_move():
    with composer() as compose:
        node = compose.compose("train", ["transforms=rand_augment"]).transforms
    images, _, uniforms = batch()
    found = build_transforms(node, SIZE, False)(images, uniforms)[0]
    pixels = (images * torch.tensor(IMAGENET_STD).view(3, 1, 1) + torch.tensor(IMAGENET_MEAN).view(3, 1, 1)).clamp(0, 1)
    expected = []
    for image, seed in zip(pixels, uniforms[:, 18] * 2**53, strict=True):
        torch.manual_seed(int(seed))
        expected.append(v2.RandAugment(num_ops=2, magnitude=9)(image))
    torch.testing.assert_close(found, normalize(torch.stack(expected) * 255), rtol=0, atol=1e-4)
    assert not torch.equal(found, images)
    with pytest.raises(UserError, match=r"transforms\.rand_augment: RandAugment does not take an image"):
        build_transforms(node, SIZE, True)


def test_null_switches_a_transform_off():
    assert build_transforms({"blur": None}, SIZE, False) is None
    assert build_transforms(None, SIZE, False) is None
