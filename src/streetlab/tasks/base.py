"""What every task shares: the network, the loss in float32, the optimizer of the current phase, the checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.optim import Optimizer

from streetlab.data.index.labels import LabelSpace
from streetlab.errors import UserError, did_you_mean

CHECKPOINT_KEY = "streetlab"


class StreetTask(pl.LightningModule):
    """A network, what it is trained for, and what its checkpoints must hold to be used alone.

    Args:
        network: takes images `(B, 3, H, W)` float32, ImageNet-normalised.
        label_space: the classes, in order.
        loss: takes float32 logits and labels.
        objective: `{metric, mode}`: which number of the val split selects the epoch.
        card: plain Python that checkpoints carry under `streetlab`: config, label space, normalisation, size.
    """

    metrics: tuple[str, ...]
    """What an objective may name."""

    def __init__(
        self,
        network: nn.Module,
        label_space: LabelSpace,
        loss: nn.Module,
        objective: Mapping[str, str],
        card: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        metric, mode = objective["metric"], objective["mode"]
        if metric not in self.metrics:
            near = did_you_mean(metric, self.metrics)
            raise UserError(f"task.objective.metric: '{metric}' is not one of {', '.join(self.metrics)}{near}")
        if mode not in ("max", "min"):
            raise UserError(f"task.objective.mode: '{mode}' is not max or min")
        self.network, self.label_space, self.loss = network, label_space, loss
        self.objective = dict(objective)
        self.card = card or {}
        self.build_optimizer: Callable[[nn.Module], Optimizer] | None = None  # set by each phase

    @property
    def monitor(self) -> str:
        """The logged name of the objective."""
        return f"val/{self.objective['metric']}"

    def forward(self, images: Tensor) -> Any:
        return self.network(images)

    def configure_optimizers(self) -> Optimizer:
        if self.build_optimizer is None:
            raise RuntimeError("no phase has been entered: train through a regime (PhaseSchedule.fit)")
        return self.build_optimizer(self.network)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[CHECKPOINT_KEY] = self.card
