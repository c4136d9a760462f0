"""Synthetic streets must need a network: colour, position and thumbnails may not solve them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from streetlab.datasets.labels import CITYSCAPES, IGNORE_INDEX
from streetlab.synthetic import draw_scene


def fitted(inputs: np.ndarray, targets: np.ndarray, strength: float):
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=100))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(inputs, targets)


@pytest.mark.slow
def test_a_thumbnail_does_not_tell_how_clean_a_street_is() -> None:
    scenes = [draw_scene(20_000 + seed) for seed in range(500)]
    thumbnails = np.stack(
        [np.asarray(Image.fromarray(scene.image).resize((16, 16), Image.Resampling.BOX)) for scene in scenes]
    ).reshape(len(scenes), -1)
    labels = np.array([scene.label for scene in scenes])
    for strength in (1e-4, 1e-2, 1.0):
        model = fitted(thumbnails[:350], labels[:350], strength)
        assert model.score(thumbnails[350:], labels[350:]) < 0.6


def test_colour_and_position_do_not_tell_the_class_of_a_pixel() -> None:
    sampler = np.random.default_rng(0)

    def pixels(first: int, count: int, each: int) -> tuple[np.ndarray, np.ndarray]:
        inputs, targets = [], []
        for seed in range(first, first + count):
            scene = draw_scene(seed)
            rows, columns = sampler.integers(0, 128, each), sampler.integers(0, 256, each)
            inputs.append(np.column_stack([scene.image[rows, columns], rows, columns]))
            targets.append(scene.mask[rows, columns])
        target = np.concatenate(targets)
        known = target != IGNORE_INDEX
        return np.concatenate(inputs)[known].astype(float), target[known]

    model = fitted(*pixels(30_000, 100, 150), 1.0)
    inputs, truth = pixels(31_000, 60, 2000)
    predicted = model.predict(inputs)
    confusion = np.zeros((len(CITYSCAPES), len(CITYSCAPES)), int)
    np.add.at(confusion, (truth, predicted), 1)
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    present = confusion.sum(1) > 0
    assert (hits[present] / union[present]).mean() < 0.3
