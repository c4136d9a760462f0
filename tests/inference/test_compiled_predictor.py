"""A compiled network says what it said before, compiles only what pays, and never stops a prediction."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.crafted_runs import CLASSIFIER, Convolutions, write_run
from torch import Tensor, nn

from streetlab import cli
from streetlab.inference.compiled_predictor import CompiledPredictor, uncompiled
from streetlab.inference.predictor import Predictor
from streetlab.synthetic import draw_scene


class Backend:
    """Stands in for inductor: counts the graphs that are made and the calls of each, and can fail."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.calls: list[int] = []
        self._fault = fault

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        number = len(self.calls)
        self.calls.append(0)
        if self._fault is not None:
            raise self._fault

        def call(*args: Any) -> Any:
            self.calls[number] += 1
            return graph(*args)

        return call


@pytest.fixture(autouse=True)
def _no_graphs_of_other_tests():
    torch.compiler.reset()


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Convolutions(4, [3, 1]).eval()


def images(count: int, side: int = 16) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(count + side))


@torch.inference_mode()
def test_a_size_of_batch_is_compiled_when_it_comes_again(network):
    backend = Backend()
    compiled = CompiledPredictor(network, backend)
    for shape, graphs, calls in [(4, 0, 0), (3, 0, 0), (4, 1, 1), (4, 1, 2), (1, 1, 2), (3, 2, 3), (4, 2, 4)]:
        assert torch.equal(compiled(images(shape)), network(images(shape)))
        assert (len(backend.calls), sum(backend.calls)) == (graphs, calls)


@torch.inference_mode()
def test_photos_of_many_sizes_make_few_graphs(network):
    backend = Backend()
    compiled = CompiledPredictor(network, backend)
    for _ in range(3):
        for side in range(8, 16):
            assert torch.equal(compiled(images(1, side)), network(images(1, side)))
    assert len(backend.calls) == 4


@torch.inference_mode()
def test_a_network_that_does_not_compile_is_told_once_and_computes(network, caplog):
    backend = Backend(ValueError("no such kernel\nand more"))
    compiled = CompiledPredictor(network, backend)
    with caplog.at_level(logging.WARNING):
        for side in (8, 8, 8, 12, 12):
            assert torch.equal(compiled(images(2, side)), network(images(2, side)))
    assert len(backend.calls) == 1
    (record,) = caplog.records
    assert record.getMessage() == "compile: prediction goes on uncompiled: no such kernel"


@torch.inference_mode()
def test_too_little_memory_is_not_taken_for_a_compilers_fault(network, monkeypatch):
    compiled = CompiledPredictor(network, Backend())
    compiled(images(2))

    def full(_: Tensor) -> Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(compiled, "_batches", full)
    with pytest.raises(torch.OutOfMemoryError):
        compiled(images(2))


def test_maps_look_into_the_network_itself(tmp_path):
    classifier = Predictor.from_run(write_run(tmp_path / "run", CLASSIFIER), device="cpu")
    compiled = classifier.compiled()
    assert uncompiled(compiled.network) is classifier.network
    photo = Image.fromarray(draw_scene(1, 64, 96).image)
    (expected,), (answer,) = (one.predict([photo], activations=True) for one in (classifier, compiled))
    assert np.array_equal(answer.probabilities, expected.probabilities)
    assert np.array_equal(answer.activations, expected.activations)
    assert compiled.memory_bytes == classifier.memory_bytes


def test_compile_takes_true_or_false(tmp_path, capfd):
    assert cli.run(["predict", f"run={tmp_path}", f"source={tmp_path}", "compile=fast"]) == 2
    assert "compile: 'fast' is not true or false" in capfd.readouterr().err


@pytest.mark.slow
def test_photos_have_the_same_classes_from_inductors_graphs(tmp_path):
    predictor = Predictor.from_run(write_run(tmp_path / "run"), device="cpu", batch_size=2)
    photos = [Image.fromarray(draw_scene(number, 64, 96).image) for number in range(6)]
    compiled = predictor.compiled()
    for answer, expected in zip(compiled.predict(photos), predictor.predict(photos), strict=True):
        assert (answer.ids == expected.ids).mean() > 0.999
        assert np.abs(answer.confidence.astype(int) - expected.confidence).max() <= 1
    assert not compiled.network._failed
    assert compiled.network._compiled == {torch.Size((2, 3, *predictor.image_size))}
