"""Who is better than whom: tested on the same photos, against the baseline that was asked for, or not at all."""

from __future__ import annotations

import csv
import dataclasses
import re

import numpy as np
import pytest
from omegaconf import OmegaConf
from scipy import stats
from sklearn.metrics import f1_score

from streetlab.compare import command
from streetlab.compare.figures import color_rows
from streetlab.compare.leaderboard import table_rows
from streetlab.compare.options import Options
from streetlab.compare.verdicts import find_baseline
from streetlab.datasets.labels import CAMVID, CLEANLINESS
from streetlab.errors import UserError
from streetlab.metrics.classification import summarize_classification
from streetlab.metrics.predictions import Predictions
from streetlab.metrics.segmentation import summarize_segmentation
from streetlab.plots.figure import MUTED, SERIES

N = 112


@pytest.fixture
def tested(make_record):
    """`tested(name, wrong, **make_record's)` → a record whose first `wrong` of 112 photos are wrong."""

    def make(name, wrong, *, split="test", **changes):
        record = make_record(name, overrides=[f"model={name.rpartition('-')[0]}"], **changes)
        labels = np.arange(N) % 3
        answers = np.where(np.arange(N) < wrong, (labels + 1) % 3, labels)
        ids = [f"{split}/{i:04d}.png" for i in range(N)]
        predictions = Predictions(ids, ids, labels, answers, np.eye(3)[answers], CLEANLINESS.names)
        record.write_predictions({"test": predictions})
        summary = summarize_classification(predictions, CLEANLINESS) | {"loss": 0.1 + wrong / N}
        record.write_metrics(record.metrics | {"test": summary})
        return record

    return make


@pytest.fixture
def three(tested, tmp_path):
    """Runs good (3 seeds), the same (3) and bad (1) on the same photos; returns the folder of runs."""
    for seed in range(3):
        tested(f"good-{seed}", 10 + seed, seed=seed, **{"model.name": "good"})
        tested(f"same-{seed}", 10 + seed, seed=seed, **{"model.name": "same"})
    tested("bad-0", 60, **{"model.name": "bad"})
    return tmp_path / "outputs"


def _csv(folder):
    with (folder / "leaderboard.csv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def _table(comparison):
    return {row["name"]: row for row in table_rows(comparison.rows, comparison.selection.metric)}


def test_every_output_tells_the_verdict_and_the_difference(three, capsys):
    command.run(OmegaConf.create({"runs": str(three), "output": None, "baseline": "good"}))
    rows = _csv(three / "compare")
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "model=good": "baseline", "model=same": "equivalent", "model=bad": "worse",
    }  # fmt: skip
    labels = np.arange(N) % 3

    def macro_f1(wrong):
        return f1_score(labels, np.where(np.arange(N) < wrong, (labels + 1) % 3, labels), average="macro")

    bad = rows["model=bad"]
    truth = macro_f1(60) - np.mean([macro_f1(wrong) for wrong in (10, 11, 12)])
    assert float(bad["difference"]) == pytest.approx(truth, abs=1e-6)
    assert float(bad["low95"]) < truth < float(bad["high95"]) < 0
    assert float(bad["p"]) <= float(bad["p_holm"]) < 0.05
    assert float(bad["smallest_difference"]) > 0
    assert bad["mcnemar_p"] == ""  # three seeds against one are no pair of runs
    assert rows["model=good"]["difference"] == ""
    out = capsys.readouterr().out
    markdown = (three / "compare" / "leaderboard.md").read_text()
    page = (three / "compare" / "compare.html").read_text()
    assert "worse" in out
    assert f"{truth:+.3f}" in out
    for text in (markdown, page):
        assert "against model=good" in text
        assert re.search(rf"worse: {re.escape(f'{truth:+.3f}')} \[", text)
    assert 'id="forest-' in page
    assert 'id="cost-' not in page  # all three cost the same


def test_two_single_runs_get_mcnemar_on_the_same_photos(tested, tmp_path):
    tested("a-0", 10, **{"model.name": "a"})
    tested("b-0", 30, **{"model.name": "b"})
    row = _table(command.compare([tmp_path / "outputs"]))["model=b"]
    assert row["mcnemar_p"] == pytest.approx(stats.binomtest(0, 20).pvalue, rel=1e-9)
    assert row["mcnemar_mid_p"] < row["mcnemar_p"]


def test_segmentation_runs_are_tested_over_their_images(make_record, tmp_path):
    rng = np.random.default_rng(0)
    for name, skill in (("a", 0.9), ("b", 0.5)):
        record = make_record(name, overrides=[f"model={name}"], **{"model.name": name})
        hits = rng.binomial(1000, skill, (40, 11, 1)) * np.eye(11, dtype=int)
        matrices = hits + (1000 - hits.sum(axis=2, keepdims=True)) * np.roll(np.eye(11, dtype=int), 1, axis=1)
        record.write_confusions({"test": ([f"{i}.png" for i in range(40)], matrices)}, CAMVID.names)
        record.write_metrics(
            {"task": "segmentation", "objective": {"metric": "miou", "mode": "max"}, "label_space": CAMVID.to_dict()}
            | {"test": summarize_segmentation(matrices.sum(axis=0), CAMVID, 40)}
        )
    comparison = command.compare([tmp_path / "outputs"])
    best, worst = comparison.rows
    assert not comparison.verdicts.untested
    assert (best.verdict, worst.verdict) == ("baseline", "worse")
    assert best.interval[0] < best.mean("objective") < best.interval[1]
    assert "over the images that both were tested on" in " ".join(comparison.notes)


