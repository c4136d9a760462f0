"""What every benchmark prints and stores."""

from __future__ import annotations

import json

import pytest


def test_ways_are_measured_in_turn_and_the_first_turn_does_not_count(script):
    tables = script("tables")
    asked, clock = [], iter(range(100))

    def way(name: str):
        return lambda: asked.append(name) or float(next(clock))

    measured = tables.interleaved({"a": way("a"), "b": way("b")}, rounds=2)
    assert asked == ["a", "b"] * 3
    assert measured == {"a": [2.0, 4.0], "b": [3.0, 5.0]}


def test_a_ratio_compares_measurements_of_the_same_round(script):
    """The machine was half as fast in the second round: both ways were, so the ratio is the same."""
    tables = script("tables")
    found = tables.ratio([90.0, 45.0], [100.0, 50.0])
    assert (found.median, found.low, found.high, found.n) == pytest.approx((0.9, 0.9, 0.9, 2))
    assert tables.spread([3.0, 1.0, 2.0]) == tables.Spread(2.0, 1.0, 3.0, 3)
    assert str(tables.spread([30.0, 10.0, 20.0])) == "20.0 (10.0–30.0)"
    assert tables.ratio([0.5], [1.0]).percent() == "50%"


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1,234"), (56.78, "56.8"), (1.0, "1.00"), (0.0089, "0.00890"), (0.0, "0")]
)
def test_numbers_have_three_digits_and_no_exponent(script, value, text):
    assert script("tables").number(value) == text


def test_a_report_is_printed_and_stored_with_machine_versions_and_commit(script, tmp_path, capsys):
    tables = script("tables")
    table = tables.Table(["way", "ms"], [["eager", "1.00"]], title="One photo", notes=["Median of 3."])
    tables.publish("latency", "How long?", [table], {"eager": [1.0]}, tmp_path, seconds=2.0)
    printed, page = capsys.readouterr().out, (tmp_path / "latency.md").read_text()
    assert printed == page
    assert "| eager | 1.00 |\n\nMedian of 3.\n" in page
    stored = json.loads((tmp_path / "latency.json").read_text())
    assert stored["numbers"] == {"eager": [1.0]}
    assert {"processor", "threads", "device", "packages", "git"} <= set(stored["provenance"])
    assert f"torch {stored['provenance']['packages']['torch']}" in page
