"""Trainings of a few batches, for the benchmarks: which networks, at what size, and two ways to train one.

`Streetlab` trains with the objects of `streetlab train`; `Bare` is the network alone, at the same precision and
layout, with the same loss and optimizer, on one batch that stays in memory.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.profilers import Profiler
from torch import Tensor, nn

from streetlab.config import instantiate, plain
from streetlab.config.composition import composer
from streetlab.records.record import RunRecord
from streetlab.tasks.base import StreetTask
from streetlab.training.build import Experiment, build_callbacks, build_experiment, build_loggers
from streetlab.training.loggers import RecordLogger
from streetlab.training.phases import Phase, PhaseSchedule
from streetlab.training.precision import resolve_accelerator, resolve_precision
from streetlab.training.schedules import none
from streetlab.training.terminal import quiet_lightning


@dataclass(frozen=True)
class Case:
    """A network as one of the presets trains it.

    Attributes:
        title: in tables.
        preset: under conf/experiment.
        size: height and width of its images.
        batch_size: on the CPU and on a GPU, where none is asked for.
    """

    title: str
    preset: str
    size: tuple[int, int]
    batch_size: tuple[int, int]

    @property
    def segments(self) -> bool:
        return self.preset.startswith("segmentation")


_STREET, _FEW = (256, 512), (2, 16)
CASES = {
    "resnet18": Case("ResNet-18", "cleanliness_from_scratch", (224, 224), (32, 128)),
    "deeplabv3_1": Case("DeepLabV3-R50", "segmentation_deeplabv3_1", _STREET, _FEW),
    "deeplabv3_2": Case("DeepLabV3-R50, SGD", "segmentation_deeplabv3_2", _STREET, _FEW),
    "deeplabv3_3": Case("DeepLabV3-R101", "segmentation_deeplabv3_3", _STREET, _FEW),
    "hrnet_1": Case("HRNetV2-W48, plain head", "segmentation_hrnet_1", _STREET, _FEW),
    "hrnet_2": Case("HRNetV2-W48, plain head, SGD", "segmentation_hrnet_2", _STREET, _FEW),
    "hrnet_3": Case("HRNetV2-W48", "segmentation_hrnet_3", _STREET, _FEW),
}
VARIANTS = [name for name in CASES if name != "resnet18"]
"""The original study's six."""
COMPARED = ["resnet18", "deeplabv3_1", "hrnet_3"]
PHASE = Phase("train", epochs=1, train=("all",))


def on_gpu() -> bool:
    return torch.cuda.is_available()


def synchronize() -> None:
    """Wait until the device has done what was asked of it."""
    if on_gpu():
        torch.cuda.synchronize()


def default_batch_size(case: Case) -> int:
    return case.batch_size[on_gpu()]


def drawn(case: Case, images: int, val: int = 1) -> list[str]:
    """Words that choose so many drawn pictures as the data."""
    kind = "streets" if case.segments else "cleanliness"
    splits = [f"dataset.{split}={count}" for split, count in (("train", images), ("val", val), ("test", 1))]
    return [f"dataset=synthetic_{kind}", *splits, f"dataset.size=[{case.size[0]},{case.size[1]}]"]


def compose(case: Case, data: Sequence[str], cache: Path, words: Sequence[str] = ()) -> DictConfig:
    """The config of `streetlab train` for a case.

    Args:
        data: words that choose the data set.
        cache: folder of the decoded images.
        words: further ones of the person who measures; they come last.
    """
    height, width = case.size
    given = [
        f"experiment={case.preset}",
        *data,
        f"dataset.cache_dir={cache}",
        f"dataset.on_device={str(on_gpu()).lower()}",
        f"trainer.compile={str(on_gpu()).lower()}",  # `auto` compiles where a training is long, which these stand for
        f"image_size=[{height},{width}]",
        f"batch_size={default_batch_size(case)}",
        *(["model.weights=none"] if case.segments else []),
    ]
    with composer() as root:
        return root.compose("train", [*given, *words])


