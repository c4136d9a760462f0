"""Synthetic cities on a real street network: true severity, photos, a classifier's answers, people's grades."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from streetlab.metrics.statistics.prediction_powered import Graded, sum_up_grades

SEVERITY = np.array([0.0, 50.0, 100.0])
_THRESHOLDS = np.array([-0.2, 0.9])
"""Between Clean, Medium and Litter, where the mean of the latent dirt is 0: 44%, 35% and 21% of photos."""
_RANGE = 300.0
"""Metres over which the correlation of two streets' dirt falls to 37%."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def street_network() -> tuple[Floats, Floats]:
    """Midpoints (n, 2) and lengths (n,), in metres, of the 293 streets that libpysal holds (GeoDaNet's example)."""
    import geopandas
    from libpysal.examples import get_path

    streets = geopandas.read_file(get_path("streets.shp")).to_crs(26912)
    middles = streets.geometry.interpolate(0.5, normalized=True)
    return np.stack([middles.x, middles.y], axis=1), streets.length.to_numpy()


@dataclass(frozen=True, eq=False)
class Answers:
    """A classifier's answers to photos of known class: what it would say to others of that class.

    Args:
        labels: (N,) true class.
        probabilities: (N, 3).
    """

    labels: Ints
    probabilities: Floats

    @property
    def confusion(self) -> Ints:
        """(3, 3) counts; the row is the true class."""
        flat = self.labels * 3 + self.probabilities.argmax(axis=1)
        return np.bincount(flat, minlength=9).reshape(3, 3)


def read_answers(path: Path) -> Answers:
    """The file answers.csv of this folder: the test part of a real run."""
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return Answers(table[:, 0].astype(np.int64), table[:, 1:])


@dataclass(frozen=True, eq=False)
class Settings:
    """What all cities of a study share.

    Args:
        photos: fewest and most photos of a street; spread evenly on a logarithmic scale.
        bias: share of photos with litter that the classifier answers as if they were one class cleaner.
        alike: share of a street's photos that get the answer of another one of that street and class.
    """

    photos: tuple[int, int] = (1, 30)
    bias: float = 0.0
    alike: float = 0.3
    spread: float = 1.0
    """Standard deviation of streets, of which 60% is correlated in space; photos of one street vary by 0.8."""


PHOTO_SPREAD = 0.8


@dataclass(frozen=True, eq=False)
class City:
    """One city.

    Args:
        truth: (n,) expected severity of each street, 0 to 100.
        segment, label, severity: (N,) street, true class and the model's expected severity of each photo.
        probabilities: (N, 3).
    """

    truth: Floats
    segment: Ints
    label: Ints
    severity: Floats
    probabilities: Floats


class Cities:
    """Draws cities on one network."""

    def __init__(self, middles: Floats, answers: Answers, settings: Settings) -> None:
        apart = np.linalg.norm(middles[:, None] - middles[None], axis=-1)
        covariance = settings.spread**2 * (0.6 * np.exp(-apart / _RANGE) + 0.4 * np.eye(len(middles)))
        self._root = np.linalg.cholesky(covariance)
        self._answers, self._settings = answers, settings
        self._of_class = [np.flatnonzero(answers.labels == k) for k in range(3)]

    def draw(self, rng: np.random.Generator, shift: float = 0.0) -> City:
        """Draw a city; `shift` is added to the latent dirt of every street."""
        return self.photograph(rng, self.latent(rng) + shift)

    def latent(self, rng: np.random.Generator) -> Floats:
        """(n,) latent dirt of each street, of a city that is cleaner or dirtier than others as a whole."""
        return 0.4 * rng.normal() + self._root @ rng.normal(size=len(self._root))

    def photograph(self, rng: np.random.Generator, latent: Floats) -> City:
        """Photos of every street, and what the classifier says."""
        low, high = self._settings.photos
        count = np.floor(np.exp(rng.uniform(np.log(low), np.log(high + 1), len(latent)))).astype(np.int64)
        segment = np.repeat(np.arange(len(latent)), count)
        label = np.searchsorted(_THRESHOLDS, latent[segment] + PHOTO_SPREAD * rng.normal(size=len(segment)))
        seen = np.where(rng.random(len(label)) < self._settings.bias, np.maximum(label - 1, 0), label)
        alike = rng.random(len(label)) < self._settings.alike
        answer = np.zeros(len(label), dtype=np.int64)
        for k, known in enumerate(self._of_class):
            of_street = rng.choice(known, len(latent))
            here = seen == k
            answer[here] = np.where(alike[here], of_street[segment[here]], rng.choice(known, int(here.sum())))
        probabilities = self._answers.probabilities[answer]
        return City(expected_severity(latent), segment, label, probabilities @ SEVERITY, probabilities)


def expected_severity(latent: Floats) -> Floats:
    """(n,) mean severity of a street's photos, 0 to 100."""
    above = norm.sf((_THRESHOLDS[None] - latent[:, None]) / PHOTO_SPREAD)
    return 50 * above.sum(axis=1)


def subset(city: City, segments: Ints) -> City:
    """The photos of some streets, which are numbered anew in this order; the truth stays that of the city."""
    number = np.full(len(city.truth), -1)
    number[segments] = np.arange(len(segments))
    kept = number[city.segment] >= 0
    return replace(
        city,
        segment=number[city.segment[kept]],
        label=city.label[kept],
        severity=city.severity[kept],
        probabilities=city.probabilities[kept],
    )


def grade_segments(city: City, segments: Ints, photos: int, rng: np.random.Generator) -> Graded:
    """Grades of people for a few photos of each of these streets, drawn at random within the street."""
    order = rng.permutation(len(city.segment))
    order = order[np.argsort(city.segment[order], kind="stable")]
    first = np.searchsorted(city.segment[order], np.arange(city.segment.max() + 1))
    rank = np.arange(len(order)) - first[city.segment[order]]
    chosen = order[np.isin(city.segment[order], segments) & (rank < photos)]
    return sum_up_grades(city.segment[chosen], SEVERITY[city.label[chosen]], city.severity[chosen])


def grade_photos(city: City, count: int, rng: np.random.Generator) -> Graded:
    """Grades of people for photos that are drawn at random from all of the city."""
    chosen = rng.permutation(len(city.segment))[:count]
    of_all = np.bincount(city.segment)
    weights = np.bincount(city.segment[chosen], minlength=len(of_all)) / of_all
    return sum_up_grades(city.segment[chosen], SEVERITY[city.label[chosen]], city.severity[chosen], weights)
