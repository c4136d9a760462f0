"""A SegFormer saved by transformers gives in smp's network the logits that it gives there."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from streetlab.networks.segformer_names import smps_names
from streetlab.networks.smp_network import smp_network

CHANNELS, REDUCTIONS, DEPTH, CLASSES = (32, 64, 160, 256), (8, 4, 2, 1), 2, 5


def _shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes in the files that transformers' SegformerForSemanticSegmentation writes, of the size b0."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *shape: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = shape[:1]

    encoder = "segformer.encoder"
    for stage, (width, reduction) in enumerate(zip(CHANNELS, REDUCTIONS, strict=True)):
        side, before = (3, CHANNELS[stage - 1]) if stage else (7, 3)
        layer(f"{encoder}.patch_embeddings.{stage}.proj", width, before, side, side)
        layer(f"{encoder}.patch_embeddings.{stage}.layer_norm", width)
        layer(f"{encoder}.layer_norm.{stage}", width)
        for number in range(DEPTH):
            block = f"{encoder}.block.{stage}.{number}"
            for part in ("self.query", "self.key", "self.value", "output.dense"):
                layer(f"{block}.attention.{part}", width, width)
            if reduction > 1:
                layer(f"{block}.attention.self.sr", width, width, reduction, reduction)
                layer(f"{block}.attention.self.layer_norm", width)
            layer(f"{block}.layer_norm_1", width)
            layer(f"{block}.layer_norm_2", width)
            layer(f"{block}.mlp.dense1", 4 * width, width)
            layer(f"{block}.mlp.dwconv.dwconv", 4 * width, 1, 3, 3)
            layer(f"{block}.mlp.dense2", width, 4 * width)
        layer(f"decode_head.linear_c.{stage}.proj", 256, width)
    layer("decode_head.linear_fuse", 256, 1024, 1, 1, bias=False)
    layer("decode_head.batch_norm", 256)
    shapes |= {"decode_head.batch_norm.running_mean": (256,), "decode_head.batch_norm.running_var": (256,)}
    layer("decode_head.classifier", CLASSES, 256, 1, 1)
    return shapes


def _tensors() -> dict[str, Tensor]:
    """Waves in place of learned values, of the sizes that keep a signal alive."""
    tensors = {}
    for place, (key, shape) in enumerate(sorted(_shapes().items())):
        count = math.prod(shape)
        wave = torch.sin(0.7 * torch.arange(count, dtype=torch.float64) ** 1.1 + place).reshape(shape).float()
        if len(shape) > 1:
            tensors[key] = wave * math.sqrt(2 * shape[0] / count)
        else:
            about_one = "norm" in key and key.endswith(("weight", "running_var"))
            tensors[key] = 0.1 * wave + float(about_one)
    return tensors


def _image() -> Tensor:
    return torch.sin(torch.arange(3 * 64 * 128, dtype=torch.float64) * 0.37).reshape(1, 3, 64, 128).float()


REFERENCE = {
    (0, 0): [0.848451, 0.721014, -0.386807, 0.592572, -0.081057],
    (7, 19): [0.51272, -0.47727, 0.140182, 0.126564, 0.214607],
    (15, 31): [0.853392, -0.843543, -0.08619, -0.145719, 0.656233],
}
"""Row, column → logits of `_image` by transformers 5.24.0 with `_tensors`, computed once, at a quarter of its size."""


def test_logits_are_transformers_own(tmp_path: Path) -> None:
    torch.save(_tensors(), tmp_path / "pytorch_model.bin")
    network = smp_network(CLASSES, "segformer", "mit_b0", weights=tmp_path).eval()
    encoder, decoder, head = (
        network.get_submodule(f"model.{name}") for name in ("encoder", "decoder", "segmentation_head")
    )
    with torch.no_grad():
        logits = head.get_submodule("0")(decoder(encoder(_image())))[0]
    assert logits.shape == (CLASSES, 16, 32)
    for (row, column), expected in REFERENCE.items():
        assert logits[:, row, column].tolist() == pytest.approx(expected, abs=2e-4)


def test_other_files_stay_as_they_are() -> None:
    tensors = {"encoder.block1.0.norm1.weight": torch.zeros(2)}
    assert smps_names(tensors) is tensors
