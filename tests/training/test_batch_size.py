"""`batch_size=auto` finds what fits and leaves nothing of its trials; what does not fit is one line with advice."""

from __future__ import annotations

import json
import re

import pytest
import torch
from tests.support.killed_runs import run_killed
from tests.support.same_run import assert_same_run
from tests.support.tiny_runs import TINY

from streetlab import cli
from streetlab.errors import UserError
from streetlab.networks import classifiers
from streetlab.records.record import RunRecord
from streetlab.training.batch_size import AutoBatchSize, largest_fitting

TWO_EPOCHS = ("regime=single", "regime.phases=[{name: train, epochs: 2, train: [all]}]", "model.dropout=0.5")


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end with their training."""
    monkeypatch.setattr("streetlab.training.train.evaluate_best", lambda *args: {})


@pytest.fixture
def small_device(monkeypatch: pytest.MonkeyPatch):
    """`small_device(n)`: a device whose memory a training step of more than n images does not fit."""
    original = classifiers._create

    def limit(most: int) -> None:
        def create(*args):
            network = original(*args)

            def check(module, inputs):
                if module.training and len(inputs[0]) > most:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")

            network.register_forward_pre_hook(check)
            return network

        monkeypatch.setattr(classifiers, "_create", create)

    return limit


def test_the_largest_power_of_two_that_fits_is_taken() -> None:
    tried = []

    def attempt(size: int) -> None:
        tried.append(size)
        if size > 5:
            raise torch.OutOfMemoryError

    assert largest_fitting(attempt, 27) == 4
    assert tried == [16, 8, 4]
    assert largest_fitting(lambda size: None, 27) == 16


def test_another_fault_of_a_trial_is_not_taken_for_want_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        largest_fitting(lambda size: (_ for _ in ()).throw(RuntimeError("shapes")), 8)


def test_auto_trains_as_the_number_that_it_finds_and_says_which(train, small_device, no_report) -> None:
    small_device(5)
    record = train(*TWO_EPOCHS, "batch_size=auto", output="auto")
    assert record.status["batch_size"] == 4
    text = (record.path / "train.log").read_text()
    assert "batch_size=auto: 16 images do not fit" in text, "the largest below the 27 photos is tried first"
    assert "batch_size=auto: 4 images a step" in text
    assert_same_run(train(*TWO_EPOCHS, "batch_size=4", output="four"), record)


@pytest.mark.slow
def test_a_resumed_run_keeps_its_batch_size_on_another_device(train, small_device, no_report, monkeypatch) -> None:
    small_device(5)
    whole = train(*TWO_EPOCHS, "batch_size=auto", output="whole")
    run_killed(train, monkeypatch, 2, 1, *TWO_EPOCHS, "batch_size=auto")
    small_device(100)
    record = train(*TWO_EPOCHS, "batch_size=auto", output="killed")
    assert record.status["batch_size"] == 4
    assert_same_run(whole, record)


@pytest.mark.slow
def test_a_run_of_automatic_batch_size_can_be_evaluated_and_explained(train, small_device, tmp_path) -> None:
    small_device(5)
    record = train(*TWO_EPOCHS, "batch_size=auto", output="auto")
    for command in ("evaluate", "explain"):
        assert cli.run([command, f"run={record.path}", f"output={tmp_path / command}"]) == 0
    assert record.trained_config["batch_size"] == 4


class OneOfTwo:
    """A Trainer's strategy whose other process has found a batch size of `other`."""

    root_device = torch.device("cpu")

    def __init__(self, other: int) -> None:
        self.other = other

    def reduce(self, tensor: torch.Tensor, reduce_op: str) -> torch.Tensor:
        return getattr(torch, reduce_op)(torch.stack([tensor, torch.tensor(self.other)]))


def test_processes_agree_on_the_smallest() -> None:
    def agreed(other: int) -> int:
        trainer = type("Trainer", (), {"strategy": OneOfTwo(other)})
        return AutoBatchSize(None, None, {})._agreed(trainer, 16)  # type: ignore[arg-type]

    assert [agreed(other) for other in (8, 16, 32)] == [8, 16, 16]
    with pytest.raises(UserError, match="a training step of 1 image does not fit"):
        agreed(0)


@pytest.fixture
def complain(photos, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        line = ["train", *TINY, *TWO_EPOCHS, f"dataset.root={photos}", f"output={tmp_path / 'run'}", *words]
        assert cli.run([*line, f"dataset.cache_dir={tmp_path / 'cache'}"]) == 2
        captured = capfd.readouterr().err
        assert "Traceback" not in captured
        (message,) = [text for text in captured.splitlines() if text.startswith("streetlab: ")]
        return message

    return run


def test_a_batch_that_does_not_fit_is_told_with_peak_and_advice(complain, small_device, tmp_path) -> None:
    small_device(5)
    message = complain()
    assert re.search(r"batch_size: a training step of 8 images does not fit the memory \(peak \d+\.\d GB", message)
    for advice in ("batch_size=4 trainer.accumulate_grad_batches=2", "batch_size=auto", "trainer.checkpointing=true"):
        assert advice in message
    record = RunRecord(tmp_path / "run")
    assert json.loads((record.path / "status.json").read_text())["state"] == "failed"


def test_not_even_one_image_fits(complain, small_device) -> None:
    small_device(0)
    message = complain("batch_size=auto", "trainer.checkpointing=true")
    assert "a training step of 1 image does not fit" in message
    assert "a smaller image_size or model needs less" in message


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("batch_size=0", "batch_size: 0 is not a whole number above 0 or auto"),
        ("batch_size=autoo", "batch_size: autoo is not a whole number above 0 or auto; did you mean 'auto'?"),
        ("trainer.compile=yes", "trainer.compile: 'yes' is not auto, true or false"),
        ("trainer.checkpointing=on", "trainer.checkpointing: 'on' is not true or false"),
    ],
)
def test_a_value_that_cannot_be_is_one_line(complain, words, said) -> None:
    assert said in complain(words)
