"""Change since an earlier survey: the paired t test's numbers, compare's verdicts, Holm over districts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from tests.support.drawn_survey import photo_table, scale, segment_table

from streetlab.errors import UserError
from streetlab.io import files
from streetlab.survey.tables import write_photos
from streetlab.survey.trend import Trend, read_baseline, trend, trend_sentence


def survey_of(severities, photos=4, spread=6.0, seed=0):
    """Photos of streets with these mean severities, from Clean to Medium alone."""
    rng = np.random.default_rng(seed)
    segments = np.repeat(np.arange(len(severities)), photos)
    severity = np.clip(np.asarray(severities)[segments] + spread * rng.normal(size=len(segments)), 0, 50)
    medium = severity / 50
    return photo_table(segments, np.stack([1 - medium, medium, 0 * medium], axis=1))


def row(result: Trend, area="all"):
    (found,) = [each for each in result.rows if each.area == area]
    return found


@pytest.fixture
def streets():
    return np.random.default_rng(3).uniform(15, 35, 30)


def test_the_change_is_that_of_a_paired_t_test(streets):
    before, now = survey_of(streets), survey_of(streets - 4 + np.random.default_rng(4).normal(size=30), seed=1)
    result = row(trend(now, segment_table(30), before, delta=5))
    one, two = (photos.groupby("segment")["severity"].mean() for photos in (now, before))
    oracle = stats.ttest_rel(one, two)
    assert result.change == pytest.approx((one - two).mean())
    assert (result.low, result.high) == pytest.approx(tuple(oracle.confidence_interval()))
    assert result.p == result.p_adjusted == pytest.approx(oracle.pvalue)
    assert result.verdict == "better"
    assert trend_sentence(result.__dict__).startswith("better: -")


def test_verdicts_are_those_of_compare(streets):
    before = survey_of(streets)
    verdicts = {
        shift: row(trend(survey_of(streets + shift, seed=2), segment_table(30), before, delta=3)).verdict
        for shift in (-6, 0, 6)
    }
    assert verdicts == {-6: "better", 0: "equivalent", 6: "worse"}
    noisy = trend(survey_of(streets, 1, 15, seed=3), segment_table(30), survey_of(streets, 1, 15), delta=1)
    assert row(noisy).verdict == "not enough data"
    assert "4 of 5 cases" in trend_sentence(noisy.to_json()[0])


def test_p_of_districts_is_corrected_by_holm_and_the_whole_is_not(streets):
    segments = segment_table(30, [f"d{i % 3}" for i in range(30)])
    result = trend(survey_of(streets + 2, seed=5), segments, survey_of(streets), delta=1)
    districts = [each for each in result.rows if each.level == "district"]
    assert len(districts) == 3
    adjusted = multipletests([each.p for each in districts], method="holm")[1]
    assert [each.p_adjusted for each in districts] == pytest.approx(list(adjusted))
    assert row(result).p == row(result).p_adjusted


def test_where_all_streets_are_in_both_surveys_only_the_photos_are_uncertain(streets):
    before, now = survey_of(streets), survey_of(streets + np.tile([-8.0, 8], 15), seed=1)
    of_all = row(trend(now, segment_table(30), before, delta=5, population=True))
    of_sample = row(trend(now, segment_table(30), before, delta=5))
    within = sum((photos.groupby("segment")["severity"].var(ddof=1) * 3).sum() / 90 / 4 for photos in (now, before))
    assert of_all.high - of_all.low == pytest.approx(2 * stats.t.ppf(0.975, 29) * np.sqrt(within / 30), rel=1e-6)
    assert of_all.high - of_all.low < 0.6 * (of_sample.high - of_sample.low)


def test_each_street_has_its_change_and_those_in_one_survey_alone_have_none(streets):
    before, now = survey_of(streets), survey_of(np.where(np.arange(30) == 7, streets + 15, streets), seed=1)
    missing = before[before["segment"] != "s003"]
    table = trend(now, segment_table(32), missing, delta=5).segments.set_index("segment")
    assert table.loc[["s003", "s030"], "change"].isna().all()
    assert table["change_p"].idxmin() == "s007"
    assert table.loc["s007", "change_low"] > 0
    one, two = (photos.groupby("segment")["severity"].mean()["s007"] for photos in (now, before))
    assert table.loc["s007", "change"] == pytest.approx(one - two)


def test_the_same_survey_twice_is_no_proof_that_nothing_changed():
    photos = survey_of([10.0, 20, 30], photos=1)
    result = row(trend(photos, segment_table(3), photos, delta=5))
    assert (result.change, result.verdict) == (0, "not enough data")
    alone = row(trend(photos[:1], segment_table(3), photos, delta=5))
    assert (alone.low, alone.p, alone.verdict) == (None, None, "not enough data")
    assert "1 segment in both" in trend_sentence(alone.__dict__)


def write_survey(folder, photos, on):
    write_photos(folder, photos)
    files.write_json(folder / "survey.json", {"scale": on.to_dict()})
    return folder


def test_a_baseline_is_read_from_its_folder(tmp_path, streets):
    photos = survey_of(streets)
    read = read_baseline(write_survey(tmp_path / "before", photos, scale()), scale())
    assert read["segment"].tolist() == photos["segment"].tolist()
    assert read["severity"].to_numpy() == pytest.approx(photos["severity"].to_numpy(), abs=1e-6)


def test_what_is_no_baseline_is_one_clear_line(tmp_path, streets):
    photos = survey_of(streets)
    folder = write_survey(tmp_path / "before", photos, scale("leams"))
    with pytest.raises(UserError, match=r"is on scale 'leams', this survey on 'severity'.*scale=leams"):
        read_baseline(folder, scale())
    changed = json.loads((folder / "survey.json").read_text())
    changed["scale"] |= {"name": "severity"}
    (folder / "survey.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match="other numbers of the scale 'severity'"):
        read_baseline(folder, scale())
    with pytest.raises(UserError, match="holds no survey"):
        read_baseline(tmp_path / "nothing", scale())
    with pytest.raises(UserError, match="none of its 30 segments has photos in this survey"):
        trend(photos, segment_table(30), photos.assign(segment="x" + photos["segment"]), delta=5)
