"""A step on the meta device: a GPU's faults, found without one; `tests.support.meta_device` says how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.support.device_purity import Combination, combinations
from tests.support.meta_device import (
    META,
    PHOTOS,
    SMP,
    STREETS,
    STRONG,
    TINY,
    OneDevice,
    build_experiment_of,
    evaluate_a_batch,
    no_autocast_on_meta,
    train_a_step,
)  # fmt: skip
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from streetlab.config.composition import composer
from streetlab.datasets.labels import CITYSCAPES, CLEANLINESS
from streetlab.networks.build import build_network
from streetlab.tasks.distillation import Distillation
from streetlab.training.build import Experiment
from streetlab.training.ema import EMA

NETWORKS = {
    "resnet18": (*PHOTOS, "model=resnet18", "model.weights=none"),
    "timm": (*PHOTOS, *TINY),
    "transformer": (*PHOTOS, "model=timm_classifier", "model.name=test_vit"),
    "efficientnet": (*PHOTOS, "model=efficientnet_lite0"),
    "deeplabv3": (*STREETS, "model=deeplabv3_resnet50", "model.weights=none"),
    "hrnet": (*STREETS, "model=hrnetv2_w18", "model.small=true", "model.weights=none"),
    "smp": (*STREETS, *SMP),
}
LOSSES = [
    (*words, f"loss={loss}", *STRONG)
    for words, losses in (
        ((*PHOTOS, *TINY), ("cross_entropy", "ohem")),
        ((*STREETS, *SMP), ("cross_entropy", "ohem", "dice_cross_entropy", "lovasz_cross_entropy")),
    )
    for loss in losses
]


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Experiment]:
    """`build("key=value", ...)`: an experiment of `streetlab train`, its data opened, its task on the meta device."""

    def make(*words: str) -> Experiment:
        experiment = build_experiment_of(words, tmp_path)
        experiment.task.to("meta")
        return experiment

    return make


@pytest.fixture(autouse=True)
def _no_autocast_on_meta() -> Iterator[None]:
    with no_autocast_on_meta():
        yield


@pytest.mark.parametrize("words", NETWORKS.values(), ids=NETWORKS)
def test_a_step_of_every_family_of_networks_stays_on_its_device(build, words) -> None:
    train_a_step(build(*words))


@pytest.mark.parametrize("words", LOSSES, ids=lambda words: "-".join((words[0][8:], words[-2])))
def test_a_step_with_every_loss_stays_on_its_device(build, words) -> None:
    train_a_step(build(*words))


@pytest.mark.parametrize("kind", ["pixel", "channel"])
def test_a_step_with_a_teacher_stays_on_its_device(build, kind) -> None:
    experiment = build(*STREETS, *SMP, *STRONG)
    teacher = build(*STREETS, *SMP).task.network
    experiment.task.learn_from(Distillation(teacher, experiment.task.network, kind=kind, features=0.5))
    train_a_step(experiment)


@pytest.mark.parametrize("warmup", [False, True])
def test_averaged_weights_stay_on_their_device(build, warmup) -> None:
    experiment = build(*PHOTOS, *TINY)
    average = EMA(0.9, warmup)
    strategy = SimpleNamespace(root_device=META)
    average.setup(SimpleNamespace(strategy=strategy), experiment.task.to_empty(device="cpu"), "fit")
    experiment.task.to("meta")
    with OneDevice():
        for step in range(1, 4):
            average.on_train_batch_end(SimpleNamespace(global_step=step), experiment.task, None, None, step)


@pytest.mark.parametrize("fitting", [True, False], ids=["validation", "test"])
@pytest.mark.parametrize("words", [(*PHOTOS, *TINY), (*STREETS, *SMP)], ids=["photos", "streets"])
def test_an_evaluation_stays_on_its_device(build, words, fitting) -> None:
    evaluate_a_batch(build(*words), fitting)


def test_views_at_test_time_stay_on_their_device(build) -> None:
    views = ("task.test_time.scales=[0.5,1]", "task.test_time.flip=true", "task.test_time.window=[32,64]")
    evaluate_a_batch(build(*STREETS, *SMP, *views), fitting=False)


@pytest.mark.parametrize("words", NETWORKS.values(), ids=NETWORKS)
def test_every_family_of_networks_runs_in_bf16_on_a_pretended_gpu(words, monkeypatch) -> None:
    with composer() as compose:
        cfg = compose.compose("train", [*words, "trainer=cpu"])
    space = CITYSCAPES if words[0] == STREETS[0] else CLEANLINESS
    network, _ = build_network(cfg.model, space, tuple(cfg.image_size))
    seen: set[torch.dtype] = set()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)  # autocast asks for a GPU
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    with FakeTensorMode(allow_non_fake_inputs=True):
        network.to_empty(device="cuda")
        with torch.autocast("cuda", torch.bfloat16):
            output = network(torch.zeros(2, 3, *cfg.image_size, device="cuda"))
    logits = output.logits if space.spec.per_pixel else output
    assert (logits.device.type, logits.shape[1], seen) == ("cuda", len(space), {torch.bfloat16})


@pytest.mark.slow
@pytest.mark.parametrize("words", LOSSES, ids=lambda words: "-".join((words[0][8:], words[-2])))
def test_a_step_with_every_loss_runs_in_bf16_on_a_pretended_gpu(words, tmp_path, monkeypatch) -> None:
    experiment = build_experiment_of(words, tmp_path)
    experiment.task.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    experiment.data.trainer = SimpleNamespace(training=True)  # type: ignore[assignment]
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)  # autocast asks for a GPU
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    with FakeTensorMode(allow_non_fake_inputs=True):
        experiment.task.to_empty(device="cuda")
        batch = experiment.data.train_batch(2, torch.device("cuda"))
        with torch.autocast("cuda", torch.bfloat16):
            loss = experiment.task.training_step(batch, 0)
    assert (loss.device.type, loss.dtype) == ("cuda", torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("combination", combinations(), ids=str)
def test_every_part_of_a_training_stays_on_its_device(combination: Combination, tmp_path: Path) -> None:
    if combination.reads:
        with pytest.raises((RuntimeError, NotImplementedError), match=r"(?i)meta|nonzero"):
            combination.run(tmp_path)
    else:
        combination.run(tmp_path)


class Reads(nn.Module):
    """A loss that reads a value."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        loss = nn.functional.cross_entropy(logits, labels)
        return loss * (2.0 if loss.item() > 1 else 1.0)


def test_a_value_that_is_read_in_a_step_is_caught(build) -> None:
    experiment = build(*PHOTOS, *TINY)
    experiment.task.loss = Reads()
    with pytest.raises(RuntimeError, match="meta tensors"):
        train_a_step(experiment)


def test_a_constant_of_the_cpu_in_an_augmentation_is_caught(build, monkeypatch) -> None:
    experiment = build(*PHOTOS, *TINY, *STRONG)
    monkeypatch.setattr(
        "streetlab.loading.augment.to_device_async",
        lambda values, like, dtype=None: torch.tensor(np.asarray(values), dtype=dtype or like.dtype),
    )
    with pytest.raises(RuntimeError, match="cpu"):
        train_a_step(experiment)


def test_a_metric_on_the_wrong_device_is_caught(build) -> None:
    experiment = build(*PHOTOS, *TINY)
    experiment.task.confusion.counts = torch.zeros(3, 4, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="cpu"):
        evaluate_a_batch(experiment, fitting=True)
