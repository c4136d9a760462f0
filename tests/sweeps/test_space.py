"""Hydra's sweep words mean to a search what they mean to a sweep."""

from __future__ import annotations

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from streetlab.errors import UserError
from streetlab.sweeps.space import Parameter, read_parameter


def parameter(word):
    (override,) = OverridesParser.create().parse_overrides([word])
    return read_parameter(override)


def drawn(word, trials=60):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [parameter(word).draw("key", study.ask()) for _ in range(trials)]


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("a=none,strong", {"none", "strong"}),
        ("a=1,2.5", {1, 2.5}),
        ("a=[1,2],[3,4]", {"[1,2]", "[3,4]"}),
        ("a=null,1", {"null", 1}),
        ("a=range(5,30,5)", {5, 10, 15, 20, 25}),
        ("a=range(3,0,-1)", {1, 2, 3}),
        ("a=range(0,1,0.25)", {0.0, 0.25, 0.5, 0.75}),
        ("a=shuffle(range(1,4))", {1, 2, 3}),
    ],
)
def test_each_value_of_a_sweep_and_no_other_is_drawn(word, values):
    assert set(drawn(word)) == values


def test_shuffled_choices_are_the_same_ones_in_every_call():
    assert {parameter("a=shuffle(3,1,2)") for _ in range(20)} == {Parameter(choices=(1, 2, 3))}


def test_intervals_are_drawn_evenly_and_tagged_ones_by_magnitude():
    even, by_magnitude = drawn("a=interval(0,1)"), drawn("a=tag(log,interval(1e-6,1))")
    assert 0 <= min(even) < max(even) <= 1
    assert sum(value > 0.5 for value in even) > 15
    assert sum(value < 1e-3 for value in by_magnitude) > 15


@pytest.mark.parametrize("word", ["a=interval(1,0)", "a=tag(log,interval(0,1))", "a=range(1,0)"])
def test_a_range_without_values_is_said(word):
    with pytest.raises(UserError, match="a="):
        parameter(word)
