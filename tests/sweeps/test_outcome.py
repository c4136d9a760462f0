"""The outcome of a command line: failures of all its jobs are counted once, and none of another command's."""

from __future__ import annotations

from streetlab.sweeps.outcome import Outcome, collect_outcome, current_outcome


def test_failures_in_records_are_added_to_those_of_this_process_once():
    outcome = Outcome(failed={"a": "0: seed=1"})
    outcome.close_sweep = lambda: {"a": "a: nan", "b": "b: killed"}
    outcome.close()
    assert outcome.failed == {"a": "0: seed=1", "b": "b: killed"}
    outcome.close_sweep = None
    outcome.close()
    assert len(outcome.failed) == 2


def test_a_command_does_not_report_the_sweep_of_the_one_before():
    with collect_outcome() as first:
        current_outcome().close_sweep = dict
        assert first.close_sweep is dict
    with collect_outcome() as second:
        assert current_outcome() is second
        assert second.close_sweep is None
    assert current_outcome() is not second, "it is not kept after its command"
