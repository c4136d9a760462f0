"""Mixes of batches: torchvision's own result under the batch's seed, the same in any run that comes by the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from streetlab.config.composition import composer
from streetlab.errors import UserError
from streetlab.loading.augment import draws
from streetlab.loading.mix import Mix, build_mix
from streetlab.loading.sampler import sample_keys

CLASSES = 3


def batch(epoch: int = 0, first: int = 0) -> tuple[Tensor, Tensor, np.ndarray]:
    """Six images, their labels and uniform numbers."""
    images = torch.rand(6, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    keys = sample_keys([f"{number}.png" for number in range(first, first + 6)])
    return images, torch.tensor([0, 1, 2, 2, 1, 0]), draws(keys, 0, epoch)


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "mixup_cutmix"])
def test_a_choice_of_the_group_gives_what_torchvision_gives_for_the_same_seed(kind):
    with composer() as compose:
        mix = build_mix(compose.compose("train", [f"mix={kind}"]).mix, CLASSES, masks=False)
    mixup, cutmix = v2.MixUp(alpha=0.2, num_classes=CLASSES), v2.CutMix(alpha=1.0, num_classes=CLASSES)
    theirs = {"mixup": mixup, "cutmix": cutmix, "mixup_cutmix": v2.RandomChoice([mixup, cutmix], p=[0.5, 0.5])}[kind]
    changed = 0
    for epoch in range(4):
        images, labels, uniforms = batch(epoch)
        mixed, probabilities = mix(images, labels, uniforms)
        torch.manual_seed(int(uniforms[0, 19] * 2**53))
        expected_images, expected_labels = theirs(images, labels)
        assert torch.equal(mixed, expected_images)
        torch.testing.assert_close(probabilities, expected_labels)
        torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(6))
        changed += not torch.equal(mixed, images)
    assert changed


def test_a_batch_is_mixed_alike_whenever_it_comes_and_another_epoch_otherwise():
    mix = Mix(v2.MixUp(alpha=1.0), CLASSES)
    images, labels, uniforms = batch()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = mix(images, labels, uniforms)
    assert torch.equal(torch.get_rng_state(), before), "the mix draws from the generator of the training"
    torch.manual_seed(6)
    again = mix(images, labels, uniforms)
    assert all(torch.equal(*parts) for parts in zip(first, again, strict=True))
    assert not torch.equal(mix(images, labels, batch(epoch=1)[2])[1], first[1])


def test_soft_labels_are_mixed_as_they_are():
    images, labels, uniforms = batch()
    mix = Mix(v2.CutMix(alpha=1.0), CLASSES)
    soft = F.one_hot(labels, CLASSES).float()
    assert torch.equal(mix(images, soft, uniforms)[1], mix(images, labels, uniforms)[1])


def test_what_does_not_mix_batches_is_refused():
    with pytest.raises(UserError, match="mix: it mixes the labels of whole photos, and this data set has masks"):
        build_mix({"_target_": "torchvision.transforms.v2.MixUp"}, 19, masks=True)
    with pytest.raises(UserError, match=r"mix: MixUp does not take images .* and probabilities \(B, 3\)"):
        Mix(v2.MixUp(num_classes=7), CLASSES)
    with pytest.raises(UserError, match=r"mix: Resize gives \(2, 3, 8, 8\)"):
        Mix(v2.Resize((8, 8)), CLASSES)
