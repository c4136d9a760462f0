"""Training steps and evaluations on the meta device, where a GPU's faults show without one.

Tensors of that device have shapes and no values. What reads a value (`.item()`, `.tolist()`, a mask as an index) or
takes part with a tensor of the CPU raises there, and on a GPU would wait or raise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from lightning_fabric.utilities import move_data_to_device
from omegaconf import OmegaConf, open_dict
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from streetlab.config import instantiate
from streetlab.config.composition import composer
from streetlab.training.build import Experiment, build_experiment

PHOTOS = ("dataset=synthetic_cleanliness", "dataset.train=6", "dataset.val=3", "dataset.test=3", "image_size=[64,64]")
STREETS = ("dataset=synthetic_streets", "dataset.train=4", "dataset.val=2", "dataset.test=2", "image_size=[64,96]")
TINY = ("model=timm_classifier", "model.name=test_resnet")
SMP = ("model=smp", "model.decoder=fpn", "model.encoder=resnet18", "model.weights=none")
STRONG = ("augment=strong",)
META = torch.device("meta")


class OneDevice(TorchDispatchMode):
    """Raises where an operation takes tensors of two devices; scalars of the CPU go with any."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.ndim or tensor.device.type != "cpu"}
        if len(devices) > 1 and func.overloadpacket not in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            raise RuntimeError(f"{func} takes tensors of {sorted(devices)}")
        return func(*args, **(kwargs or {}))


@contextmanager
def no_autocast_on_meta() -> Iterator[None]:
    """Torch (2.12) knows no mixed precision for the meta device, not even to switch it off."""
    original = torch.autocast

    def autocast(kind: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if kind == "meta" else original(kind, *args, **kwargs)

    with mock.patch.object(torch, "autocast", autocast):
        yield


def build_experiment_of(words: Sequence[str], cache: Path, further: Mapping[str, Any] | None = None) -> Experiment:
    """An experiment of `streetlab train`, its data opened, its network on the CPU.

    Args:
        words: overrides.
        cache: folder of decoded images.
        further: values by key that no word can give, such as a metric of a group in which nothing is chosen.
    """
    with composer() as compose:
        cfg = compose.compose("train", [*words, f"dataset.cache_dir={cache}", "trainer=cpu"])
    with open_dict(cfg):
        for key, value in (further or {}).items():
            cfg[key] = value
    experiment = build_experiment(cfg, OmegaConf.to_container(cfg, resolve=True), instantiate(cfg.dataset))  # type: ignore[arg-type]
    experiment.data.setup()
    phase = max(experiment.regime.phases, key=lambda phase: len(phase.train))
    experiment.task.optimize_with(lambda network: experiment.regime.build_optimizer(phase, network))
    return experiment


def train_a_step(experiment: Experiment) -> None:
    """Train from the cached bytes to changed weights."""
    task = experiment.task
    experiment.data.trainer = SimpleNamespace(training=True)  # type: ignore[assignment]
    task.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    task.train()
    with OneDevice():
        batch = experiment.data.train_batch(2, META)
        optimizer = task.configure_optimizers()
        loss: Any = task.training_step(batch, 0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.network.parameters(), 1.0)
        optimizer.step()
    assert loss.device.type == "meta"
    assert any(parameter.grad is not None for parameter in task.network.parameters())


def evaluate_a_batch(experiment: Experiment, fitting: bool) -> None:
    """Count a batch of images without augmentation: of a validation while fitting, or of a test of the best epoch."""
    task, data = experiment.task, experiment.data
    state = SimpleNamespace(fn=TrainerFn.FITTING if fitting else TrainerFn.TESTING)
    task._trainer = SimpleNamespace(state=state)  # type: ignore[assignment]
    data.trainer = None
    task.eval()
    with torch.no_grad(), OneDevice():
        batch = next(iter(data.val_dataloader()))
        task.validation_step(data.on_after_batch_transfer(move_data_to_device(batch, META), 0), 0)
    task._trainer = None
