"""Run groups are tested on the photos they share, by the right numbers, or not at all and with the reason."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from streetlab.compare.grouping import RunGroup, read_finished
from streetlab.compare.pairwise import compare_with_baseline, metric_interval, seeds_interval
from streetlab.datasets.labels import CAMVID, CLEANLINESS
from streetlab.metrics.classification import summarize_classification
from streetlab.metrics.predictions import Predictions
from streetlab.metrics.segmentation import summarize_segmentation

N = 112
LABELS = np.arange(N) % 3
IDS = [f"test/{i:04d}.png" for i in range(N)]


@pytest.fixture
def tested(make_record):
    """`tested(name, wrong, groups=…, order=…)` → a finished run that has the photos `wrong` wrong."""

    def make(name, wrong, *, groups=IDS, order=range(N), ids=IDS, labels=LABELS, seed=0):
        order, wrong = list(order), np.isin(np.arange(len(ids)), wrong)
        answers = np.where(wrong, (labels + 1) % 3, labels)
        predictions = Predictions(
            [ids[i] for i in order],
            [groups[i] for i in order],
            labels[order],
            answers[order],
            np.eye(3)[answers[order]],
            CLEANLINESS.names,
        )
        record = make_record(name, seed=seed)
        record.write_predictions({"test": predictions})
        record.write_metrics(record.metrics | {"test": summarize_classification(predictions, CLEANLINESS)})
        return read_finished(record)

    return make


@pytest.fixture
def segmented(make_record):
    """`segmented(name, skill)` → a finished segmentation run on 40 images, each seen in so many `frames`."""

    def make(name, skill, images=40, frames=1, groups=()):
        rng = np.random.default_rng(0)
        pixels = rng.integers(100, 5000, (images, 11))
        hits = (pixels * np.clip(skill + 0.1 * rng.normal(size=(images, 11)), 0, 1)).astype(int)
        wrong = np.roll(np.eye(11, dtype=int), 1, axis=1)
        matrices = hits[..., None] * np.eye(11, dtype=int) + (pixels - hits)[..., None] * wrong
        matrices = np.repeat(matrices, frames, axis=0)
        record = make_record(name)
        ids = [f"{i}.png" for i in range(len(matrices))]
        record.write_confusions({"test": (ids, matrices, *([groups] if groups else []))}, CAMVID.names)
        summary = summarize_segmentation(matrices.sum(axis=0), CAMVID, len(matrices))
        record.write_metrics(
            {"task": "segmentation", "objective": {"metric": "miou", "mode": "max"}, "eval_split": "test"}
            | {"label_space": CAMVID.to_dict(), "test": summary}
        )
        return read_finished(record)

    return make


def _group(*runs, name=None) -> RunGroup:
    return RunGroup(runs, (name or runs[0].record.name,))


def _some(count, seed):
    """Positions of wrong photos."""
    return np.random.default_rng(seed).choice(N, count, replace=False)


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy"])
def test_the_difference_is_that_of_the_records_means_over_seeds(tested, metric):
    group = _group(*(tested(f"a{s}", _some(20, s), seed=s) for s in range(3)))
    base = _group(*(tested(f"b{s}", _some(40, 9 + s), seed=s) for s in range(2)))
    (found,), refused = compare_with_baseline([group, base], base, metric, "max")
    expected = np.mean([r.test[metric] for r in group.runs]) - np.mean([r.test[metric] for r in base.runs])
    assert found.difference == pytest.approx(expected, abs=1e-12)
    assert found.interval[0] < expected < found.interval[1]
    assert (found.n, found.clusters, found.seeds) == (N, N, (3, 2))
    assert found.mcnemar is None
    assert refused == []


@pytest.mark.parametrize("metric", ["miou", "pixel_accuracy"])
def test_segmentation_is_tested_over_images(segmented, metric):
    good, bad = _group(segmented("good", 0.8)), _group(segmented("bad", 0.6))
    (found,), _ = compare_with_baseline([bad, good], good, metric, "max")
    expected = bad.runs[0].test[metric] - good.runs[0].test[metric]
    assert found.difference == pytest.approx(expected, abs=1e-12)
    assert found.verdict == "worse"
    assert (found.n, found.clusters, found.mcnemar) == (40, 40, None)
    low, high = metric_interval(good.runs[0], metric)
    assert low < good.runs[0].test[metric] < high


def test_photos_are_joined_by_id_not_by_row(tested):
    base = _group(tested("base", _some(30, 0)))
    rows = _group(tested("rows", _some(12, 1)))
    shuffled = _group(tested("shuffled", _some(12, 1), order=np.random.default_rng(2).permutation(N)))
    (first, second), _ = compare_with_baseline([rows, shuffled], base, "macro_f1", "max")
    assert first.interval == second.interval
    assert first.mcnemar == second.mcnemar


def test_mcnemar_counts_the_photos_that_one_alone_has_right(tested):
    base, group = _group(tested("base", range(10, 25))), _group(tested("group", range(20)))
    (found,), _ = compare_with_baseline([group], base, "macro_f1", "max")
    assert (found.mcnemar.only_baseline_right, found.mcnemar.only_group_right) == (10, 5)
    assert found.mcnemar.p_exact == pytest.approx(stats.binomtest(5, 15).pvalue, abs=1e-9)
    assert found.mcnemar.p_mid < found.mcnemar.p_exact


def test_duplicates_are_no_further_evidence(tested):
    # every third photo, of one class and one fate, has two twins
    groups = [f"g{i // 9 * 3 + i % 3}" for i in range(N)]
    wrong = [i for i in range(N) if i // 9 in (1, 4, 7)]
    results = {}
    for name, names in (("alone", IDS), ("unnamed", [""] * N), ("twins", groups)):
        base = _group(tested(f"base-{name}", [], groups=names))
        group = _group(tested(f"group-{name}", wrong, groups=names))
        (results[name],), _ = compare_with_baseline([group], base, "accuracy", "max")
    assert results["alone"].interval == results["unnamed"].interval
    assert results["twins"].clusters == len(set(groups)) < N
    assert results["twins"].n == N
    assert np.ptp(results["twins"].interval) > 1.5 * np.ptp(results["alone"].interval)


def test_p_is_holms_over_all_groups_of_the_table(tested):
    base = _group(tested("base", range(20)))
    groups = [_group(tested(f"m{count}", range(count))) for count in (22, 27, 40)]
    found, _ = compare_with_baseline([base, *groups], base, "macro_f1", "max")
    assert [comparison.group for comparison in found] == groups
    p = sorted(comparison.p_value for comparison in found)
    steps = np.maximum.accumulate([min(1.0, value * times) for value, times in zip(p, (3, 2, 1), strict=True)])
    assert sorted(comparison.p_adjusted for comparison in found) == pytest.approx(list(steps))
    alone, _ = compare_with_baseline(groups[:1], base, "macro_f1", "max")
    assert alone[0].p_adjusted == alone[0].p_value


@pytest.mark.parametrize(("mode", "words"), [("max", ["better", "worse"]), ("min", ["worse", "better"])])
def test_better_is_what_the_objectives_mode_says(tested, mode, words):
    base = _group(tested("base", range(40)))
    groups = [_group(tested("few", range(5))), _group(tested("many", range(80)))]
    found, _ = compare_with_baseline(groups, base, "accuracy", mode)
    assert [comparison.verdict for comparison in found] == words


def test_equal_within_the_margin_or_not_enough_data(tested):
    base = _group(tested("base", range(20)))
    close = _group(tested("close", [*range(19), 30]))  # another photo of the same class
    for delta, verdict in ((0.05, "equivalent"), (0.02, "not enough data")):
        (found,), _ = compare_with_baseline([close], base, "accuracy", "max", delta)
        assert found.verdict == verdict
        assert found.difference == 0
    assert found.smallest_difference == pytest.approx(2.8 * np.sqrt(2) / N, rel=0.1)
    assert "cannot be shown with these 112 photos" in found.sentence


def test_the_same_comparison_twice_gives_the_same_numbers(tested):
    base, group = _group(tested("base", _some(20, 0))), _group(tested("group", _some(30, 1)))
    runs = [compare_with_baseline([group], base, "macro_f1", "max", seed=seed)[0][0] for seed in (0, 0, 1)]
    assert runs[0].interval == runs[1].interval != runs[2].interval


def test_sentences_tell_verdict_numbers_and_what_is_not_in_them(tested):
    base, group = _group(tested("base", range(20))), _group(tested("group", range(25)))
    (found,), _ = compare_with_baseline([group], base, "accuracy", "max")
    some = dataclasses.replace(found, difference=0.0474, interval=(0.012, 0.083), p_adjusted=0.0123, seeds=(3, 3))

    def sentence(verdict, **changes):
        return dataclasses.replace(some, verdict=verdict, smallest_difference=0.0613, **changes).sentence

    assert sentence("better") == "better: +0.047 [+0.012, +0.083], p = 0.012 (Holm)"
    assert sentence("worse", p_adjusted=2e-5) == "worse: +0.047 [+0.012, +0.083], p < 0.001 (Holm)"
    assert sentence("equivalent") == "equivalent within 0.02: +0.047 [+0.012, +0.083]"
    assert sentence("not enough data", clusters=90) == (
        "not enough data: +0.047 [+0.012, +0.083]; differences below 0.061 cannot be shown with these 112 photos "
        "(90 without their duplicates) and 3 against 3 runs"
    )
    assert sentence("better", seeds=(1, 5)).endswith("; the seed's influence is not in it (1 run against 5)")


def test_what_cannot_be_tested_is_named_and_the_rest_is_tested(tested):
    base = _group(tested("base", range(20)))
    fine = _group(tested("fine", range(30)))
    gone = _group(tested("gone", range(30)))
    (gone.runs[0].record.path / "predictions.csv").unlink()
    other = _group(fine.runs[0], tested("other", range(9), ids=[*IDS[:-2], "x", "y"]), name="other")
    relabelled = _group(tested("relabelled", range(9), labels=(LABELS + (np.arange(N) == 5)) % 3))
    twice = _group(tested("twice", range(9), ids=[*IDS[:-1], IDS[0]]))
    found, refused = compare_with_baseline([fine, gone, other, relabelled, twice], base, "macro_f1", "max")
    assert [comparison.group for comparison in found] == [fine]
    reasons = {group.name: reason for group, reason in refused}
    assert "gone/predictions.csv: no such file" in reasons["gone"]
    assert "other: tested on other photos than" in reasons["other"]
    assert "(2 only here, 2 only there)" in reasons["other"]
    assert "relabelled: the same photos are labelled otherwise in" in reasons["relabelled"]
    assert "twice: a photo stands twice in its test split" in reasons["twice"]


def test_other_classes_are_refused(tested):
    base, group = _group(tested("base", range(20))), _group(tested("group", range(30)))
    path = group.runs[0].record.path / "predictions.csv"
    path.write_text(path.read_text().replace("Litter", "Dirty"))
    _, ((_, reason),) = compare_with_baseline([group], base, "macro_f1", "max")
    assert "other classes than" in reason


@pytest.mark.parametrize("metric", ["loss", "quadratic_weighted_kappa", "miou"])
def test_a_metric_that_no_photo_has_a_share_in_is_not_tested(tested, metric):
    base, group = _group(tested("base", range(20))), _group(tested("group", range(30)))
    found, ((refused, reason),) = compare_with_baseline([base, group], base, metric, "min")
    assert found == []
    assert refused is group
    assert f"{metric} cannot be resampled photo by photo; macro_f1 and accuracy can" in reason
    assert metric_interval(group.runs[0], metric) is None


def test_a_baseline_without_predictions_leaves_all_untested(tested):
    base, group = _group(tested("base", range(20))), _group(tested("group", range(30)))
    (base.runs[0].record.path / "predictions.csv").unlink()
    found, ((refused, reason),) = compare_with_baseline([group, base], base, "macro_f1", "max")
    assert (found, refused) == ([], group)
    assert reason.startswith("the baseline cannot be tested: ")


def test_photos_that_are_all_duplicates_of_one_tell_nothing(tested):
    base, group = (_group(tested(name, range(30), groups=["g"] * N)) for name in ("base", "group"))
    found, ((_, reason),) = compare_with_baseline([group], base, "macro_f1", "max")
    assert found == []
    assert "duplicates of one" in reason
    assert metric_interval(base.runs[0], "macro_f1") is None


def test_images_with_hardly_a_pixel_that_counts_are_not_tested(segmented):
    base, group = segmented("base", 0.8, images=3), segmented("group", 0.6, images=3)
    for run in (base, group):
        confusions = run.record.confusions("test")
        confusions.matrices[1:] = 0
        run.record.write_confusions({"test": (confusions.ids, confusions.matrices)}, confusions.names)
    found, ((_, reason),) = compare_with_baseline([_group(group)], _group(base), "miou", "max")
    assert found == []
    assert "too few of its images have pixels that count" in reason
    assert metric_interval(base, "miou") is None


def test_frames_of_a_recording_are_one_piece_of_evidence(segmented):
    recordings = [f"drive {i // 5}" for i in range(40)]
    frames = [segmented(f"frames {skill}", skill, images=8, frames=5, groups=recordings) for skill in (0.8, 0.7)]
    stills = [segmented(f"stills {skill}", skill, images=8) for skill in (0.8, 0.7)]
    alone = metric_interval(stills[0], "miou")
    # the draws differ, since names are sorted as text; five times as much evidence would halve the interval
    assert metric_interval(frames[0], "miou") == pytest.approx(alone, abs=0.05 * (alone[1] - alone[0]))
    (one,), _ = compare_with_baseline([_group(frames[1])], _group(frames[0]), "miou", "max")
    (other,), _ = compare_with_baseline([_group(stills[1])], _group(stills[0]), "miou", "max")
    assert one.interval == pytest.approx(other.interval, abs=0.1 * (other.interval[1] - other.interval[0]))
    assert (one.n, one.clusters, other.n) == (40, 8, 8)
    unsure = dataclasses.replace(one, verdict="not enough data")
    assert unsure.sentence.partition("with ")[2].startswith("these 40 images (8 recordings)")


def test_a_record_from_before_takes_the_recordings_from_the_other(segmented):
    recordings = [f"drive {i // 5}" for i in range(40)]
    known = segmented("known", 0.8, images=8, frames=5, groups=recordings)
    older = segmented("older", 0.7, images=8, frames=5)
    for base, other in ((known, older), (older, known)):
        (found,), _ = compare_with_baseline([_group(other)], _group(base), "miou", "max")
        assert found.clusters == 8
    assert metric_interval(older, "miou") is not None


def test_frames_of_one_recording_have_no_interval(segmented):
    run = segmented("run", 0.8, groups=["drive"] * 40)
    assert metric_interval(run, "miou") is None
    found, ((_, reason),) = compare_with_baseline([_group(segmented("other", 0.7))], _group(run), "miou", "max")
    assert found == []
    assert "frames of one recording" in reason


def test_accuracy_has_wilsons_interval_unless_photos_are_duplicates(tested):
    alone = tested("alone", range(20))
    wilson = stats.binomtest(N - 20, N).proportion_ci(method="wilson")
    assert metric_interval(alone, "accuracy") == pytest.approx((wilson.low, wilson.high), abs=1e-9)
    twins = tested("twins", range(20), groups=[f"g{i // 6}-{i % 3}" for i in range(N)])
    low, high = metric_interval(twins, "accuracy")
    assert low < wilson.low
    assert high > wilson.high


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy"])
def test_a_run_without_an_error_is_still_uncertain(tested, metric):
    low, high = metric_interval(tested("perfect", []), metric)
    assert 0.95 < low < 0.98
    assert high == 1


def test_seeds_have_an_interval_from_five_on():
    values = [0.8, 0.82, 0.79, 0.85, 0.84]
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert seeds_interval(values) == pytest.approx(expected, abs=1e-12)
    assert seeds_interval(values[:4]) is None
