"""Folds that belong together count as one result out of fold; those that do not are named, never half counted."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from omegaconf import OmegaConf
from scipy.special import softmax
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix, f1_score, log_loss

from streetlab.compare import command
from streetlab.compare.leaderboard import table_rows
from streetlab.compare.options import Options
from streetlab.compare.select import select
from streetlab.compare.verdicts import find_baseline
from streetlab.datasets.labels import CAMVID, CLEANLINESS
from streetlab.errors import UserError
from streetlab.metrics.classification import summarize_classification
from streetlab.metrics.predictions import Predictions
from streetlab.metrics.segmentation import summarize_segmentation
from streetlab.metrics.statistics.calibration import adaptive_ece, fit_temperature

N, FOLDS = 90, 3
IDS = np.array([f"photos/{i:03d}.png" for i in range(N)])
GROUPS = np.array([f"g{i // 2}" for i in range(N)])
LABELS = np.random.default_rng(0).integers(0, 3, N)
FOLD_OF = np.arange(N) // 2 % FOLDS


def _tested_by(fold):
    return np.equal(FOLD_OF, fold)


def _predictions(chosen, skill, seed) -> Predictions:
    """What a classifier of this skill and seed says about the chosen photos; other folds change none of it."""
    rng = np.random.default_rng([seed, int(100 * skill)])
    probabilities = softmax(3 * (rng.normal(0, 1, (N, 3)) + skill * np.eye(3)[LABELS]), axis=1)
    at = np.flatnonzero(chosen)
    return Predictions(
        list(IDS[at]), list(GROUPS[at]), LABELS[at], probabilities[at].argmax(1), probabilities[at], CLEANLINESS.names
    )


@pytest.fixture
def fold_run(make_record):
    """`fold_run(name, fold, tested=mask, skill=…, seed=…, **config)` → the completed record of one fold of three."""

    def make(name, fold, *, tested=None, skill=1.5, seed=0, split_hash=None, **changes):
        config = {"dataset.folds": FOLDS, "dataset.fold": fold, **changes}
        record = make_record(name, seed=seed, split_hash=split_hash or f"f{fold}", **config)
        test = _predictions(_tested_by(fold) if tested is None else tested, skill, seed)
        val = _predictions(_tested_by((fold + 1) % FOLDS), skill, seed)
        record.write_predictions({"val": val, "test": test})
        summary = summarize_classification(test, CLEANLINESS)
        summary |= {"loss": 0.5 + fold, "temperature": fit_temperature(val.probabilities, val.labels)}
        record.write_metrics(record.metrics | {"best_epoch": 10 + fold, "test": summary})
        return record

    return make


@pytest.fixture
def two_by_two(fold_run, tmp_path):
    """Two networks with two seeds and three folds each; returns the folder of runs."""
    for name, skill in (("good", 2.0), ("bad", 0.4)):
        for seed in range(2):
            for fold in range(FOLDS):
                fold_run(f"{name}-{seed}-{fold}", fold, skill=skill, seed=seed, **{"model.name": name})
    return tmp_path / "outputs"


def _rows(folder):
    with (folder / "leaderboard.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _joined(tmp_path):
    """The one joined run of a folder."""
    (run,) = select([tmp_path / "outputs"]).runs
    return run


def test_joined_numbers_are_those_of_all_photos_together(fold_run, tmp_path):
    records = [fold_run(f"a{fold}", fold) for fold in (2, 0, 1)]
    run = _joined(tmp_path)
    pooled = _predictions(np.ones(N, bool), 1.5, 0)
    labels, answers, p = pooled.labels, pooled.predictions, pooled.probabilities
    assert run.test["n"] == N
    assert run.test["accuracy"] == pytest.approx(accuracy_score(labels, answers))
    assert run.test["macro_f1"] == pytest.approx(f1_score(labels, answers, average="macro"))
    assert run.test["confusion"] == confusion_matrix(labels, answers).tolist()
    kappa = cohen_kappa_score(labels, answers, weights="quadratic")
    assert run.test["quadratic_weighted_kappa"] == pytest.approx(kappa)
    assert run.test["far_errors"] == (np.abs(labels - answers) == 2).sum()
    assert run.test["far_error_share"] == pytest.approx((np.abs(labels - answers) == 2).mean())
    assert run.test["nll"] == pytest.approx(log_loss(labels, p))
    assert run.test["brier"] == pytest.approx(((p - np.eye(3)[labels]) ** 2).sum(1).mean())
    assert run.test["ece"] == pytest.approx(adaptive_ece(p, labels))
    assert run.test["loss"] == pytest.approx(1.5)  # of 0.5, 1.5 and 2.5, each of 30 photos
    together = run.results()
    assert sorted(together.ids) == sorted(IDS)
    assert dict(zip(together.ids, together.groups, strict=True)) == dict(zip(IDS, GROUPS, strict=True))
    assert {record.path for record in records} == {member.record.path for member in run.members}


def test_each_fold_is_calibrated_by_its_own_val_photos(fold_run, tmp_path):
    records = [fold_run(f"a{fold}", fold) for fold in range(FOLDS)]
    run = _joined(tmp_path)
    temperatures = np.array([record.metrics["test"]["temperature"] for record in records])
    assert len(set(temperatures)) == FOLDS
    pooled = _predictions(np.ones(N, bool), 1.5, 0)
    logits = np.log(pooled.probabilities)
    calibrated = softmax(logits / temperatures[FOLD_OF][:, None], axis=1)
    brier = ((calibrated - np.eye(3)[pooled.labels]) ** 2).sum(1).mean()
    assert run.test["brier_calibrated"] == pytest.approx(brier)
    assert run.test["nll_calibrated"] == pytest.approx(log_loss(pooled.labels, calibrated))
    assert run.test["ece_calibrated"] == pytest.approx(adaptive_ece(calibrated, pooled.labels))
    assert run.test["nll_calibrated"] < run.test["nll"]
    metrics = records[1].metrics
    del metrics["test"]["temperature"]
    records[1].write_metrics(metrics)
    assert "brier_calibrated" not in _joined(tmp_path).test


def test_two_configurations_of_two_seeds_and_three_folds_are_compared_photo_by_photo(two_by_two, open_page, capsys):
    command.run(OmegaConf.create({"runs": str(two_by_two), "output": None}))
    out = capsys.readouterr().out
    good, bad = _rows(two_by_two / "compare")
    assert (good["name"], bad["name"]) == ("model=good", "model=bad")
    for row, skill in ((good, 2.0), (bad, 0.4)):
        assert (row["seeds"], row["runs"], row["folds"], row["test_n"]) == ("0;1", "6", "3", "90")
        assert len(row["records"].split(";")) == 6
        pooled = [_predictions(np.ones(N, bool), skill, seed) for seed in range(2)]
        scores = [f1_score(p.labels, p.predictions, average="macro") for p in pooled]
        assert [float(v) for v in row["test_macro_f1_by_seed"].split(";")] == pytest.approx(scores, abs=1e-6)
        assert float(row["minutes"]) == pytest.approx(3 * 41 * 18 / 60)
        assert float(row["best_epoch"]) == 11
    assert bad["verdict"] == "worse"
    difference = float(bad["test_macro_f1"]) - float(good["test_macro_f1"])
    assert float(bad["difference"]) == pytest.approx(difference, abs=1e-6)
    markdown = (two_by_two / "compare" / "leaderboard.md").read_text()
    for text in (out, markdown):
        assert "3 folds, out of fold" in text
        assert "n = 90 photos" in text
    assert "12 runs (3 folds, out of fold)" in markdown
    opened = open_page(two_by_two / "compare" / "compare.html")
    assert opened.requests == []
    assert opened.errors == []
    assert "3 folds, out of fold" in opened.page.inner_text("h1")
    links = [link.get_attribute("href") for link in opened.page.query_selector_all(".each a")]
    assert len(links) == 12
    assert all((two_by_two / "compare" / link / "status.json").exists() for link in links)


def test_twins_are_drawn_together_over_all_folds(two_by_two):
    (comparison,) = [row.comparison for row in command.compare([two_by_two]).rows if row.comparison]
    assert (comparison.n, comparison.clusters, comparison.seeds) == (N, N // 2, (2, 2))


def test_an_incomplete_set_is_skipped_with_the_folds_that_are_missing(two_by_two, fold_run):
    for fold, name in ((0, "a"), (2, "b")):
        fold_run(name, fold, **{"model.name": "third"})
    fold_run("c", 1, **{"model.name": "fourth"})
    selection = select([two_by_two])
    assert len(selection.groups) == 2
    reasons = {record.name: reason for record, reason in selection.skipped}
    assert reasons.keys() == {"a", "b", "c"}
    assert reasons["a"] == reasons["b"]
    assert "fold 1 of 3 is missing" in reasons["a"]
    assert "folds 0, 2 of 3 are missing" in reasons["c"]


def test_a_fold_that_failed_is_missing_and_nothing_else_is_an_error(fold_run, tmp_path):
    for fold in range(FOLDS):
        record = fold_run(f"a{fold}", fold)
    record.write_status(state="failed", error="loss is NaN")
    with pytest.raises(UserError, match="none of the 3 records") as caught:
        select([tmp_path / "outputs"])
    assert "a2: failed: loss is NaN" in str(caught.value)
    assert "a0: fold 2 of 3 is missing" in str(caught.value)


def test_photos_tested_by_two_folds_are_named(fold_run, tmp_path):
    for fold in range(FOLDS):
        tested = _tested_by(fold)
        tested[0] = True  # of fold 0
        fold_run(f"a{fold}", fold, tested=tested)
    with pytest.raises(UserError, match=r"folds overlap: photos/000.png by fold 0 and fold 1 and fold 2"):
        select([tmp_path / "outputs"])


def test_the_later_of_two_runs_of_a_fold_counts(fold_run, tmp_path):
    for fold in range(FOLDS):
        fold_run(f"a{fold}", fold)
    fold_run("again", 1).write_status(ended="2030-01-01")
    selection = select([tmp_path / "outputs"])
    assert [record.name for record in selection.groups[0].records] == ["a0", "again", "a2"]
    ((record, reason),) = selection.skipped
    assert record.name == "a1"
    assert "same config, seed and fold" in reason


def _of_other_classes(record):
    (record.path / "predictions.csv").write_text("split,id,group,label,prediction,p_A\ntest,x,,A,A,1\n")


def test_folds_of_two_split_files_never_make_one_set(fold_run, tmp_path):
    for fold in range(FOLDS):
        fold_run(f"a{fold}", fold).write_status(split_file={"name": "split.json", "sha256": "aa"})
    fold_run("b1", 1, split_hash="b1").write_status(
        split_file={"name": "split.json", "sha256": "bb"}, ended="2030-01-01"
    )
    selection = select([tmp_path / "outputs"])
    assert [record.name for record in selection.groups[0].records] == ["a0", "a1", "a2"]
    ((record, reason),) = selection.skipped
    assert record.name == "b1"
    assert "folds 0, 2 of 3 are missing" in reason


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda record: (record.path / "predictions.csv").unlink(), "predictions.csv: no such file"),
        (lambda record: record.write_metrics(record.metrics | {"eval_split": "val"}), "eval_split is test and val"),
        (_of_other_classes, "different classes"),
    ],
)
def test_folds_that_do_not_belong_together_are_skipped_with_the_reason(fold_run, make_record, tmp_path, damage, reason):
    make_record("ordinary")
    for fold in range(FOLDS):
        record = fold_run(f"a{fold}", fold)
    damage(record)
    selection = select([tmp_path / "outputs"])
    assert [run.record.name for run in selection.runs] == ["ordinary"]
    assert {record.name for record, _ in selection.skipped} == {"a0", "a1", "a2"}
    assert all(reason in told for _, told in selection.skipped)


def test_folds_and_a_run_of_the_ordinary_split_are_refused(two_by_two, make_record):
    make_record("ordinary")
    with pytest.raises(UserError, match="the split hash is the same") as caught:
        select([two_by_two])
    assert "ab12: 1 run, such as" in str(caught.value)
    assert "(3 folds, out of fold): 4 runs, such as" in str(caught.value)
    comparison = command.compare([two_by_two], Options(different_splits=True, baseline="good"))
    rows = {row["name"]: row for row in table_rows(comparison.rows, "macro_f1")}
    assert sum("n=90 (3 folds, out of fold)" in name for name in rows) == 2
    (ordinary,) = [row for name, row in rows.items() if "split=ab12 n=114" in name]
    assert ordinary["verdict"] == ""
    assert ordinary["folds"] is None
    assert sorted(row["verdict"] for row in rows.values()) == ["", "baseline", "worse"]


def test_other_folds_of_the_same_photos_are_another_split(fold_run, tmp_path):
    for fold in range(FOLDS):
        fold_run(f"a{fold}", fold, **{"model.name": "a"})
        fold_run(f"b{fold}", fold, split_hash=f"other{fold}", **{"model.name": "b"})
    with pytest.raises(UserError, match="the split hash is the same"):
        select([tmp_path / "outputs"])


def test_any_fold_names_its_configuration_as_the_baseline(two_by_two):
    rows = command.compare([two_by_two]).rows
    for asked in ("bad-1-2", str(two_by_two / "bad-0-1")):
        assert find_baseline(rows, asked).group.name == "model=bad"


def test_segmentation_folds_are_joined_image_by_image(make_record, tmp_path):
    rng = np.random.default_rng(0)
    matrices = rng.integers(0, 1000, (N, 11, 11)) + 5000 * np.eye(11, dtype=int)
    for fold in range(FOLDS):
        record = make_record(f"a{fold}", split_hash=f"f{fold}", **{"dataset.folds": FOLDS, "dataset.fold": fold})
        at = np.flatnonzero(_tested_by(fold))
        record.write_confusions({"test": (list(IDS[at]), matrices[at])}, CAMVID.names)
        summary = summarize_segmentation(matrices[at].sum(axis=0), CAMVID, len(at)) | {"resolution": [360, 480]}
        record.write_metrics(
            {"task": "segmentation", "objective": {"metric": "miou", "mode": "max"}, "eval_split": "test"}
            | {"label_space": CAMVID.to_dict(), "test": summary}
        )
    comparison = command.compare([tmp_path / "outputs"])
    (row,) = comparison.rows
    assert row.group.runs[0].test == summarize_segmentation(matrices.sum(axis=0), CAMVID, N) | {
        "resolution": [360, 480]
    }
    low, high = row.interval
    assert low < summarize_segmentation(matrices.sum(axis=0), CAMVID, N)["miou"] < high
    record.write_metrics(record.metrics | {"test": summary | {"resolution": [720, 960]}})
    with pytest.raises(UserError, match="masks of different sizes"):
        select([tmp_path / "outputs"])


def test_the_split_hash_of_folds_does_not_depend_on_where_the_records_lie(fold_run, tmp_path):
    for fold in range(FOLDS):
        fold_run(f"x/{fold}", fold)
        fold_run(f"y/{2 - fold}", fold, seed=1)
    runs = select([tmp_path / "outputs"]).runs
    assert len(runs) == 2
    assert len({json.dumps(run.status["split_hash"]) for run in runs}) == 1
