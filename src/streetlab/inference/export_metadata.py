"""Read the metadata of an exported file without loading its graph."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from streetlab.errors import UserError
from streetlab.inference.model_metadata import ModelMetadata

ONNX, TORCH = ".onnx", ".pt2"
EXPORTED = (ONNX, TORCH)
"""How the names of exported files end; the ending alone says what opens a file."""
_EXTRA = "/extra/"
"""Where `torch.export.save` puts its `extra_files` (torch/export/pt2_archive/constants.py)."""
_LONGEST = 1 << 22
"""Bytes of an entry of the metadata, which has a few thousand."""

# onnx.proto: ModelProto.metadata_props, StringStringEntryProto.key and .value, and protobuf's wire types
_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def report_of(file: Path, suffix: str = ".json") -> Path:
    """The path of an exported file's report; two formats of one precision have a report each."""
    return file.with_name(f"report_{file.stem}{'_torch' * (file.suffix == TORCH)}{suffix}")


def read_model_metadata(path: Path) -> ModelMetadata:
    """The metadata of an exported file; nothing of it is executed.

    Raises:
        UserError: no such file, one of another ending, a damaged one, or none of streetlab's.
    """
    if path.suffix not in EXPORTED:
        raise UserError(f"{path} is no exported model: allowed endings are {' and '.join(EXPORTED)}")
    if not path.is_file():
        raise UserError(f"no file {path}")
    try:
        texts = dict(_onnx_texts(path) if path.suffix == ONNX else _torch_texts(path))
    except (OSError, ValueError, zipfile.BadZipFile) as error:  # UnicodeDecodeError is a ValueError
        raise UserError(f"{path} is damaged, or no {path.suffix} file ({error})") from None
    return ModelMetadata.from_metadata(texts, path)


def _torch_texts(path: Path) -> Iterator[tuple[str, str]]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            _, extra, key = entry.filename.partition(_EXTRA)
            if extra and entry.file_size <= _LONGEST:
                yield key, archive.read(entry).decode()


def _onnx_texts(path: Path) -> Iterator[tuple[str, str]]:
    """The entries of `metadata_props` of a serialised ModelProto; the graph, hundreds of MB, is skipped unread."""
    size = path.stat().st_size
    if not size:
        raise ValueError("it is empty")
    with path.open("rb") as file:
        for number, length in _fields(file, size):
            if number == _METADATA_PROPS and 0 < length <= _LONGEST:
                entry = {}
                end = file.tell() + length
                for part, part_length in _fields(file, end):
                    if part in (_KEY, _VALUE):
                        entry[part] = file.read(part_length).decode()
                        file.seek(-part_length, 1)
                yield entry.get(_KEY, ""), entry.get(_VALUE, "")
                file.seek(end - length)


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Number and length of each field up to `end`; the file stands at its content, and must when it goes on.

    Numbers have no content: their length is 0 and they are behind the file's position.
    """
    while (at := file.tell()) < end:
        tag = _varint(file)
        wire = tag & 7
        if wire == _VARINT:
            _varint(file)
            length = 0
        elif wire in (_FIXED64, _FIXED32, _BYTES):
            length = {_FIXED64: 8, _FIXED32: 4}.get(wire) or _varint(file)
        else:
            raise ValueError(f"byte {at} starts no field")
        start = file.tell()
        if start + length > end:
            raise ValueError(f"it ends within a field of {length} bytes")
        yield tag >> 3, length
        file.seek(start + length)


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends within a number")
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("a number has no end")
