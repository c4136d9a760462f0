"""Simulate surveys of synthetic cities with a known truth: do the intervals hold it?

python experiments/survey/simulate.py coverage [WORLDS]     1,000 cities: intervals of every estimator
python experiments/survey/simulate.py trend [WORLDS]        two surveys of one city: false alarms, power
python experiments/survey/simulate.py plan [WORLDS]         200 cities: the half-width that a planned sample reaches

Prints Markdown tables and writes the numbers beside this script, from which draw.py makes the plots.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from cities import (
    SEVERITY,
    Answers,
    Cities,
    City,
    Floats,
    Settings,
    expected_severity,
    grade_photos,
    grade_segments,
    read_answers,
    street_network,
    subset,
)
from scipy.optimize import brentq

from streetlab.metrics.statistics.differences import Difference
from streetlab.metrics.statistics.intervals import Estimate, wilson_interval
from streetlab.metrics.statistics.misclassification import rogan_gladen, shifted_priors
from streetlab.metrics.statistics.prediction_powered import prediction_powered_mean
from streetlab.metrics.statistics.survey_sampling import (
    Design,
    sampling_design,
    segment_means,
    spread_within,
    survey_mean,
    survey_means,
)
from streetlab.survey.plan import components_of_pilot, make_plan
from streetlab.survey.trend import mean_change

HERE = Path(__file__).parent
MODELS = {"as tested": 0.0, "biased": 0.5}
"""Share of photos with litter that the classifier sees one class too clean."""
GRADED = (5, 7, 10, 15, 20, 30, 50, 75, 100, 150, 200)
PHOTOS_GRADED = 3
"""Of each graded street, where it has so many."""

Interval = tuple[float, float, float]
"""An estimate and the ends of its interval."""


def main() -> None:
    what, *words = sys.argv[1:]
    studies = {"coverage": (coverage, 1000), "trend": (trend, 1000), "plan": (plan, 200)}
    study, worlds = studies[what]
    study(int(words[0]) if words else worlds)


def coverage(worlds: int) -> None:
    """Intervals of all estimators in cities of which every street is seen, and of samples of streets."""
    middles, _ = street_network()
    answers = read_answers(HERE / "answers.csv")
    numbers: dict[str, dict[str, float]] = {}
    for name, bias in MODELS.items():
        cities = Cities(middles, answers, Settings(bias=bias))
        rng = np.random.default_rng(19)
        rows: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        for _ in range(worlds):
            city = cities.draw(rng)
            truth = float(city.truth.mean())
            for estimator, (value, low, high) in _intervals(city, answers, rng):
                rows[estimator].append((float(low <= truth <= high), (high - low) / 2, value - truth))
            for estimator, stratum_truth, (value, low, high) in _strata(city, middles, rng):
                rows[estimator].append((float(low <= stratum_truth <= high), (high - low) / 2, value - stratum_truth))
        for estimator, results in rows.items():
            table = np.array(results)
            numbers[f"{name}: {estimator}"] = {
                "coverage": float(table[:, 0].mean()),
                "half_width": float(np.median(table[:, 1])),
                "bias": float(table[:, 2].mean()),
                "sd": float(table[:, 2].std()),
            }
    _write("coverage", worlds, numbers)
    print("| classifier: estimator | coverage, 95% | half-width, median | bias | standard deviation |")
    print("|---|---|---|---|---|")
    for key, row in numbers.items():
        low, high = wilson_interval(round(row["coverage"] * worlds), worlds)
        print(
            f"| {key} | {row['coverage']:.1%} [{low:.1%}, {high:.1%}] | {row['half_width']:.1f} "
            f"| {row['bias']:+.1f} | {row['sd']:.1f} |"
        )
    for name in MODELS:
        print(name, "grades saved:", {g: f"{s:.0%}" for g, s in grades_saved(numbers, name).items()})


def grades_saved(numbers: dict[str, dict[str, float]], model: str) -> dict[int, float]:
    """By graded streets with the model: the share of grades that people alone would need more for its half-width."""
    human = np.log([numbers[f"{model}: human, {g}"]["half_width"] for g in GRADED])
    saved = {}
    for g in GRADED:
        wanted = np.log(numbers[f"{model}: ppi, {g}"]["half_width"])
        if human[-1] <= wanted <= human[0]:
            needed = np.exp(np.interp(-wanted, -human, np.log(GRADED)))
            saved[g] = float(1 - g / needed)
    return saved


def _intervals(city: City, answers: Answers, rng: np.random.Generator) -> Iterator[tuple[str, Interval]]:
    n = len(city.truth)
    design = sampling_design(n, population=[n])
    predicted = city.probabilities.argmax(axis=1)
    naive = SEVERITY[predicted]
    yield "naive mean", _of(Estimate(float(naive.mean()), float(naive.std(ddof=1) / len(naive) ** 0.5), len(naive) - 1))
    means = segment_means(city.severity[:, None], city.segment)[:, 0]
    yield "plug-in", _of(_plug_in(city, design))
    indicators = np.eye(3)[predicted]
    spread = spread_within(indicators, city.segment)
    observed = segment_means(indicators, city.segment)
    shares, covariance = survey_means(observed, design, np.bincount(city.segment), spread)
    tested = np.concatenate([rng.choice(known, len(known)) for known in _by_class(answers)])
    confusion = Answers(answers.labels[tested], answers.probabilities[tested]).confusion
    yield "Rogan-Gladen", rogan_gladen(shares, covariance, design.df, confusion).mean(SEVERITY)
    weights = (1 / np.bincount(city.segment))[city.segment]
    prior = np.bincount(answers.labels) / len(answers.labels)
    shifted = shifted_priors(city.probabilities, prior, city.segment, weights, design)
    yield "EM", shifted.mean(SEVERITY)
    order = rng.permutation(n)
    for g in GRADED:
        graded = grade_segments(city, order[:g], PHOTOS_GRADED, rng)
        for name, tuning in (("human", 0.0), ("ppi", None)):
            yield f"{name}, {g}", _of(prediction_powered_mean(means, graded, design, tuning))
    one_by_one = grade_photos(city, 90, rng)
    for name, tuning in (("human", 0.0), ("ppi", None)):
        yield f"{name}, 90 photos one by one", _of(prediction_powered_mean(means, one_by_one, design, tuning))
    for visited, g in ((100, 30), (40, 10)):
        part = subset(city, rng.permutation(n)[:visited])
        seen = sampling_design(visited, population=[n])
        part_means = segment_means(part.severity[:, None], part.segment)[:, 0]
        yield f"plug-in, {visited} streets seen", _of(_plug_in(part, seen))
        graded = grade_segments(part, rng.permutation(visited)[:g], PHOTOS_GRADED, rng)
        for name, tuning in (("human", 0.0), ("ppi", None)):
            mean = prediction_powered_mean(part_means, graded, seen, tuning)
            yield f"{name}, {g} of {visited} streets seen", _of(mean)


def _strata(city: City, middles: Floats, rng: np.random.Generator) -> Iterator[tuple[str, float, Interval]]:
    """Strata of neighbouring streets, all seen, of which 10 are graded."""
    for size in (10, 15, 20, 40, 80):
        centre = rng.integers(len(middles))
        near = np.argsort(np.linalg.norm(middles - middles[centre], axis=1), kind="stable")[:size]
        part = subset(city, near)
        design = sampling_design(size, population=[size])
        means = segment_means(part.severity[:, None], part.segment)[:, 0]
        graded = grade_segments(part, rng.permutation(size)[:10], PHOTOS_GRADED, rng)
        truth = float(city.truth[near].mean())
        for name, tuning in (("human", 0.0), ("ppi", None)):
            yield (
                f"{name}, 10 of a stratum of {size}",
                truth,
                _of(prediction_powered_mean(means, graded, design, tuning)),
            )


def _plug_in(city: City, design: Design) -> Estimate:
    spread = spread_within(city.severity[:, None], city.segment)
    means = segment_means(city.severity[:, None], city.segment)[:, 0]
    return survey_mean(means, design, np.bincount(city.segment), None if spread is None else float(spread[0, 0]))


def _by_class(answers: Answers) -> list[np.ndarray]:
    return [np.flatnonzero(answers.labels == k) for k in range(3)]


def _of(mean: Estimate) -> Interval:
    low, high = mean.interval()
    return mean.value, max(low, 0.0), min(high, 100.0)


def trend(worlds: int) -> None:
    """Two surveys of one city: streets change or not, the city as a whole does not, or by 5 points."""
    middles, _ = street_network()
    answers = read_answers(HERE / "answers.csv")
    numbers: dict[str, dict[str, float]] = {}
    for name, bias in MODELS.items():
        cities = Cities(middles, answers, Settings(bias=bias))
        for points in (0.0, 5.0):
            rng = np.random.default_rng(5)
            rows: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
            for _ in range(worlds):
                before = cities.latent(rng)
                for moving, spread in (("streets as they were", 0.0), ("streets change", 0.5)):
                    now = _moved(before, before + spread * rng.normal(size=len(before)), points)
                    surveys = cities.photograph(rng, before), cities.photograph(rng, now)
                    for visited in (len(before), 100):
                        change = _change(surveys, rng.permutation(len(before))[:visited], len(before))
                        low, high = change.interval()
                        found = float(change.p_value < 0.05)
                        rows[f"{moving}, {visited} streets"].append((found, float(low <= points <= high), high - low))
            for kind, results in rows.items():
                table = np.array(results)
                numbers[f"{name}: {kind}, {points:+.0f} points"] = {
                    "found": float(table[:, 0].mean()),
                    "coverage": float(table[:, 1].mean()),
                    "half_width": float(np.median(table[:, 2]) / 2),
                }
    _write("trend", worlds, numbers)
    print("| classifier: surveys, true change | a change is found | coverage, 95% | half-width, median |")
    print("|---|---|---|---|")
    for key, row in numbers.items():
        print(f"| {key} | {row['found']:.1%} | {row['coverage']:.1%} | {row['half_width']:.1f} |")


def _moved(before: Floats, now: Floats, points: float) -> Floats:
    """The latent dirt `now`, all of it moved so that the city's mean severity differs by so many points."""
    wanted = float(expected_severity(before).mean()) + points
    shift = brentq(lambda by: float(expected_severity(now + by).mean()) - wanted, -6, 6)
    return now + float(shift)


