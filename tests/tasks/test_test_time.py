"""Views of an image agree where the network cannot tell them apart, and cover all of it where it can."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from streetlab.errors import UserError
from streetlab.tasks.test_time import TestTime, window_starts


@pytest.fixture
def images():
    return torch.randn(2, 3, 70, 100, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def pixelwise():
    """A network that sees one pixel at a time: every view must agree."""
    torch.manual_seed(0)
    return nn.Conv2d(3, 5, 1).eval()


def test_one_view_gives_the_logits_untouched(images, pixelwise):
    assert torch.equal(TestTime()(pixelwise, images), pixelwise(images))


@pytest.mark.parametrize("options", [{"flip": True}, {"window": [32, 48]}, {"window": [64, 64], "flip": True}])
def test_views_of_a_pixelwise_network_agree_with_the_whole_image(images, pixelwise, options):
    expected = pixelwise(images).softmax(dim=1)
    found = TestTime(**options)(pixelwise, images)
    assert torch.allclose(found.exp(), expected, atol=1e-6)


def test_a_mirrored_view_is_mirrored_back(images):
    def columns(view):  # says "left" or "right" by where a pixel lies, so that mirrored views disagree
        ramp = torch.linspace(-3, 3, view.shape[-1]).expand(len(view), 1, *view.shape[-2:])
        return torch.cat([ramp, -ramp], dim=1)

    found = TestTime(flip=True)(columns, images).exp()
    assert torch.allclose(found, torch.full_like(found, 0.5), atol=1e-6)


def test_scales_average_what_the_network_says_of_each(images, pixelwise):
    found = TestTime(scales=(1.0, 2.0))(pixelwise, images).exp()
    twice = F.interpolate(images, size=(140, 200), mode="bilinear", align_corners=False)
    at_twice = F.interpolate(pixelwise(twice).softmax(1), size=(70, 100), mode="bilinear", align_corners=False)
    assert torch.allclose(found, (pixelwise(images).softmax(1) + at_twice) / 2, atol=1e-5)


@pytest.mark.parametrize(
    ("length", "window", "overlap"), [(100, 32, 0.5), (101, 32, 0.0), (33, 32, 0.9), (32, 32, 0.5)]
)
def test_windows_cover_everything_and_stay_inside(length, window, overlap):
    starts = window_starts(length, window, overlap)
    seen = {i for start in starts for i in range(start, start + window)}
    assert seen == set(range(length))
    steps = [b - a for a, b in pairwise(starts)]
    assert all(step <= max(1, window * (1 - overlap)) + 1 for step in steps)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"scales": []}, "scales"),
        ({"scales": [0]}, "scales"),
        ({"window": [16, 64]}, "window"),
        ({"overlap": 1}, "overlap"),
    ],
)
def test_settings_out_of_range_name_their_key(options, key):
    with pytest.raises(UserError, match=rf"task\.test_time\.{key}"):
        TestTime(**options)
