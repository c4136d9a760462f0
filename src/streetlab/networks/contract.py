"""The contract that every network fulfils, and the wrapper that makes a plain `nn.Module` fulfil it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from torch import Tensor, nn

from streetlab.datasets.task_spec import CLASSIFICATION, SEGMENTATION
from streetlab.errors import UserError
from streetlab.networks.groups import Groups, found_groups
from streetlab.networks.segmentation import SegmentationOutput, at_size
from streetlab.networks.weights import LoadReport, title


class Network(Protocol):
    """The attributes of any network beside those of `nn.Module`.

    Attributes:
        name: for messages and records.
        task: `classification` or `segmentation`.
        parameter_groups: see `streetlab.networks.groups`.
        cam_layer: the layer whose features class activation maps are of; None where it declares none.
        load_report: of the file that its weights are from; None where they are from none.
    """

    @property
    def name(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def parameter_groups(self) -> Groups: ...
    @property
    def cam_layer(self) -> str | None: ...
    @property
    def load_report(self) -> LoadReport | None: ...


def as_network(network: nn.Module) -> Network:
    """The adopted network with the types of its attributes."""
    return cast("Network", network)


def adopt(network: nn.Module, task: str) -> list[str]:
    """Give a network what it lacks of the contract (see `Network`), and for pixels its form of output.

    A network that declares no `task` is taken to be for the data set's. For segmentation it may give `logits`
    (B, K, h, w) of any size, as a tensor or as torchvision does, `{"out": ..., "aux": ...}`; both are resized to the
    images. No key of its state dict changes.

    Returns:
        a line for the log on each thing that was assumed.

    Raises:
        UserError: it declares no groups and none can be found.
    """
    adopted: Any = network
    lines = []
    if getattr(adopted, "task", None) is None:
        adopted.task = task
        adopted.register_forward_hook(_OUTPUTS[task])
    if getattr(adopted, "parameter_groups", None) is None:
        adopted.parameter_groups = found_groups(network)
        head = adopted.parameter_groups["head"]
        lines.append(
            f"{type(network).__name__} declares no parameter_groups: its head is {' and '.join(head)}, the rest its "
            "backbone"
        )
    for attribute, value in (("name", title(network)), ("cam_layer", None), ("load_report", None)):
        if not hasattr(adopted, attribute):
            setattr(adopted, attribute, value)
    return lines


def _label_output(network: nn.Module, inputs: tuple[Any, ...], output: object) -> Tensor:
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise UserError(f"model: {type(network).__name__} gives {_kind(output)}; logits (B, K), a tensor, are needed")
    return logits


def _pixel_output(network: nn.Module, inputs: tuple[Any, ...], output: object) -> SegmentationOutput:
    if isinstance(output, Mapping):
        logits, aux = output.get("out"), output.get("aux")
    else:
        logits, aux = getattr(output, "logits", output), getattr(output, "aux", None)
    if not isinstance(logits, Tensor) or logits.ndim != 4:
        raise UserError(
            f"model: {type(network).__name__} gives {_kind(output)}; logits (B, K, h, w) are needed, as a tensor or a "
            "SegmentationOutput"
        )
    size = inputs[0].shape[-2:]
    return SegmentationOutput(at_size(logits, size), None if aux is None else at_size(aux, size))


_OUTPUTS = {CLASSIFICATION: _label_output, SEGMENTATION: _pixel_output}
"""The form of output that each task asks of a network."""


def _kind(output: object) -> str:
    return f"a tensor {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
