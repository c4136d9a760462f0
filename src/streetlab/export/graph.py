"""The exported computation: a trained network from pixels to logits, as one graph for images of any size."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from streetlab.errors import UserError
from streetlab.export.export_errors import layer_of, reason
from streetlab.loading.augment import normalize
from streetlab.networks.image_size import can_be_dynamic, refusal

_LEAST_EXAMPLE = 128
"""Pixels; twice the coarsest stride of any network at hand."""


class DeployedNetwork(nn.Module):
    """A network that normalises images itself and gives nothing but logits.

    Its auxiliary head, which helps the training alone, is taken away: torchvision's runs in eval mode too.

    Args:
        network: changed in place: eval mode, no auxiliary head, no gradients.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if isinstance(getattr(network, "aux_classifier", None), nn.Module):
            network.aux_classifier = None  # type: ignore[assignment]
        self.network = network.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float32: (B, K), or (B, K, H, W) at the size of the images.

        Args:
            images: (B, H, W, 3) uint8, RGB.
        """
        output = self.network(normalize(images.permute(0, 3, 1, 2)))
        logits: Tensor = getattr(output, "logits", output)
        return logits.float()

    @property
    def memory_bytes(self) -> int:
        """The bytes of its parameters and buffers."""
        return sum(t.numel() * t.element_size() for t in (*self.parameters(), *self.buffers()))


def trace(module: DeployedNetwork, image_size: tuple[int, int]) -> ExportedProgram:
    """The module's graph, for any number of images of any size.

    Args:
        image_size: height and width of the example that goes through, unless it is small.

    Raises:
        UserError: the network cannot be one graph, since what it computes depends on the values in an image or on
            its size; names the layer.
    """
    # An axis of length 1 is taken for one that always is: the coarsest features need more. Two axes of one length might
    # be taken for one and the same.
    height, width = (max(side, _LEAST_EXAMPLE) for side in image_size)
    example = torch.zeros(2, height, width + 32 * (width == height), 3, dtype=torch.uint8)
    free = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC, 2: Dim.DYNAMIC}
    try:
        with silenced(), torch.no_grad():
            program = torch.export.export(module, (example,), dynamic_shapes=(free,))
    except Exception as error:  # tracing runs the network's own code, which may raise anything
        if refusal(module.network, image_size) is None and refusal(module.network, (height, width + 32)) is not None:
            # Swin takes any size then as well, but tracing its windows comes to no end
            dynamic = can_be_dynamic(module.network) and getattr(module.network, "pos_embed", None) is not None
            hint = "; a run trained with +model.dynamic_img_size=true can be exported" if dynamic else ""
            size = f"{image_size[0]}x{image_size[1]}"
            raise UserError(
                f"{type(module.network).__name__} cannot be exported: it takes images of {size} alone, and an "
                f"exported file takes them of any size{hint}"
            ) from error
        raise UserError(
            f"{type(module.network).__name__} cannot be exported: {layer_of(error, module.network)} cannot be traced "
            f"for images of any size ({reason(error)})"
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Silence the output, logs and warnings of exporters while they work: errors tell the user."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
