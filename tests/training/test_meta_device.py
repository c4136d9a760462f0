"""A step on the meta device: a GPU's faults, found without one.

Tensors of that device have shapes and no values. What reads a value (`.item()`, `.tolist()`, a mask as an index) or
takes part with a tensor of the CPU raises there, and on a GPU would wait or raise.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from streetlab.config import instantiate
from streetlab.config.composition import composer
from streetlab.datasets.labels import CITYSCAPES, CLEANLINESS
from streetlab.networks.build import build_network
from streetlab.tasks.distillation import Distillation
from streetlab.training.build import Experiment, build_experiment
from streetlab.training.ema import EMA

PHOTOS = ("dataset=synthetic_cleanliness", "dataset.train=6", "dataset.val=3", "dataset.test=3", "image_size=[64,64]")
STREETS = ("dataset=synthetic_streets", "dataset.train=4", "dataset.val=2", "dataset.test=2", "image_size=[64,96]")
TINY = ("model=timm_classifier", "model.name=test_resnet")
SMP = ("model=smp", "model.decoder=fpn", "model.encoder=resnet18", "model.weights=none")
STRONG = ("augment=strong",)

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
        ((*STREETS, *SMP), ("cross_entropy", "ohem", "dice_cross_entropy")),
    )
    for loss in losses
]


class OneDevice(TorchDispatchMode):
    """Raises where an operation takes tensors of two devices; scalars of the CPU go with any."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.ndim or tensor.device.type != "cpu"}
        if len(devices) > 1 and func.overloadpacket not in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            raise RuntimeError(f"{func} takes tensors of {sorted(devices)}")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Experiment]:
    """`build("key=value", ...)`: an experiment of `streetlab train`, its data opened, its task on the meta device."""

    def make(*words: str) -> Experiment:
        with composer() as compose:
            cfg = compose.compose("train", [*words, f"dataset.cache_dir={tmp_path}", "trainer=cpu"])
        experiment = build_experiment(cfg, OmegaConf.to_container(cfg, resolve=True), instantiate(cfg.dataset))
        experiment.data.setup()
        experiment.task.to("meta")
        experiment.task.optimize_with(lambda network: instantiate(cfg.optimizer)(network.parameters()))
        return experiment

    return make


@pytest.fixture(autouse=True)
def _no_autocast_on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch (2.12) knows no mixed precision for the meta device, not even to switch it off."""
    original = torch.autocast
    monkeypatch.setattr(
        torch,
        "autocast",
        lambda kind, *args, **kwargs: nullcontext() if kind == "meta" else original(kind, *args, **kwargs),
    )


def train_a_step(experiment: Experiment) -> None:
    """From the cached bytes to changed weights."""
    task = experiment.task
    experiment.data.trainer = SimpleNamespace(training=True)  # type: ignore[assignment]
    task.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    with OneDevice():
        batch = experiment.data.train_batch(2, torch.device("meta"))
        optimizer = task.configure_optimizers()
        loss = task.training_step(batch, 0)
        loss.backward()
        optimizer.step()
    assert loss.device.type == "meta"
    assert all(parameter.grad is not None for parameter in task.network.parameters() if parameter.requires_grad)


def evaluate_a_batch(experiment: Experiment, fitting: bool) -> None:
    task, data = experiment.task, experiment.data
    state = SimpleNamespace(fn=TrainerFn.FITTING if fitting else TrainerFn.TESTING)
    task._trainer = SimpleNamespace(state=state)  # type: ignore[assignment]
    data.trainer = SimpleNamespace(training=False)  # type: ignore[assignment]
    task.eval()
    with torch.no_grad(), OneDevice():
        task.validation_step(data.train_batch(2, torch.device("meta")), 0)
    task._trainer = None


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
    strategy = SimpleNamespace(root_device=torch.device("meta"))
    average.setup(SimpleNamespace(strategy=strategy), experiment.task.to_empty(device="cpu"), "fit")  # type: ignore
    experiment.task.to("meta")
    with OneDevice():
        for step in range(1, 4):
            average.on_train_batch_end(SimpleNamespace(global_step=step), experiment.task, None, None, step)  # type: ignore


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