class Streetlab:
    """`streetlab train`'s own objects: data from the cache, augmentation, callbacks, loggers; no checkpoints.

    Args:
        cfg: see `compose`.

    Attributes:
        experiment: what is trained; every call goes on with it.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self._cfg = cfg
        experiment = build_experiment(cfg, plain(cfg), instantiate(cfg.dataset))
        # a plateau would want a whole validation
        phase = {"name": PHASE.name, "epochs": PHASE.epochs, "train": PHASE.train}
        regime = PhaseSchedule([phase], instantiate(cfg.optimizer), none, seed=cfg.seed)
        self.experiment: Experiment = replace(experiment, regime=regime)
        self.experiment.data.setup()

    def train(
        self,
        batches: int,
        val_batches: int = 0,
        profiler: Profiler | None = None,
        callbacks: Sequence[pl.Callback] = (),
    ) -> float:
        """Train one epoch of one batch, in which what is compiled is compiled, and so many more.

        Returns:
            images per second of those, validation left out.
        """
        experiment, cfg, pace = self.experiment, self._cfg, _Pace()
        with tempfile.TemporaryDirectory() as folder, quiet_lightning():
            record = RunRecord(Path(folder))
            keeping = pl.callbacks.ModelCheckpoint
            own = build_callbacks(cfg, experiment, record.checkpoints)
            trainer = instantiate(
                cfg.trainer,
                callbacks=[*(callback for callback in own if not isinstance(callback, keeping)), *callbacks, pace],
                loggers=build_loggers(cfg, RecordLogger(record, lambda: PHASE.name)),
                root=record.path,
                enable_checkpointing=False,
                profiler=profiler,
            )
            trainer.limit_train_batches, trainer.limit_val_batches = batches + 1, val_batches
            experiment.regime.fit(trainer, experiment.task, experiment.data)
        return pace.images / pace.seconds


class _Pace(pl.Callback):
    """Images and seconds from the end of an epoch's first step to that of its last."""

    def __init__(self) -> None:
        self.images, self.seconds = 0, 0.0
        self._started = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            synchronize()
            self._started = time.perf_counter()
            return
        self.images += len(batch["rows"])
        if batch_idx + 1 == trainer.num_training_batches:
            synchronize()
            self.seconds = time.perf_counter() - self._started


class Bare:
    """The network, its loss and its optimizer on one batch of noise that stays on the device.

    Args:
        cfg: see `compose`.
        compiled: whether torch compiles the network, whatever `trainer.compile` says.
        original: as the original study did: float32, PyTorch's default layout, its default optimizer kernels.
    """

    def __init__(self, cfg: DictConfig, compiled: bool = False, original: bool = False) -> None:
        cfg = cfg.copy()
        if original:
            cfg.trainer.update(precision="32-true", channels_last=False, checkpointing=False)
        self.precision = resolve_precision(cfg.trainer.precision, resolve_accelerator(cfg.trainer.accelerator))
        self._low = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(self.precision)
        self._device = torch.device("cuda" if on_gpu() else "cpu")
        experiment = build_experiment(cfg, plain(cfg), instantiate(cfg.dataset))
        self._task: StreetTask = experiment.task
        self._network: nn.Module = self._task.network.to(self._device).train()
        if compiled:
            self._network.compile(dynamic=False)
        if original:
            self._optimizer = instantiate(cfg.optimizer)(self._network.parameters())
        else:
            self._optimizer = experiment.regime.build_optimizer(PHASE, self._network)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=self.precision == "16-mixed")
        size, count, classes = tuple(cfg.image_size), cfg.batch_size, len(self._task.label_space)
        layout = torch.channels_last if cfg.trainer.channels_last else torch.contiguous_format
        self._images = torch.randn(count, 3, *size, device=self._device).contiguous(memory_format=layout)
        shape = (count, *size) if self._task.task == "segmentation" else (count,)
        self._labels = torch.randint(0, classes, shape, device=self._device)

    def train(self, batches: int) -> float:
        """Images per second, forward to optimizer step."""
        return self.train_on(lambda: (self._images, self._labels), batches)

    def train_on(self, batch: Callable[[], tuple[Tensor, Tensor]], batches: int) -> float:
        """The same on batches from elsewhere: images and labels, on any device."""
        synchronize()
        started, count = time.perf_counter(), 0
        for _ in range(batches):
            images, labels = batch()
            images, labels = images.to(self._device), labels.to(self._device)
            with torch.autocast(self._device.type, self._low, enabled=self._low is not None):
                output = self._network(images)
            loss = self._loss(output, labels)
            self._optimizer.zero_grad()
            self._scaler.scale(loss).backward()
            self._scaler.step(self._optimizer)
            self._scaler.update()
            count += len(images)
        synchronize()
        return count / (time.perf_counter() - started)

    def _loss(self, output: Any, labels: Tensor) -> Tensor:
        """As the task adds it up: in float32, with the auxiliary head's share where there is one."""
        if self._task.task == "classification":
            return self._task.loss(output.float(), labels)
        loss = self._task.loss(output.logits.float(), labels)
        if output.aux is not None:
            loss = loss + self._task.aux_weight * self._task.loss(output.aux.float(), labels)
        return loss
