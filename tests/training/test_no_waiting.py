"""A training step on a GPU never waits for the device: shown without one, on tensors that only say they lie there."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from streetlab.datasets.image_folder import ImageFolder
from streetlab.datasets.source import DataSource
from streetlab.datasets.synthetic_streets import SyntheticStreets
from streetlab.loading.augment import Augment
from streetlab.loading.datamodule import StreetData
from streetlab.metrics.catalogue import objectives
from streetlab.networks.segmentation import SegmentationOutput
from streetlab.tasks.classification import ClassificationTask
from streetlab.tasks.losses import OhemCrossEntropy
from streetlab.tasks.segmentation import SegmentationTask
from streetlab.training.nan_guard import NanGuard
from streetlab.training.phases import PhaseSchedule
from streetlab.training.progress import Progress
from streetlab.training.schedules import cosine
from streetlab.training.stopwatch import Stopwatch

aten = torch.ops.aten
_READ_BACK = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.bincount, aten._unique2}
"""Operations whose result, or its size, the host has to know."""
SIZE = (32, 64)


class Waits(TorchDispatchMode):
    """Notes what makes the host wait for the device while `watching`; a scalar that is read is 1."""

    def __init__(self) -> None:
        super().__init__()
        self.watching = False
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = func.overloadpacket
        tensors = [value for value in args if isinstance(value, Tensor)]
        if kind in _READ_BACK and tensors[0].device.type == "cuda":
            self._note(func)
        if kind is aten._local_scalar_dense:
            return 1.0 if args[0].is_floating_point() else 1
        output = func(*args, **kwargs)
        if kind in (aten._to_copy, aten.copy_):
            source, target = tensors[-1].device.type, output.device.type
            unhurried = kwargs.get("non_blocking") or (kind is aten.copy_ and len(args) > 2 and args[2])
            if source != target and not (unhurried and target == "cuda"):
                self._note(func)
        return output

    def _note(self, func: Any) -> None:
        if self.watching:
            ours = [line for line in traceback.format_stack() if "streetlab" in line or "lightning" in line]
            self.found.append(f"{func} at\n{''.join(ours[-4:-1])}")


class SeenEnough(Exception):  # noqa: N818  (what it is, not what went wrong)
    pass


class Window(pl.Callback):
    """Watches the second and third step from their first hook to their last; stands behind all other callbacks."""

    def __init__(self, waits: Waits) -> None:
        self.waits = waits

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.waits.watching = batch_idx >= 1  # until the third step's end, what fetches its batch included

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if batch_idx == 2:
            self.waits.watching = False
            raise SeenEnough


class NoDevice(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        """There is none."""

    def teardown(self) -> None:
        """There is none."""


class PretendedDevice(SingleDeviceStrategy):
    """`cuda:0` in name. The backward pass needs a real one; nothing of ours is in it."""

    def model_to_device(self) -> None:
        """It has been built there."""

    def teardown(self) -> None:
        """It cannot be brought back from there."""

    def backward(self, closure_loss: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        assert self.lightning_module is not None
        for parameter in self.lightning_module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        return closure_loss


class Pixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 19, 1))

    def forward(self, images: Tensor) -> SegmentationOutput:
        logits = self.layers(images)
        return SegmentationOutput(logits, logits * 2)


class Photos(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


@pytest.fixture
def source(tmp_path: Path, photo_tree) -> Callable[[str, bool], DataSource]:
    def make(task: str, on_device: bool) -> DataSource:
        if task == "segmentation":
            streets = {"train": 6, "val": 1, "test": 1}
            return SyntheticStreets(SIZE, name="streets", cache_dir=tmp_path / "cache", on_device=on_device, **streets)
        tree = {f"{split}/{name}": 2 for split in ("train", "val", "test") for name in ("clean", "medium", "litter")}
        root = photo_tree(tmp_path / "photos", tree)
        return ImageFolder("photos", root, tmp_path / "cache", labels="cleanliness", on_device=on_device)

    return make


def waits_of_a_step(
    source: DataSource, task: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, callbacks: list[pl.Callback]
) -> list[str]:
    """What makes a step wait, of a training with everything that `streetlab train` has in a step."""
    # torch cannot copy the storage of a pretended tensor; a clone is what is wanted
    monkeypatch.setattr(
        "torchmetrics.metric.deepcopy", lambda value: value.clone() if isinstance(value, Tensor) else copy.copy(value)
    )
    augment = Augment(scale=[0.5, 1.0], flip=0.5, rotation=10.0, brightness=0.2, contrast=0.2, hue=0.1, erase=0.5)
    data = StreetData(source, augment, SIZE, 2, seed=3)
    data.setup()
    waits = Waits()
    with FakeTensorMode(allow_non_fake_inputs=True), waits:
        with torch.device("cuda"):
            network, kind = (Pixels(), SegmentationTask) if task == "segmentation" else (Photos(), ClassificationTask)
            objective = {"metric": objectives(task)[0], "mode": "max"}
            street_task = kind(network, source.label_space, OhemCrossEntropy(keep=0.5), objective)
        network.parameter_groups = {"all": tuple(name for name, _ in network.named_children())}  # type: ignore
        phases = [{"name": "train", "epochs": 1, "train": ["all"]}]
        regime = PhaseSchedule(phases, partial(torch.optim.AdamW, lr=1e-3), cosine)
        trainer = pl.Trainer(
            strategy=PretendedDevice(device=torch.device("cuda:0"), accelerator=NoDevice()),
            callbacks=[regime, NanGuard(), Progress(), Stopwatch(), *callbacks, Window(waits)],
            logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
            num_sanity_val_steps=0, limit_val_batches=0, use_distributed_sampler=False, default_root_dir=tmp_path,
            gradient_clip_val=1.0,
        )  # fmt: skip
        with pytest.raises(SeenEnough):
            regime.fit(trainer, street_task, data)
    return waits.found


@pytest.mark.parametrize("on_device", [False, True], ids=["sent", "resident"])
@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_a_training_step_leaves_the_device_to_work(source, monkeypatch, tmp_path, task, on_device) -> None:
    found = waits_of_a_step(source(task, on_device), task, monkeypatch, tmp_path, [])
    assert not found, "\n".join(found)


class Item(pl.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        outputs["loss"].item()


class RowsOnTheHost(pl.Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        batch["rows"].cpu()


class Constant(pl.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        torch.tensor([0.5, 0.5], device=batch["images"].device)


@pytest.mark.parametrize("planted", [Item, RowsOnTheHost, Constant])
def test_what_waits_is_found_where_it_is_planted(source, monkeypatch, tmp_path, planted) -> None:
    found = waits_of_a_step(source("classification", False), "classification", monkeypatch, tmp_path, [planted()])
    assert found
