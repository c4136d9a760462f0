"""SegFormer's tensors as the library transformers names them, under the names of segmentation_models_pytorch."""

from __future__ import annotations

import re

import torch
from torch import Tensor

_STAGE = r"segformer\.encoder\."
_BLOCK = _STAGE + r"block\.(\d)\.(\d+)\."
_PATTERNS = [
    (re.compile(pattern), name)
    for pattern, name in (
        (_STAGE + r"patch_embeddings\.(\d)\.proj", "encoder.patch_embed{0}.proj"),
        (_STAGE + r"patch_embeddings\.(\d)\.layer_norm", "encoder.patch_embed{0}.norm"),
        (_STAGE + r"layer_norm\.(\d)", "encoder.norm{0}"),
        (_BLOCK + r"layer_norm_(\d)", "encoder.block{0}.{1}.norm{2}"),
        (_BLOCK + r"attention\.self\.query", "encoder.block{0}.{1}.attn.q"),
        (_BLOCK + r"attention\.self\.sr", "encoder.block{0}.{1}.attn.sr"),
        (_BLOCK + r"attention\.self\.layer_norm", "encoder.block{0}.{1}.attn.norm"),
        (_BLOCK + r"attention\.output\.dense", "encoder.block{0}.{1}.attn.proj"),
        (_BLOCK + r"mlp\.dense(\d)", "encoder.block{0}.{1}.mlp.fc{2}"),
        (_BLOCK + r"mlp\.dwconv\.dwconv", "encoder.block{0}.{1}.mlp.dwconv.dwconv"),
        (r"decode_head\.linear_fuse", "decoder.fuse_stage.0"),
        (r"decode_head\.batch_norm", "decoder.fuse_stage.1"),
        (r"decode_head\.classifier", "segmentation_head.0"),
    )
]
_KEY = re.compile(_BLOCK + r"attention\.self\.key\.(weight|bias)")
_PROJECTION = re.compile(r"decode_head\.linear_c\.(\d)\.proj\.(weight|bias)")
_STAGES = 4


def smps_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of transformers' SegformerForSemanticSegmentation under smp's names; any other as it is.

    smp counts stages from 1, holds keys and values of the attention in one tensor, and its decoder takes the last stage
    first.
    """
    if not any(key.startswith("segformer.encoder.") for key in tensors):
        return tensors
    named: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if match := _KEY.fullmatch(key):
            values = tensors[key.replace(".self.key.", ".self.value.")]
            named[f"encoder.block{int(match[1]) + 1}.{match[2]}.attn.kv.{match[3]}"] = torch.cat([tensor, values])
        elif match := _PROJECTION.fullmatch(key):
            named[f"decoder.mlp_stage.{_STAGES - 1 - int(match[1])}.linear.{match[2]}"] = tensor
        elif ".self.value." not in key:
            named[_named(key)] = tensor
    return named


def _named(key: str) -> str:
    layer, _, kind = key.rpartition(".")
    for pattern, name in _PATTERNS:
        if match := pattern.fullmatch(layer):
            stage, *others = (*match.groups(), "")
            return f"{name.format(int(stage) + 1, *others) if stage else name}.{kind}"
    return key
