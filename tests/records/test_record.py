"""The record gives back what was written, and says which file is at fault where it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml

from streetlab.errors import UserError
from streetlab.metrics.predictions import most_wrong
from streetlab.records.overview import overview
from streetlab.records.record import RunRecord, find_runs, split_usable


def test_a_record_gives_back_what_was_written(make_record):
    record = make_record("cleanliness/a", seed=2, overrides=["model=resnet18"])
    assert record.config["optimizer"]["lr"] == 0.001
    assert record.config["seed"] == 2
    assert record.overrides == ["model=resnet18", "seed=2"]
    assert record.state == "completed"
    assert record.status["started"] == "2025-11-20T10:00:00"
    assert record.metrics["objective"]["metric"] == "macro_f1"
    assert record.model["parameters"] == 11_178_051
    assert record.fault() is None


def test_history_types_its_cells_and_leaves_the_unlogged_empty(make_record):
    history = make_record("a").history()
    first, second = history[:2]
    assert first["epoch"] == 1
    assert isinstance(first["step"], int)
    assert first["phase"] == "probe"
    assert first["lr"] == pytest.approx(1e-3)
    assert first["val/loss"] is None
    assert isinstance(second["val/loss"], float)


def test_a_line_cut_by_a_kill_is_not_read_as_a_number(make_record):
    record = make_record("a")
    path = record.path / "metrics.csv"
    whole = record.history()
    path.write_text(path.read_text()[:-4])
    assert record.history() == whole[:-1]


def test_predictions_come_back_exactly_per_split(make_record):
    record = make_record("a")
    test = record.predictions("test")
    again = RunRecord(record.path.parent / "b")
    odd = [f'straße, "{i}"/é.png' for i in range(len(test))]
    float32 = test.probabilities.astype(np.float32)
    again.write_predictions({"test": replace(test, ids=odd, probabilities=float32)})
    back = again.predictions("test")
    assert back.ids == odd
    assert back.names == ("Clean", "Medium", "Litter")
    assert np.array_equal(back.labels, test.labels)
    assert np.array_equal(back.predictions, test.predictions)
    assert np.array_equal(back.probabilities.astype(np.float32), float32)
    header = (again.path / "predictions.csv").read_text().splitlines()[0]
    assert header == "split,id,group,label,prediction,p_Clean,p_Medium,p_Litter"


def test_an_unknown_split_or_class_is_named(make_record):
    record = make_record("a")
    with pytest.raises(UserError, match=r"no split 'tset'; it holds test, val; did you mean 'test'"):
        record.predictions("tset")
    path = record.path / "predictions.csv"
    path.write_text(path.read_text().replace(",Litter,", ",Rubbish,"))
    with pytest.raises(UserError, match="'Rubbish' is not one of Clean, Medium, Litter"):
        record.predictions("test")


def test_the_most_wrong_photos_are_the_confident_errors(make_record):
    test = make_record("a", skill=1.0).predictions("test")
    worst = most_wrong(test, 10)
    confidence = test.probabilities[worst, test.predictions[worst]]
    assert (test.predictions[worst] != test.labels[worst]).all()
    assert (np.diff(confidence) <= 0).all()
    wrong = test.predictions != test.labels
    assert confidence[0] == test.probabilities.max(axis=1)[wrong].max()


@pytest.mark.parametrize("name", ["config.yaml", "status.json", "metrics.json"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_missing_or_damaged_file_is_named_and_the_run_is_flagged(make_record, name, damage):
    record = make_record("a")
    path = record.path / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_text(path.read_text()[:9] + "\n{[")
    with pytest.raises(UserError, match=name):
        getattr(record, path.stem)
    assert name in record.fault()


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("metrics.json", "objective", True), ("metrics.json", "test", [1]), ("status.json", "state", {"a": 1}),
        ("model.json", "seconds_total", "long"), ("config.yaml", "task", {"objective": 5}),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_named_by_its_file_and_key(make_record, name, key, value):
    record = make_record("a")
    path = record.path / name
    contents = yaml.safe_load(path.read_text()) | {key: value}
    path.write_text(json.dumps(contents))
    with pytest.raises(UserError, match=rf"{name}: damaged \({key}"):
        getattr(record, path.stem)
    assert overview(record).state == ("damaged" if name != "config.yaml" else "completed")


def test_find_runs_flags_the_unfinished_and_searches_no_record_and_no_cache(make_record, tmp_path):
    root = tmp_path / "outputs"
    good = make_record("study/sweep/b")
    make_record("study/a")
    failed = RunRecord(root / "study/c")
    failed.write_status(state="failed", error="ValueError: loss is NaN\nmore")
    running = RunRecord(root / "d")
    running.write_status(state="running")
    (good.path / "wandb").mkdir()
    (good.path / "wandb" / "config.yaml").write_text("a: 1")
    for hidden in (".cache/x", "1/2/3/4/5"):
        RunRecord(root / hidden).write_status(state="completed")
    found = find_runs(root)
    assert [str(record.path.relative_to(root)) for record in found] == [
        "d",
        "study/a",
        "study/c",
        "study/sweep/b",
    ]
    usable, skipped = split_usable(found)
    assert [record.name for record in usable] == ["a", "b"]
    assert [reason for _, reason in skipped] == ["running", "failed: ValueError: loss is NaN"]
    assert [record.path for record in find_runs(good.path)] == [good.path]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        find_runs(tmp_path / "nowhere")


def test_reading_records_and_drawing_needs_no_torch():
    modules = (
        "streetlab.compare.command, streetlab.records.record, streetlab.metrics.classification, streetlab.plots.page, "
        "streetlab.plots.curves, streetlab.plots.confusion, streetlab.plots.sheets, streetlab.plots.bars"
    )
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
