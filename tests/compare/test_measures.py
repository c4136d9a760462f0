"""Kappa, far errors and calibration stand below the leaderboard, where the records have them and nowhere else."""

from __future__ import annotations

import csv

import pytest
from omegaconf import OmegaConf

from streetlab.compare import command
from streetlab.compare.measures import measure_table, measures_markdown, measures_terminal
from streetlab.compare.options import Options

_NUMBERS = {
    "quadratic_weighted_kappa": 0.8125,
    "far_errors": 3,
    "far_error_share": 3 / 114,
    "ece": 0.084,
    "ece_by_chance": 0.05,
    "ece_by_chance_calibrated": 0.06,
    "ece_calibrated": 0.031,
    "brier": 0.25,
    "brier_calibrated": 0.21,
    "accuracy_ceiling": 0.98,
}


@pytest.fixture
def measured(make_record):
    """`measured(name, **numbers)` → a record that has of all measures exactly these."""

    def make(name, *, seed=0, **numbers):
        record = make_record(name, seed=seed, **{"model.name": name.partition("-")[0]})
        test = {key: value for key, value in record.metrics["test"].items() if key not in _NUMBERS}
        record.write_metrics(record.metrics | {"test": test | numbers})
        return record

    return make


def test_means_over_seeds_before_and_after_calibration_are_in_every_output(measured, tmp_path, capsys):
    measured("a-0", **_NUMBERS)
    measured("a-1", seed=1, **_NUMBERS | {"far_errors": 4, "far_error_share": 4 / 114, "ece": 0.1})
    command.run(OmegaConf.create({"runs": str(tmp_path / "outputs"), "output": None}))
    folder = tmp_path / "outputs" / "compare"
    markdown = (folder / "leaderboard.md").read_text()
    for text in (capsys.readouterr().out, markdown, (folder / "compare.html").read_text()):
        for cell in ("0.812", "3.5 (3.1%)", "0.092 → 0.031", "0.050 → 0.060", "0.250 → 0.210", "0.980"):
            assert cell in text
    assert "Clean ↔ Litter" in markdown
    with (folder / "leaderboard.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["test_ece"]) == pytest.approx(0.092)
    assert float(row["test_far_errors"]) == 3.5


def test_a_number_that_no_record_has_takes_no_column(measured, tmp_path):
    measured("a", quadratic_weighted_kappa=0.5, accuracy_ceiling=1.0)
    measured("b", quadratic_weighted_kappa=None, ece=0.1)
    comparison = command.compare([tmp_path / "outputs"])
    shown = measure_table(comparison.rows)
    assert shown.headers == ("kappa", "ECE")
    assert sorted(shown.cells) == [("0.500", "–"), ("–", "0.100")]


def test_records_without_such_numbers_have_no_second_table(measured, tmp_path):
    measured("a")
    rows = command.compare([tmp_path / "outputs"]).rows
    assert measure_table(rows) is None
    assert measures_markdown(rows) == ""
    assert measures_terminal(rows) == []
    page = command.write_comparison(command.compare([tmp_path / "outputs"]), tmp_path / "out")
    assert "Calibration and order" not in page.read_text()


@pytest.mark.parametrize("objective", ["ece", "brier_calibrated", "far_error_share", "nll", "nll_calibrated"])
def test_less_is_better_where_the_number_is_an_error(measured, tmp_path, objective):
    measured("a", **{objective: 0.1})
    measured("b", **{objective: 0.2})
    comparison = command.compare([tmp_path / "outputs"], Options(objective=objective))
    assert [row.group.name for row in comparison.rows] == ["model=a", "model=b"]
