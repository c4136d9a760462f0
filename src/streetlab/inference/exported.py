"""An exported file as a network, computed by ONNX Runtime or torch.export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from streetlab.errors import UserError, first_line
from streetlab.inference.export_metadata import ONNX, read_model_metadata
from streetlab.inference.model_metadata import INPUT, OUTPUT, ModelMetadata
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD
from streetlab.networks.segmentation import SegmentationOutput

Graph = Callable[[Tensor], Tensor]
"""uint8 (B, H, W, 3) on the device to float32 logits there."""

_CUDA = "CUDAExecutionProvider"
_QUIET = 4
"""ONNX Runtime's severity `fatal`: what else it has to say arrives as an exception."""
_NO_MEMORY = ("Failed to allocate memory", "bad allocation", "bad_alloc", "BFCArena")
"""How ONNX Runtime's allocators say it."""


class ExportedNetwork(nn.Module):
    """A model that `streetlab export` wrote. It takes normalised images like any network, and whole pixels as well.

    Made by `open`. It has no parameters and no layers to hook: neither training nor class activation maps are for it.

    Args:
        metadata: the file's.
        file_bytes: its size, which is about what the model takes in memory.
        graph: what computes.
        device: where it computes.
    """

    def __init__(self, metadata: ModelMetadata, file_bytes: int, graph: Graph, device: torch.device) -> None:
        super().__init__()
        self.metadata = metadata
        self.file_bytes = file_bytes
        self.device = device
        self._graph = graph
        scale = torch.tensor([IMAGENET_MEAN, IMAGENET_STD], device=device).view(2, 1, 3, 1, 1) * 255
        self._mean, self._std = scale

    @classmethod
    def open(cls, path: Path, device: torch.device | None = None, threads: int | None = None) -> ExportedNetwork:
        """The model of an `.onnx` file, by ONNX Runtime, or a `.pt2` file, by torch.export.

        An `.onnx` file may come from anybody: it is data. Loading a `.pt2` file can execute code (torch.export.load
        unpickles, and evaluates the expressions of sizes): open none that is not your own, as with any program.

        Args:
            device: the CPU where none is given.
            threads: that one image is computed with, of ONNX Runtime on the CPU; as many as torch's by default.

        Raises:
            UserError: no such file, a damaged one, one that `streetlab export` did not write; ONNX Runtime is
                missing, or has no CUDA.
        """
        device = device or torch.device("cpu")
        metadata = read_model_metadata(path)
        graph = _onnx_graph(path, device, threads) if path.suffix == ONNX else _torch_graph(path, device)
        return cls(metadata, path.stat().st_size, graph, device)

    def pixels(self, images: np.ndarray) -> np.ndarray:
        """Logits of images as they are decoded.

        Args:
            images: (B, H, W, 3) uint8, RGB.

        Returns:
            float32: (B, K), or (B, K, H, W).
        """
        with torch.inference_mode():
            return self.logits(torch.from_numpy(np.ascontiguousarray(images))).cpu().numpy()

    def logits(self, pixels: Tensor) -> Tensor:
        """The same of tensors: (B, H, W, 3) uint8 to float32 on the device."""
        return self._graph(pixels.to(self.device))

    def forward(self, images: Tensor) -> Tensor | SegmentationOutput:
        """Logits of images that `streetlab.loading.augment.normalize` made, as a network of that task gives them.

        Args:
            images: (B, 3, H, W), ImageNet-normalised. The graph takes whole pixels, so that they are rounded to
                those: nothing is lost of what were pixels before, up to half a grey level of what was resampled.
        """
        whole = (images.to(self.device).float() * self._std + self._mean).round_().clamp_(0, 255).to(torch.uint8)
        logits = self.logits(whole.permute(0, 2, 3, 1).contiguous()).to(images.device)
        return SegmentationOutput(logits) if self.metadata.label_space.spec.per_pixel else logits


def runs_on(path: Path, device: torch.device) -> bool:
    """Tell whether a file's runtime computes on that device: the usual onnxruntime has no CUDA.

    Raises:
        UserError: ONNX Runtime would be needed and is missing.
    """
    return device.type == "cpu" or path.suffix != ONNX or _CUDA in _onnxruntime().get_available_providers()


def _onnx_graph(path: Path, device: torch.device, threads: int | None) -> Graph:
    runtime = _onnxruntime()
    providers: list[str | tuple[str, dict[str, int]]] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        if not runs_on(path, device):
            raise UserError(
                f"device: '{device}' but the installed onnxruntime computes on the CPU alone; device=cpu predicts with "
                "it, the package onnxruntime-gpu in its place with CUDA"
            )
        providers.insert(0, (_CUDA, {"device_id": device.index or 0}))
    options = runtime.SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = threads or torch.get_num_threads()
    # idle threads would spin and take the cores that decode and encode: 46 instead of 27 ms of a video's frame
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    try:
        session = runtime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # its exceptions have no base of their own
        raise UserError(f"{path} does not load ({first_line(error) or type(error).__name__})") from error
    inputs = [(node.name, node.type) for node in session.get_inputs()]
    outputs = [(node.name, node.type) for node in session.get_outputs()]
    if inputs != [(INPUT, "tensor(uint8)")] or outputs != [(OUTPUT, "tensor(float)")]:
        raise UserError(
            f"{path} maps {inputs} to {outputs}; what `streetlab export` writes maps {INPUT}, uint8, to {OUTPUT}, float"
        )

    def compute(images: Tensor) -> Tensor:
        try:
            (logits,) = session.run([OUTPUT], {INPUT: images.cpu().numpy()})
        except Exception as error:
            said = first_line(error) or type(error).__name__
            kind = torch.OutOfMemoryError if any(sign in said for sign in _NO_MEMORY) else RuntimeError
            raise kind(said) from error
        return torch.from_numpy(logits).to(device)

    return compute


def _torch_graph(path: Path, device: torch.device) -> Graph:
    from torch.export.passes import move_to_device_pass

    try:
        module = move_to_device_pass(torch.export.load(path), device).module()
    except Exception as error:  # whatever a damaged file makes of it
        raise UserError(f"{path} does not load ({first_line(error) or type(error).__name__})") from error
    return lambda images: module(images)  # a submodule it cannot be: it refuses train() and eval()


def _onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            "models of ONNX files need onnxruntime: pip install 'streetlab[export]' (or onnxruntime-gpu)"
        ) from error
    return onnxruntime
