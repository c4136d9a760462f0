"""Compiling never costs a run: full batches use the graphs, all else runs without, and a failure is one warning."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.support.killed_runs import TWO_PHASES
from tests.support.same_run import assert_same_run

from streetlab.training import build
from streetlab.training import compile_callback as compiled
from streetlab.training.compile_callback import CompileCallback

ONE_PHASE = ("regime=single", "regime.phases=[{name: train, epochs: 2, train: [all]}]")
ON = ("trainer.compile=true", "model.dropout=0.5", "augment=none")


class Counting:
    """A backend that runs a graph as it is, and notes the batch size of each that it made and of each call.

    timm's normalisation of this network's images is a hook, and a graph of its own that is not counted.
    """

    def __init__(self) -> None:
        self.made: list[int] = []
        self.called: list[int] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        if not any("conv2d" in str(node.target) for node in graph.graph.nodes):
            return graph
        self.made.append(self._batch(inputs))

        def run(*args: Any) -> Any:
            self.called.append(self._batch(args))
            return graph(*args)

        return run

    def _batch(self, values: Any) -> int:
        return next(len(value) for value in values if value.ndim == 4 and value.shape[1:] == (3, 32, 32))


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch):
    """`backend(function)` compiles with it in the place of inductor."""

    def use(function: Any) -> Any:
        torch.compiler.reset()
        monkeypatch.setattr(build, "CompileCallback", lambda asked: CompileCallback(asked, function))
        return function

    yield use
    torch.compiler.reset()


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end with their training: what is tested here comes before the evaluation of the best epoch."""
    monkeypatch.setattr("streetlab.training.train.evaluate_best", lambda *args: {})


@pytest.mark.slow
def test_full_batches_use_two_graphs_a_phase_and_no_trace_of_the_trial_is_left(train, backend) -> None:
    plain = train(*ON, *TWO_PHASES, "trainer.compile=false", output="plain")
    counting = backend(Counting())
    record = train(*ON, *TWO_PHASES, output="compiled")
    assert counting.made == [8, 8] * 2, "27 photos in batches of 8: the last 3 of each epoch make no graph"
    # a trial for each graph, then 3 batches of training and 1 of validation in each of 2 and 3 epochs
    assert counting.called == [8] * (4 + 4 * 5)
    assert_same_run(plain, record)
    assert "compiled in" in (record.path / "train.log").read_text()


class NoGradient(torch.autograd.Function):
    """Its backward pass is what cannot be compiled."""

    @staticmethod
    def forward(context: Any, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no kernel for this gradient")


def broken(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
    raise RuntimeError("No working C++ compiler found")


def half_broken(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
    return lambda *args: tuple(NoGradient.apply(part) for part in graph(*args))


def test_a_failure_is_one_warning_and_the_training_that_would_have_been(train, backend) -> None:
    plain = train(*ON, *ONE_PHASE, "trainer.compile=false", output="plain")
    for function, reason in ((broken, "No working C++ compiler found"), (half_broken, "no kernel for this gradient")):
        backend(function)
        record = train(*ON, *ONE_PHASE, output=function.__name__)
        assert_same_run(plain, record)
        warned = [line for line in (record.path / "train.log").read_text().splitlines() if "WARNING" in line]
        assert len(warned) == 1
        assert f"trainer.compile: training goes on uncompiled: {reason}" in warned[0]


def test_auto_leaves_the_cpu_as_it_is(train, backend) -> None:
    counting = backend(Counting())
    train(*ONE_PHASE, "trainer.compile=auto")
    assert counting.made == []


class Lengths:
    """A Trainer at the beginning of a phase on a GPU."""

    current_epoch = 2

    def __init__(self, epochs: int, batches: int) -> None:
        self.fit_loop = type("Loop", (), {"max_epochs": self.current_epoch + epochs})
        self.num_training_batches = batches
        self.strategy = type("Strategy", (), {"root_device": torch.device("cuda")})


def test_auto_compiles_on_a_gpu_what_is_long_enough_to_pay_for_it() -> None:
    wanted = CompileCallback("auto")._wanted
    assert wanted(Lengths(10, compiled.WORTH_STEPS // 10))  # type: ignore[arg-type]
    assert not wanted(Lengths(9, compiled.WORTH_STEPS // 10))  # type: ignore[arg-type]
