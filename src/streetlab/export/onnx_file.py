"""A network's graph as an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from streetlab.errors import UserError, first_line
from streetlab.export.export_errors import operation_of, reason
from streetlab.export.graph import DeployedNetwork, silenced, trace
from streetlab.export.same_padding import onnx_translations, prepare_same_padding
from streetlab.inference.model_metadata import INPUT, OUTPUT

OPSET = 18
"""What PyTorch's translations are written in; ONNX Runtime reads it since 1.14 (2023)."""
_LARGEST = 2**31 - 2**20
"""Bytes of parameters: protobuf takes files of up to 2 GiB, of which the graph needs a little."""


def require_onnx() -> None:
    """Refuse to go on without the packages that write and run ONNX files.

    Raises:
        UserError: one of them is missing.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError as error:
            raise UserError(f"format: onnx needs {package}: pip install 'streetlab[export]'") from error


def write_onnx(module: DeployedNetwork, image_size: tuple[int, int], target: Path, metadata: Mapping[str, str]) -> None:
    """Write the file: one input, one output, batch, height and width free, weights inside, constants folded.

    Args:
        image_size: see `graph.trace`.
        target: written in place, so name a temporary file.
        metadata: the model's own, by key.

    Raises:
        UserError: a layer cannot be traced, or ONNX has no operation for it, which is named; parameters of over
            2 GB; a package is missing.
    """
    require_onnx()
    import onnx
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    network = type(module.network).__name__
    size = module.memory_bytes
    if size > _LARGEST:
        raise UserError(f"format: {network} has {size / 1e9:.1f} GB of parameters, an ONNX file holds 2; format=torch")
    prepare_same_padding(module.network, as_one=True)
    program = trace(module, image_size)
    try:
        with silenced():
            exported = torch.onnx.export(
                program,
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                external_data=False,
                custom_translation_table=onnx_translations(),
            )
    except torch.onnx.OnnxExporterError as error:
        operation = operation_of(error)
        what = f"there is no ONNX for {operation}" if operation else reason(error)
        raise UserError(f"format: {network} cannot be written as ONNX: {what}; format=torch may take it") from error
    assert exported is not None
    model = exported.model
    ClearMetadataAndDocStringPass()(model)  # where in the code each node comes from, with paths of this machine
    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    with silenced():
        exported.save(target, external_data=False)
    try:
        onnx.checker.check_model(target)
    except onnx.checker.ValidationError as error:
        raise UserError(f"format: {network} makes no valid ONNX file ({first_line(error)})") from error
