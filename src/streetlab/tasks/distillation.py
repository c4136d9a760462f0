"""Distillation: a trained teacher's outputs on the same images are part of the student's loss.

The teacher belongs to a run's training alone: it is no module of the task, so that neither checkpoints, optimizers,
averaged weights nor DDP know of it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streetlab.datasets.labels import IGNORE_INDEX
from streetlab.errors import UserError, did_you_mean
from streetlab.networks.segmentation import SegmentationOutput
from streetlab.tasks.losses import is_number

KINDS = ("pixel", "channel")


class Distillation:
    """The teacher's part of a loss: (1 - weight) · loss on the labels + weight · divergence + features · attention.

    What the labels ignore counts for nothing in the divergence either: no label says there whether the teacher is
    right, and augmentation fills such pixels with what no camera sees. All of it is computed in float32.

    Args:
        teacher: takes the images that the student takes, and gives scores of the same classes in the same order.
            It is frozen, put in eval mode, and follows the images' device.
        student: the network that learns; watched where `features` is above 0.
        kind: `pixel`, see `pixel_divergence`; `channel`, see `channel_divergence`, for networks that score pixels.
        temperature: divides both networks' logits before the softmax, above 0.
        weight: of the divergence, 0 to 1.
        features: weight of `attention_distance`, between the layers that activation maps are read from.

    Raises:
        UserError: a setting is out of range, or is not for these networks.
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        kind: str = "pixel",
        temperature: float = 2.0,
        weight: float = 0.5,
        features: float = 0.0,
    ) -> None:
        if kind not in KINDS:
            near = did_you_mean(str(kind), KINDS)
            raise UserError(f"distillation.kind: '{kind}' is not one of {', '.join(KINDS)}{near}")
        if not is_number(temperature) or temperature <= 0:
            raise UserError(f"distillation.temperature: {temperature} is not a number above 0")
        if not is_number(weight) or not 0 <= weight <= 1:
            raise UserError(f"distillation.weight: {weight} is not a share (0 to 1)")
        if not is_number(features) or features < 0:
            raise UserError(f"distillation.features: {features} is not a number from 0")
        self.teacher = teacher.requires_grad_(False).eval()
        self.kind, self.temperature, self.weight, self.features = kind, temperature, weight, features
        self._watched = (_Watched(teacher, learns=False), _Watched(student, learns=True)) if features else None

    def __deepcopy__(self, memo: dict[int, Any]) -> Distillation:
        """Return itself: a copy of the task that averages the student's weights needs no second teacher."""
        return self

    def __call__(self, images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """The teacher's part of the loss: a scalar, with its weights.

        Args:
            images: `(B, 3, H, W)`, as the student saw them.
            logits: the student's, float32, `(B, K)` or `(B, K, H, W)`.
            labels: int64, `(B,)` or `(B, H, W)`.
        """
        taught = self._ask(images)
        with torch.autocast(logits.device.type, enabled=False):
            divergence = channel_divergence if self.kind == "channel" else pixel_divergence
            loss = self.weight * divergence(logits.float(), taught.float(), labels, self.temperature)
            if self._watched is not None:
                maps, wanted = self._watched[1].take(images), self._watched[0].take(images)
                loss = loss + self.features * attention_distance(maps.float(), wanted.float())
        return loss

    def mixed(self, loss: Tensor, told: Tensor) -> Tensor:
        """The loss on the labels with what the teacher adds to it."""
        return (1 - self.weight) * loss + told

    def _ask(self, images: Tensor) -> Tensor:
        """The teacher's logits; no gradients, but no inference mode either: the student's backward pass reads them."""
        parameter = next(self.teacher.parameters())
        if parameter.device != images.device:
            self.teacher.to(images.device)
        with torch.no_grad():
            output = self.teacher(images.to(parameter.dtype))
        return output.logits if isinstance(output, SegmentationOutput) else output


def pixel_divergence(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) between the classes' probabilities at temperature T, the mean over valid labels.

    Hinton et al. 2015, arXiv:1503.02531, for each photo or pixel; T² keeps the gradients' scale. Zero where every
    label is ignored.

    Args:
        student, teacher: logits `(B, K)` or `(B, K, H, W)`, float32.
        labels: `(B,)` or `(B, H, W)`.
    """
    wanted = (teacher / temperature).log_softmax(dim=1)
    found = (student / temperature).log_softmax(dim=1)
    divergence = F.kl_div(found, wanted, reduction="none", log_target=True).sum(dim=1)
    valid = labels != IGNORE_INDEX
    return temperature**2 * divergence.where(valid, 0.0).sum() / valid.sum().clamp(min=1)


def channel_divergence(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) between where each class's logits lie in the image, the mean over classes and images.

    Shu et al. 2021, arXiv:2011.13256: the softmax is over an image's valid pixels, of each class on its own, so that
    a class of few pixels counts as much as the road. An image without a valid pixel adds zero.

    Args:
        student, teacher: logits `(B, K, H, W)`, float32.
        labels: `(B, H, W)`.
    """
    ignored = (labels == IGNORE_INDEX)[:, None]
    lowest = torch.finfo(student.dtype).min  # -inf would make NaN of an image without a valid pixel
    found, wanted = (
        (logits / temperature).masked_fill(ignored, lowest).flatten(2).log_softmax(dim=2)
        for logits in (student, teacher)
    )
    return temperature**2 * F.kl_div(found, wanted, reduction="none", log_target=True).sum(dim=2).mean()


def attention_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """The squared distance of two networks' attention maps, the mean over images, 0 to 2.

    An attention map is the mean over channels of the squared features, scaled to length 1 (Zagoruyko & Komodakis
    2017, arXiv:1612.03928): no projection is needed between features of different widths. The teacher's is resized
    to the student's.

    Args:
        student: feature maps `(B, C, h, w)`, float32.
        teacher: the same of other channels and size.
    """
    found, wanted = student.square().mean(dim=1, keepdim=True), teacher.square().mean(dim=1, keepdim=True)
    if wanted.shape[-2:] != found.shape[-2:]:
        wanted = F.interpolate(wanted, size=found.shape[-2:], mode="bilinear", align_corners=False)
    return (F.normalize(found.flatten(1)) - F.normalize(wanted.flatten(1))).square().sum(dim=1).mean()


class _Watched:
    """Keeps the last output of the layer that a network's activation maps are read from."""

    def __init__(self, network: nn.Module, learns: bool) -> None:
        from streetlab.networks.cam.layers import find_layer

        self.network, self.name = network, find_layer(network)
        self._learns = learns
        self._output: Any = None
        network.get_submodule(self.name).register_forward_hook(self._keep)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Watched:
        """Return itself, as hooks are copied with a network."""
        return self

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        if torch.is_grad_enabled() or not self._learns:  # a student that is only evaluated is not watched
            self._output = output

    def take(self, images: Tensor) -> Tensor:
        """The feature maps `(B, C, h, w)` for these images, given out once."""
        from streetlab.networks.cam.layers import FeatureLayer

        output, self._output = self._output, None
        height, width = images.shape[-2:]
        return FeatureLayer(self.network, self.name, (height, width)).to_maps(output)