def test_intervals_are_over_photos_for_one_run_and_over_seeds_from_five_on(tested, tmp_path):
    for seed in range(5):
        tested(f"five-{seed}", 10 + 2 * seed, seed=seed, **{"model.name": "five"})
    for seed in range(4):
        tested(f"four-{seed}", 20 + 2 * seed, seed=seed, **{"model.name": "four"})
    tested("one-0", 40, **{"model.name": "one"})
    comparison = command.compare([tmp_path / "outputs"])
    five, four, one = comparison.rows
    values = five.values("objective")
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert five.interval == pytest.approx(expected, abs=1e-9)
    assert four.interval is None
    assert one.interval[0] < one.mean("objective") < one.interval[1]
    told = " ".join(comparison.notes)
    assert "n < 5: not estimated" in told
    assert "Student" in told
    rows = _table(comparison)
    assert rows["model=five"]["test_macro_f1_low95"] == pytest.approx(expected[0])
    assert rows["model=four"]["test_macro_f1_high95"] is None


def test_the_baseline_is_found_by_name_part_record_or_piece(three):
    rows = command.compare([three]).rows
    for asked in ("model=bad", "bad-0", str(three / "bad-0"), "BAD"):
        assert find_baseline(rows, asked).group.name == "model=bad"
    assert find_baseline(rows, None) is rows[0]
    with pytest.raises(UserError, match="'model' fits 3 configurations: 'model=good'"):
        find_baseline(rows, "model")
    with pytest.raises(UserError, match="baseline: no configuration or record is called 'goood'; did you mean"):
        find_baseline(rows, "goood")


@pytest.mark.parametrize("objective", ["accuracy", "quadratic_weighted_kappa", "far_errors", "loss"])
def test_any_number_of_the_split_can_rank_in_the_right_direction(three, objective):
    comparison = command.compare([three], Options(objective=objective))
    assert comparison.rows[-1].group.name == "model=bad"
    assert comparison.selection.mode == ("min" if objective in ("far_errors", "loss") else "max")
    bad = _table(comparison)["model=bad"]
    assert bad[f"test_{objective}"] == comparison.rows[-1].mean("objective")
    if objective == "accuracy":
        assert bad["verdict"] == "worse"
    if objective == "loss":
        assert bad["verdict"] == ""
        assert any("Not tested: #" in note and "model=bad" in note for note in comparison.notes)


def test_an_unknown_objective_names_those_that_all_runs_have(three):
    with pytest.raises(UserError, match="objective: no run has a number 'acuracy'") as caught:
        command.compare([three], Options(objective="acuracy"))
    assert "all have accuracy, macro_f1" in str(caught.value)
    assert "did you mean 'accuracy'?" in str(caught.value)
    with pytest.raises(UserError, match="no run has a number 'n'"):
        command.compare([three], Options(objective="n"))


def test_runs_of_different_splits_share_a_table_but_no_test(three, tested):
    tested("good-9", 2, seed=9, split="other", split_hash="ffff0000ffff", **{"model.name": "good"})
    comparison = command.compare([three], Options(different_splits=True))
    rows = _table(comparison)
    other = next(row for name, row in rows.items() if "split=ffff0000" in name)
    assert other["rank"] == 1
    assert other["seeds"] == "9"  # not a fourth seed of the same model
    assert other["verdict"] == "baseline"
    assert all(row["verdict"] == "" for row in rows.values() if row is not other)
    assert "never tested against it: 3 configurations" in " ".join(comparison.notes)
    comparison = command.compare([three], Options(different_splits=True, baseline="model=same"))
    verdicts = {row.group.name: row.verdict for row in comparison.rows}
    assert sorted(verdicts.values()) == ["", "baseline", "equivalent", "worse"]
    assert next(verdict for name, verdict in verdicts.items() if "ffff0000" in name) == ""


def test_only_the_best_are_tested_and_holm_counts_those(tested, tmp_path):
    for number in range(5):
        tested(f"m{number}-0", 10 + 9 * number, **{"model.name": f"m{number}"})
    comparison = command.compare([tmp_path / "outputs"], Options(most_tested=2))
    tests = [row.comparison for row in comparison.rows]
    assert [test is None for test in tests] == [True, False, False, True, True]
    assert tests[2].p_adjusted <= min(1, 2 * tests[2].p_value) + 1e-12
    assert "Only the best 2 are tested against the baseline; 2 more are not" in " ".join(comparison.notes)
    page = command.write_comparison(comparison, tmp_path / "out").read_text()
    assert "The 2 coloured configurations of 5" in page
    assert page.count('id="matrix-') > 0
    assert len(set(re.findall(r'id="matrix-(\d+)-', page))) == 2


def test_rows_beyond_the_palette_are_grey_and_the_baseline_never_is(three):
    row = command.compare([three]).rows[-1]
    rows = [dataclasses.replace(row, rank=rank) for rank in range(1, 31)]
    everything, drawn = color_rows(rows, rows[24], 20)
    assert [colored.row.rank for colored in drawn] == [*range(1, len(SERIES)), 25]
    assert [colored.color for colored in drawn] == list(SERIES)
    assert sum(colored.color == MUTED for colored in everything) == 30 - len(SERIES)


def test_summaries_of_a_sweep_beside_the_records_are_no_records(three):
    for name in ("summary.csv", "summary.html", "summary.json", "sweep.db"):
        (three / name).write_text("x")
    comparison = command.compare([three])
    assert len(comparison.selection.runs) == 7
    assert not comparison.selection.skipped
