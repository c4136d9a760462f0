"""A key that the command cannot use is named, with what is allowed."""

from __future__ import annotations

import pytest

from streetlab.compare.options import DEFAULTS, Options, options_of, run_paths
from streetlab.errors import UserError


@pytest.mark.parametrize("value", [None, "", [], [1], {"a": "b"}])
def test_an_unusable_runs_key_is_named(value):
    with pytest.raises(UserError, match=r"runs: found .*runs=DIR or runs=\[A,B\]"):
        run_paths({"runs": value})


@pytest.mark.parametrize(
    ("key", "value"),
    [("objective", ["a"]), ("objective", True), ("baseline", {"a": 1}), ("delta", 0), ("delta", -0.1), ("delta", "x"),
     ("delta", float("nan")), ("delta", True), ("delta", None), ("different_splits", "maybe"), ("most_tested", 0),
     ("most_tested", 2.5), ("most_tested", True)],
)  # fmt: skip
def test_an_unusable_value_is_named_with_what_is_allowed(key, value):
    with pytest.raises(UserError, match=f"{key}: '.*' is not (a name|a number|a whole number|true or false)"):
        options_of({key: value})


def test_what_is_not_given_has_its_default():
    assert options_of({"runs": "outputs"}) == DEFAULTS
    given = {"baseline": 7, "objective": "loss", "delta": 1, "different_splits": True, "most_tested": 3}
    assert options_of(given) == Options("loss", "7", 1, True, 3)
