"""Photos unlike the training photos are marked, and no more than one in twenty of those like them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import mahalanobis
from torchvision.io import decode_jpeg, encode_jpeg

from streetlab.datasets.decode import read_photo, resize
from streetlab.datasets.training_domain import TrainingDomain, photo_statistics
from streetlab.synthetic import draw_scene

SIZE = (64, 128)


@pytest.fixture(scope="module")
def streets() -> np.ndarray:
    """Statistics of 120 drawn streets."""
    return np.array([photo_statistics(draw_scene(seed, *SIZE).image) for seed in range(120)])


@pytest.fixture(scope="module")
def domain(streets) -> TrainingDomain:
    return TrainingDomain.fit(streets[:60], streets[60:100])


def test_at_most_one_in_twenty_photos_of_val_is_marked(domain, streets):
    marked = domain.distances(streets[60:100]) > domain.threshold
    assert (marked.sum(), domain.val_marked, domain.val_photos, domain.train_photos) == (2, 2, 40, 60)
    few = TrainingDomain.fit(streets[:60], streets[60:79])
    assert not (few.distances(streets[60:79]) > few.threshold).any(), "one of 19 would be more than 5%"


def test_a_val_that_is_narrower_than_train_does_not_mark_train(streets):
    train = streets[:60]
    nearest = np.argsort(np.abs((train - train.mean(axis=0)) / train.std(axis=0)).mean(axis=1))[:20]
    domain = TrainingDomain.fit(train, train[nearest])
    assert (domain.distances(train) > domain.threshold).sum() == 3, "of 60"


def test_most_further_drawn_streets_are_like_drawn_streets_and_no_real_one_is(domain, streets, shared_data):
    assert np.median(domain.distances(streets[100:])) < domain.threshold
    photos = [resize(read_photo(path), SIZE) for path in sorted(shared_data("camvid").glob("test/*"))[::12]]
    assert len(photos) > 15
    assert all(domain.is_unlike(photos))


def test_noise_and_a_blank_photo_are_unlike_drawn_streets(domain):
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    assert domain.is_unlike([noise, np.full((*SIZE, 3), 128, np.uint8)]) == [True, True]


def test_the_distance_is_scipys_of_the_shrunk_covariance(domain, streets):
    train = streets[:60]
    scale = train.std(axis=0) + 1e-6
    covariance = 0.9 * np.cov(train.T, bias=True) + 0.1 * np.diag(scale**2)
    expected = [mahalanobis(one, train.mean(axis=0), np.linalg.inv(covariance)) ** 2 / 48 for one in streets[100:]]
    assert domain.distances(streets[100:]) == pytest.approx(expected, rel=1e-3)


def test_the_bands_hold_the_power_of_all_frequencies():
    pixels = np.random.default_rng(1).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    counts = np.array([min(band, 14 - band) + 1 for band in range(1, 15)])
    luma = pixels / 255 @ [0.299, 0.587, 0.114]
    blocks = luma.reshape(6, 8, 10, 8)
    within = (blocks - blocks.mean(axis=(1, 3), keepdims=True)).var()  # Parseval: what blocks' means leave
    assert (np.exp(photo_statistics(pixels)[:14]) * counts).sum() / 64 == pytest.approx(within, rel=1e-3)


def test_jpeg_takes_power_from_the_finest_band():
    pixels = draw_scene(0, *SIZE).image
    coded = decode_jpeg(encode_jpeg(torch.from_numpy(pixels.copy()).permute(2, 0, 1), quality=30))
    before, after = photo_statistics(pixels), photo_statistics(coded.permute(1, 2, 0).numpy())
    assert after[13] < before[13] - 1
    assert after[14] == pytest.approx(before[14], abs=0.02), "its brightness stays"


def test_a_domain_survives_json(domain, streets):
    again = TrainingDomain.from_dict(json.loads(json.dumps(domain.to_dict())))
    assert np.array_equal(again.distances(streets), domain.distances(streets))
    assert again.summary() == domain.summary()


def test_damaged_or_too_few_statistics_are_a_value_error(domain, streets):
    with pytest.raises(ValueError, match="shapes"):
        TrainingDomain.from_dict(domain.to_dict() | {"mean": [1.0]})
    with pytest.raises(ValueError, match="1 photos of train and 3 of val"):
        TrainingDomain.fit(streets[:1], streets[:3])


def test_frames_are_compared_without_the_colours_fine_detail_and_as_strictly(domain):
    streets = [draw_scene(seed, *SIZE).image for seed in range(7000, 7060)]
    halved = []
    for street in streets:  # as videos store colours (4:2:0): at half the size
        luma, blue, red = Image.fromarray(street).convert("YCbCr").split()
        half = [each.resize((SIZE[1] // 2, SIZE[0] // 2)).resize((SIZE[1], SIZE[0])) for each in (blue, red)]
        halved.append(np.asarray(Image.merge("YCbCr", (luma, *half)).convert("RGB")))
    assert np.mean(domain.is_unlike(halved)) > 0.5, "which is why there are other statistics for frames"
    shares = [np.mean([domain.is_unlike_frame(frame) for frame in frames]) for frames in (streets, halved)]
    assert abs(shares[1] - shares[0]) < 0.15, shares
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    assert domain.is_unlike_frame(noise) is True


def test_distances_of_frames_are_those_of_a_domain_of_their_statistics_alone(domain):
    """Mahalanobis's formula, written out for the 20 statistics and fitted anew."""
    train = np.array([photo_statistics(draw_scene(seed, *SIZE).image) for seed in range(60)])
    fitted = TrainingDomain.fit(train, train[:20])
    kept = [*range(16), 30, 31, 46, 47]
    normed = (train[:, kept] - train[:, kept].mean(axis=0)) / (train[:, kept].std(axis=0) + 1e-6)
    shrunk = 0.9 * normed.T @ normed / len(train) + 0.1 * np.eye(20)
    expected = [row @ np.linalg.solve(shrunk, row) / 20 for row in normed]
    np.testing.assert_allclose(fitted.frame_distances(train), expected, rtol=1e-8)


def test_a_domain_from_before_marks_no_frames(domain):
    plain = domain.to_dict()
    del plain["frame_threshold"]
    before = TrainingDomain.from_dict(plain)
    assert before.is_unlike_frame(np.full((*SIZE, 3), 128, np.uint8)) is None
    assert before.is_unlike([np.full((*SIZE, 3), 128, np.uint8)]) == [True]