def _change(surveys: tuple[City, City], streets: np.ndarray, total: int) -> Difference:
    means, variance = [], np.zeros(len(streets))
    for survey in surveys:
        part = subset(survey, streets)
        spread = spread_within(part.severity[:, None], part.segment)
        assert spread is not None
        means.append(segment_means(part.severity[:, None], part.segment)[:, 0])
        variance = variance + float(spread[0, 0]) / np.bincount(part.segment)
    return mean_change(means[1] - means[0], variance, sampling_design(len(streets), population=[total]))


def plan(worlds: int) -> None:
    """Cities of which 30 streets are a pilot; then what the plan says is done."""
    middles, _ = street_network()
    answers = read_answers(HERE / "answers.csv")
    total = len(middles)
    numbers: dict[str, dict[str, float]] = {}
    for name, bias in MODELS.items():
        cities = Cities(middles, answers, Settings(photos=(PHOTOS_GRADED, PHOTOS_GRADED), bias=bias))
        for wanted in (4.0, 6.0, 8.0):
            rng = np.random.default_rng(7)
            rows = []
            for _ in range(worlds):
                latent = cities.latent(rng)
                pilot = subset(cities.photograph(rng, latent), rng.permutation(total)[:30])
                parts = components_of_pilot(pilot.segment, SEVERITY[pilot.label], pilot.severity, "pilot")
                planned = make_plan(wanted, total, PHOTOS_GRADED, parts)
                city = cities.photograph(rng, latent)
                part = subset(city, rng.permutation(total)[: planned.visited])
                means = segment_means(part.severity[:, None], part.segment)[:, 0]
                graded = grade_segments(part, np.arange(planned.graded), PHOTOS_GRADED, rng)
                design = sampling_design(planned.visited, population=[total])
                low, high = prediction_powered_mean(means, graded, design).interval()
                truth = float(city.truth.mean())
                alone = planned.people_alone or total
                rows.append((low <= truth <= high, (high - low) / 2, planned.visited, planned.graded, alone))
            table = np.array(rows, dtype=float)
            numbers[f"{name}: half-width {wanted:g}"] = {
                "reached": float(np.median(table[:, 1])),
                "ratio": float(np.median(table[:, 1]) / wanted),
                "coverage": float(table[:, 0].mean()),
                "visited": float(np.median(table[:, 2])),
                "graded": float(np.median(table[:, 3])),
                "people_alone": float(np.median(table[:, 4])),
            }
    _write("plan", worlds, numbers)
    print("| classifier: wanted | reached, median | of the wanted | coverage | visit | grade | without a model |")
    print("|---|---|---|---|---|---|---|")
    for key, row in numbers.items():
        print(
            f"| {key} | {row['reached']:.2f} | {row['ratio']:.0%} | {row['coverage']:.1%} | {row['visited']:.0f} "
            f"| {row['graded']:.0f} | {row['people_alone']:.0f} |"
        )


def _write(study: str, worlds: int, numbers: dict[str, dict[str, float]]) -> None:
    rounded = {key: {name: round(value, 4) for name, value in row.items()} for key, row in numbers.items()}
    (HERE / f"{study}.json").write_text(json.dumps({"worlds": worlds, "numbers": rounded}, indent=1) + "\n")


if __name__ == "__main__":
    main()
