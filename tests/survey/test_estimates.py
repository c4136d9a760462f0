"""Estimates of segments and areas: equal to scipy's and ppi-python's numbers, honest about what they rest on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import ppi_py
import pytest
from scipy import stats
from tests.support.drawn_survey import CLASSES, drawn_photos, photo_table, scale, segment_table

from streetlab.errors import UserError
from streetlab.survey.estimates import ONLY_AS_GOOD, Estimates, estimate

SEVERITY = np.array([0.0, 50, 100])


def one(estimates: Estimates, estimator: str, measure: str = "severity", area: str = "all"):
    (row,) = [r for r in estimates.rows if (r.estimator, r.measure, r.area) == (estimator, measure, area)]
    return row


def people(photos: pd.DataFrame, labels, positions) -> pd.DataFrame:
    chosen = np.asarray(positions)
    return pd.DataFrame(
        {"file": photos["file"].to_numpy()[chosen], "grade": np.array(CLASSES)[labels[chosen]],
         "severity": SEVERITY[labels[chosen]]}
    )  # fmt: skip


@pytest.fixture(scope="module")
def city():
    """60 streets in two districts, 20 of them without photos; true class of each photo."""
    rng = np.random.default_rng(5)
    segments = np.sort(rng.integers(0, 40, 200))
    label, probabilities = drawn_photos(rng, segments, bias=1.0)
    table = segment_table(60, ["North"] * 25 + ["South"] * 35, lengths=rng.uniform(50, 300, 60))
    return photo_table(segments, probabilities), table, label


def test_a_mean_over_streets_has_students_interval_over_streets(city):
    photos, segments, _ = city
    row = one(estimate(photos, segments, scale=scale()), "plug_in")
    means = photos.groupby("segment")["severity"].mean()
    assert row.value == pytest.approx(means.mean())
    assert (row.low, row.high) == pytest.approx(stats.t.interval(0.95, len(means) - 1, means.mean(), stats.sem(means)))
    assert (row.n_segments, row.n_photos, row.n_graded) == (len(means), 200, 0)
    assert ONLY_AS_GOOD in row.assumes


def test_streets_count_by_length_where_that_is_wanted(city):
    photos, segments, _ = city
    means = photos.groupby("segment")["severity"].mean()
    lengths = segments.set_index("segment")["length_m"][means.index]
    row = one(estimate(photos, segments, scale=scale(), weights="length"), "plug_in")
    assert row.value == pytest.approx(np.average(means, weights=lengths))


def test_cells_have_no_length_to_count_by(city):
    photos, segments, _ = city
    with pytest.raises(UserError, match="weights: 'length' needs segments with a length"):
        estimate(photos, segments.assign(length_m=np.nan), scale=scale(), weights="length")


def test_where_the_streets_are_all_there_are_the_interval_is_narrower(city):
    photos, segments, _ = city
    far_more = one(estimate(photos, segments, scale=scale()), "plug_in")
    of_60 = one(estimate(photos, segments, scale=scale(), population=True), "plug_in")
    assert of_60.value == pytest.approx(far_more.value)
    groups = photos.groupby("segment")["severity"]
    n, count, means = groups.ngroups, groups.size(), groups.mean()
    within = (groups.var(ddof=1).fillna(0) * (count - 1)).sum() / (200 - n)
    # Cochran 1977, 11.8: of the variance between streets the part of those not seen, of photos the part of those seen
    variance = (1 - n / 60) * means.var(ddof=1) / n + n / 60 * (within / count).sum() / n**2
    assert of_60.high - of_60.low == pytest.approx(2 * stats.t.ppf(0.975, n - 1) * np.sqrt(variance))
    assert of_60.high - of_60.low < 0.9 * (far_more.high - far_more.low)


def test_strata_count_by_their_streets_not_by_their_photos():
    probabilities = np.array([*[[1.0, 0, 0]] * 6, *[[0, 0, 1.0]] * 2])
    photos = photo_table([0, 1, 2, 3, 4, 5, 10, 11], probabilities)
    segments = segment_table(40, strata=["centre"] * 10 + ["suburb"] * 30)
    both = estimate(photos, segments, scale=scale(), population=True)
    assert one(both, "plug_in").value == pytest.approx(75)
    assert one(both, "plug_in", area="suburb").value == 100
    assert {row.level for row in both.rows} == {"all", "stratum"}


def test_prediction_powered_estimates_are_those_of_ppi_python_for_photos_of_streets_of_their_own():
    rng = np.random.default_rng(8)
    label, probabilities = drawn_photos(rng, np.arange(400), bias=2.0)
    photos = photo_table(range(400), probabilities)
    graded = people(photos, label, range(80))
    estimates = estimate(photos, segment_table(400), graded, scale=scale())
    row, model = one(estimates, "ppi"), photos["severity"].to_numpy()
    human, seen, others = SEVERITY[label[:80]], model[:80], model[80:]
    assert row.value == pytest.approx(float(ppi_py.ppi_mean_pointestimate(human, seen, others)[0]), abs=0.3)
    low, high = ppi_py.ppi_mean_ci(human, seen, others, alpha=0.05)
    assert row.high - row.low == pytest.approx((high - low)[0], rel=0.05)  # Student's t and the fitted λ add a little
    assert row.high - row.low < one(estimates, "human").high - one(estimates, "human").low
    low_share, high_share = ppi_py.ppi_mean_ci((human == 100) * 1.0, (seen > 75) * 1.0, (others > 75) * 1.0, alpha=0.05)
    litter = one(estimates, "ppi", "share:Litter")
    assert (litter.low, litter.high) == pytest.approx((low_share[0], high_share[0]), abs=0.01)


def test_the_human_sample_alone_is_a_mean_over_graded_streets():
    rng = np.random.default_rng(9)
    label, probabilities = drawn_photos(rng, np.repeat(np.arange(50), 3))
    photos = photo_table(np.repeat(np.arange(50), 3), probabilities)
    graded = people(photos, label, range(60))  # all three photos of the first twenty
    for sample in ("random", "segments"):
        row = one(estimate(photos, segment_table(50), graded, scale=scale(), grades_sample=sample), "human")
        means = SEVERITY[label[:60]].reshape(20, 3).mean(axis=1)
        assert row.value == pytest.approx(means.mean())
        assert (row.low, row.high) == pytest.approx(stats.t.interval(0.95, 19, means.mean(), stats.sem(means)))
        assert row.n_graded == 60


def test_grades_that_are_no_random_sample_are_shown_and_used_for_nothing(city):
    photos, segments, label = city
    graded = people(photos, label, range(0, 200, 3))
    estimates = estimate(photos, segments, graded, scale=scale(), grades_sample="convenience")
    assert {row.estimator for row in estimates.rows} == {"plug_in", "human"}
    row = one(estimates, "human")
    assert (row.low, row.high) == (None, None)
    assert "no random sample" in row.assumes
    assert set(estimates.areas["estimator"]) == {"plug_in"}


def test_few_graded_streets_say_so_and_do_not_lead(city):
    photos, segments, label = city
    estimates = estimate(photos, segments, people(photos, label, [0, 60, 120, 180]), scale=scale())
    assert "4 graded segments are fewer than 10" in one(estimates, "ppi").assumes
    assert estimates.areas["estimator"][0] == "plug_in"
    many = estimate(photos, segments, people(photos, label, range(0, 200, 4)), scale=scale())
    assert many.areas["estimator"][0] == "ppi"
    assert "fewer" not in one(many, "ppi").assumes


def test_estimates_corrected_by_the_test_part_undo_a_known_confusion():
    rates = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.0, 0.3, 0.7]])
    shares = np.array([50, 30, 20])
    predicted = np.concatenate(
        [np.repeat(np.arange(3), np.rint(n * row).astype(int)) for n, row in zip(shares, rates, strict=True)]
    )
    rng = np.random.default_rng(0)
    photos = photo_table(range(100), np.eye(3)[rng.permutation(predicted)])
    estimates = estimate(photos, segment_table(100), scale=scale(), confusion=rates * 1000)
    assert one(estimates, "rogan_gladen").value == pytest.approx(0.3 * 50 + 0.2 * 100)
    assert one(estimates, "rogan_gladen", "share:Litter").value == pytest.approx(0.2)
    assert one(estimates, "rogan_gladen", "acceptable").value == pytest.approx(0.8)
    assert one(estimates, "plug_in").value < 35
    assert {row.estimator for row in estimates.rows} == {"plug_in", "rogan_gladen", "em"}


def test_a_test_part_that_says_too_little_gives_no_corrected_estimate(city):
    photos, segments, _ = city
    estimates = estimate(photos, segments, scale=scale(), confusion=np.ones((3, 3)))
    assert {row.estimator for row in estimates.rows} == {"plug_in", "em"}
    (sentence,) = estimates.uncorrected
    assert sentence == (
        "No estimates rogan_gladen: the run's test part says too little: the classifier hardly tells the classes apart."
    )
    assert estimate(photos, segments, scale=scale(), confusion=np.eye(3)).uncorrected == ()
    reason = "its file is gone"
    assert estimate(photos, segments, scale=scale(), no_confusion=reason).uncorrected == (
        f"No estimates rogan_gladen and em: {reason}.",
    )


def _seen(photos, sizes):
    """Streets with photos among the first 25 and the following 35."""
    numbers = photos["segment"].str[1:].astype(int).unique()
    return [int((numbers < sizes[0]).sum()), int((numbers >= sizes[0]).sum())]


def test_every_area_is_there_with_its_counts(city):
    photos, segments, _ = city
    areas = estimate(photos, segments, scale=scale()).areas.set_index("district")
    assert list(areas.index) == ["all", "North", "South"]
    assert areas["segments_total"].tolist() == [60, 25, 35]
    assert areas["photos"].sum() == 400
    assert areas["segments_seen"].tolist() == [
        areas["segments_seen"]["North"] + areas["segments_seen"]["South"],
        *areas["segments_seen"][1:],
    ]


def test_a_district_with_no_photo_one_photo_or_one_street_has_no_interval():
    photos = photo_table([0, 1, 1, -1], np.array([[0.5, 0.3, 0.2]] * 4))
    segments = segment_table(4, ["one photo", "one street", "none", ""])
    estimates = estimate(photos, segments, scale=scale(), confusion=np.diag([9, 9, 9]))
    areas = estimates.areas.set_index("district")
    assert np.isnan(areas.loc["none", "severity"])
    assert areas.loc["none", "estimator"] == ""
    assert one(estimates, "plug_in", area="one photo").low is None
    assert one(estimates, "plug_in", area="one street").high is None
    assert areas.loc["one photo", "severity"] == pytest.approx(35)
    assert one(estimates, "plug_in", area="all").n_photos == 3
    empty = estimate(photos.iloc[3:], segments, scale=scale())
    assert empty.rows == ()
    assert empty.segments["photos"].sum() == 0


def test_streets_that_all_look_clean_are_not_certain_to_be():
    photos = photo_table(range(12), np.array([[1.0, 0, 0]] * 12))
    row = one(estimate(photos, segment_table(12), scale=scale()), "plug_in", "share:Litter")
    assert row.value == row.low == 0
    assert row.high == pytest.approx(0.242, abs=0.001)  # Wilson's interval of 0 in 12


def test_a_street_has_the_interval_of_its_few_photos(city):
    photos, segments, _ = city
    table = estimate(photos, segments, scale=scale()).segments
    groups = photos.groupby("segment")["severity"]
    residual = (groups.var(ddof=1).fillna(0) * (groups.size() - 1)).sum() / (200 - groups.ngroups)
    row = table[table["photos"] == 4].iloc[0]
    half = stats.t.ppf(0.975, 200 - groups.ngroups) * np.sqrt(residual / 4)
    assert row["severity"] == pytest.approx(groups.mean()[row["segment"]])
    assert row["severity_low"] == pytest.approx(max(0, row["severity"] - half))
    assert row["severity_high"] == pytest.approx(min(100, row["severity"] + half))
    seen = table[table["photos"] > 0]
    assert seen[[f"share_{grade}" for grade in scale().grades]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert table[table["photos"] == 0]["severity"].isna().all()
    assert (table["uncertain"] == (table["photos"] < 3)).all()
    assert table.columns[-1] == "geometry"


def test_the_assumptions_are_said(city):
    photos, segments, label = city
    sentences = " ".join(estimate(photos, segments, scale=scale("ni195"), population=True).assumptions)
    assert "of all 60" in sentences
    assert "not validated on streets" in sentences
    assert ONLY_AS_GOOD in sentences
    graded = estimate(photos, segments, people(photos, label, range(30)), scale=scale()).assumptions
    assert ONLY_AS_GOOD not in " ".join(graded)
