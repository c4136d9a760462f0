"""What makes training faster leaves its losses alone: the first 20 steps with and without each of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import SGD, Adam, AdamW

from streetlab import cli
from streetlab.datasets.source import DataSource, Sample
from streetlab.loading import cache, datamodule
from streetlab.networks.segmentation import resize_logits
from streetlab.training.optimizers import build_fused
from streetlab.training.phases import PhaseSchedule

STEPS = 20
PLAIN = (
    "regime=single", "regime.phases=[{name: train, epochs: 5, train: [all]}]", "augment=none", "scheduler=none",
    "optimizer.lr=1e-4", "trainer.channels_last=false", "trainer.compile=false", "+optimizer.fused=false",
)  # fmt: skip


class Enough(BaseException):
    """Ends a run where nothing more is to be seen."""


@pytest.fixture
def losses(train, monkeypatch: pytest.MonkeyPatch):
    """`losses("key=value", ...)`: the loss of each of the first 20 steps; of another run than `train` with `run=`."""
    seen: list[float] = []
    runs = count()
    original = PhaseSchedule.on_train_batch_end

    def hook(self: Any, trainer: Any, pl_module: Any, outputs: Any, *rest: Any) -> None:
        seen.append(float(outputs["loss"]))
        if len(seen) == STEPS:
            raise Enough
        original(self, trainer, pl_module, outputs, *rest)

    monkeypatch.setattr(PhaseSchedule, "on_train_batch_end", hook)

    def of(*words: str, run: Callable[..., Any] = train) -> list[float]:
        seen.clear()
        given = {word.partition("=")[0].lstrip("+") for word in words}
        kept = [word for word in PLAIN if word.partition("=")[0].lstrip("+") not in given]
        with pytest.raises(Enough):
            run(*kept, *words, output=f"run-{next(runs)}")
        assert len(set(seen)) == STEPS, "nothing was learned"
        return list(seen)

    return of


class DecodedWhenAsked:
    """In the place of the cache's array: each row is read from its file whenever it is asked for."""

    def __init__(self, source: DataSource, samples: list[Sample], size: tuple[int, int]) -> None:
        self.source, self.samples, self.size = source, samples, size
        self.read = 0

    def __getitem__(self, rows: np.ndarray | int) -> np.ndarray:
        if isinstance(rows, int):
            return self[np.array([rows])][0]
        self.read += len(rows)
        return np.stack([cache.resize(self.source.read(self.samples[row]), self.size) for row in rows])


def test_the_losses_of_the_first_steps_are_the_same(losses, monkeypatch) -> None:
    plain = losses()
    for word in (
        "trainer.channels_last=true", "dataset.on_device=true", "trainer.checkpointing=true", "+optimizer.fused=true",
    ):  # fmt: skip
        assert losses(word) == pytest.approx(plain, rel=1e-4), word
    arrays = []

    def decoding(source: DataSource, split: str, size: tuple[int, int]) -> cache.CachedSplit:
        opened = cache.open_cache(source, split, size)
        arrays.append(DecodedWhenAsked(source, opened.samples, size))
        return replace(opened, images=arrays[-1])  # type: ignore[arg-type]

    monkeypatch.setattr(datamodule, "open_cache", decoding)
    assert losses() == plain, "without the cache"
    assert sum(array.read for array in arrays) > 100


def test_depthwise_convolutions_in_bf16_have_the_same_losses_with_either_backward_pass(losses, monkeypatch) -> None:
    words = "model.name=test_efficientnet", "trainer.precision=bf16-mixed", "trainer.channels_last=true"
    fast = losses(*words)
    monkeypatch.setattr("streetlab.tasks.base.FastDepthwise", nullcontext)
    assert losses(*words) == pytest.approx(fast, rel=5e-3)  # of a weight, bf16 keeps three digits


def test_what_spares_passes_over_all_logits_leaves_the_losses_of_masks_alone(losses, tmp_path, monkeypatch) -> None:
    words = (
        "dataset=synthetic_streets", "dataset.train=8", "dataset.val=1", "dataset.test=1", "image_size=[40,64]",
        "batch_size=2", "model=smp", "model.decoder=fpn", "model.encoder=tu-test_efficientnet",
        "+model.decoder_merge_policy=cat", "loss=dice_cross_entropy", "trainer=cpu", "trainer.precision=32-true",
        f"dataset.cache_dir={tmp_path / 'cache'}", "logger=none",
    )  # fmt: skip

    def segment(*given: str, output: str) -> None:
        assert cli.run(["train", *given, f"output={tmp_path / output}"]) == 0

    cheap = losses(*words, "trainer.channels_last=true", run=segment)
    monkeypatch.setattr("streetlab.tasks.losses._SHARED", "never")
    monkeypatch.setattr("streetlab.networks.smp_network.at_size", resize_logits)
    monkeypatch.setattr("streetlab.networks.smp_network.crop", lambda logits, size: logits[..., : size[0], : size[1]])
    assert losses(*words, run=segment) == pytest.approx(cheap, rel=1e-4)


@pytest.mark.slow
def test_a_compiled_network_has_the_same_losses(losses) -> None:
    plain = losses()
    assert losses("trainer.compile=true") == pytest.approx(plain, rel=1e-4)
    both = losses("trainer.compile=true", "trainer.checkpointing=true")
    assert both == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize(("kind", "fused"), [(Adam, True), (AdamW, True), (SGD, False)])
def test_the_cpu_fuses_the_optimizers_that_gain_by_it(kind: type, fused: bool) -> None:
    def is_fused(build: partial, **options: bool) -> bool:
        group = {"params": [torch.nn.Parameter(torch.zeros(2))], "lr": 0.1}
        return bool(build_fused(build, [group], **options).param_groups[0]["fused"])

    assert is_fused(partial(kind, lr=0.1)) is fused
    assert not is_fused(partial(kind, lr=0.1, fused=False))
    assert not is_fused(partial(kind, lr=0.1), may_fuse=False)


def test_gradients_can_be_clipped_in_mixed_precision(train) -> None:
    words = ("regime=single", "regime.phases=[{name: train, epochs: 1, train: [all]}]")
    train(*words, "trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1.0")
