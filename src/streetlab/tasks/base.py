"""The base of all tasks: network, loss in float32, optimizer of the current phase, checkpoint metadata."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MetricCollection

from streetlab.checkpoints.read import CHECKPOINT_KEY
from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.task_spec import TASKS
from streetlab.errors import UserError, did_you_mean
from streetlab.loading.datamodule import Batch
from streetlab.metrics.catalogue import objectives
from streetlab.networks.depthwise import FastDepthwise
from streetlab.tasks import added_metrics
from streetlab.tasks.distillation import Distillation
from streetlab.tasks.metrics import MeanLoss


class StreetTask(pl.LightningModule):
    """A network, what it is trained for, and what its checkpoints must hold to be used alone.

    Args:
        network: takes images `(B, 3, H, W)` float32, ImageNet-normalised.
        label_space: the classes, in order.
        loss: takes float32 logits and labels.
        objective: `{metric, mode}`: which number of the val split selects the epoch.
        metadata: plain Python that checkpoints carry under `streetlab`: config, label space, normalisation, size.
        added: metrics beside the catalogue's, see `added_metrics.build_metrics`.

    Attributes:
        metrics: what an objective may name; logged for val in every epoch.
    """

    task: str
    """`classification` or `segmentation`."""

    def __init__(
        self,
        network: nn.Module,
        label_space: LabelSpace,
        loss: nn.Module,
        objective: Mapping[str, str],
        metadata: dict[str, Any] | None = None,
        added: MetricCollection | None = None,
    ) -> None:
        super().__init__()
        if label_space.task != self.task:
            raise UserError(
                f"task: {self.task} needs {TASKS[self.task].labels}, but the data set's labels ({label_space.name}) "
                f"are {label_space.spec.labels}: task={label_space.task} (choosing a data set chooses its task)"
            )
        for part in ("metric", "mode"):
            if part not in objective:
                raise UserError(f"task.objective.{part}: missing; an objective is {{metric: ..., mode: max or min}}")
        metric, mode = objective["metric"], objective["mode"]
        self.added = added
        self.metrics = (*objectives(self.task), *self.added_names)
        if metric not in self.metrics:
            near = did_you_mean(metric, self.metrics)
            raise UserError(f"task.objective.metric: '{metric}' is not one of {', '.join(self.metrics)}{near}")
        if mode not in ("max", "min"):
            raise UserError(f"task.objective.mode: '{mode}' is not max or min")
        self.network, self.label_space, self.loss = network, label_space, loss
        self.mean_loss = MeanLoss()
        self.objective = dict(objective)
        self.metadata = metadata or {}
        self._build_optimizer: Callable[[nn.Module], Optimizer] | None = None
        self._distillation: Distillation | None = None

    @property
    def added_names(self) -> tuple[str, ...]:
        """The names of the metrics beside the catalogue's."""
        return () if self.added is None else tuple(map(str, self.added.keys()))

    @property
    def monitor(self) -> str:
        """The logged name of the objective."""
        return f"val/{self.objective['metric']}"

    def forward(self, images: Tensor) -> Any:
        return self.network(images)

    def training_forward(self, images: Tensor) -> Any:
        """Run the network on a training batch.

        Raises:
            UserError: a batch of one image, of which a normalisation over the batch can learn nothing.
        """
        # a compiled graph is made of the functions that it was traced with
        compiled = getattr(self.network, "_compiled_call_impl", None) is not None
        try:
            with nullcontext() if compiled else FastDepthwise():
                return self.network(images)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UserError(
                f"batch_size: {type(self.network).__name__} can't be trained on a batch of one image (it normalises "
                "1x1 maps over the batch); at least 2 per process are needed"
            ) from None

    def optimize_with(self, build_optimizer: Callable[[nn.Module], Optimizer]) -> None:
        """Take what builds the optimizer of each phase; a regime calls this once, before its first phase."""
        self._build_optimizer = build_optimizer

    def learn_from(self, distillation: Distillation) -> None:
        """Add a teacher's part to the loss of training batches."""
        self._distillation = distillation

    def with_teacher(self, loss: Tensor, logits: Tensor, batch: Batch, labels: Tensor) -> Tensor:
        """The loss of a training batch on its labels, with the teacher's part where the run has a teacher."""
        if self._distillation is None:
            return loss
        taught = self._distillation(batch["images"], logits, labels)
        size = len(batch["rows"])
        self.log("train/distillation_loss", taught, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
        return self._distillation.mixed(loss, taught)

    def configure_optimizers(self) -> Optimizer:
        if self._build_optimizer is None:
            raise RuntimeError("no phase has been entered: train through a regime (PhaseSchedule.fit)")
        return self._build_optimizer(self.network)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate_batch(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate_batch(batch)

    def on_validation_epoch_start(self) -> None:
        self._reset()

    def on_test_epoch_start(self) -> None:
        self._reset()

    def on_validation_epoch_end(self) -> None:
        self._log_summary("val")

    def on_test_epoch_end(self) -> None:
        self._log_summary("test")

    def _reset(self) -> None:
        self.mean_loss.reset()
        if self.added is not None:
            self.added.reset()
        self.reset_evaluation()

    def count_added(self, logits: Tensor, labels: Tensor) -> None:
        """Give a batch to the metrics beside the catalogue's: `(B, K, ...)` float32 logits, `(B, ...)` int64 labels."""
        if self.added is not None:
            self.added.update(logits.softmax(dim=1), labels)

    def _log_summary(self, split: str) -> None:
        summary = self.summarize_evaluation()
        if self.added is not None:
            summary |= added_metrics.values(self.added)
        values = {"loss": self.mean_loss.compute(), **{name: summary[name] for name in self.metrics}}
        # every rank holds the same sums, so there is nothing to synchronise
        self.log_dict({f"{split}/{name}": value for name, value in values.items()}, rank_zero_only=False)

    @abstractmethod
    def label_loss(self, output: Any, batch: Batch) -> Tensor:
        """The loss on the labels of a training batch, in float32, given the network's output."""

    @abstractmethod
    def reset_evaluation(self) -> None:
        """Forget the batches of the last evaluation."""

    @abstractmethod
    def evaluate_batch(self, batch: Batch) -> None:
        """Count a batch, and its loss in `mean_loss`, weighted by its images."""

    @abstractmethod
    def summarize_evaluation(self) -> dict[str, Any]:
        """The numbers of all batches of all processes; every name in `metrics` is among them."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[CHECKPOINT_KEY] = self.metadata
