"""What a survey is made of: its options and the contents of what it reads; another one starts anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from streetlab.errors import UserError
from streetlab.io import files
from streetlab.records.record import now
from streetlab.survey.options import Options

REQUEST = "survey_request.json"
_NO_MATTER = ("output", "resume", "device", "batch_size")


def file_hashes(options: Options) -> dict[str, str]:
    """SHA-256 of each file that is read, by its key; of a Shapefile, of its parts together."""
    named = {key: getattr(options, key) for key in ("track", "positions", "streets", "districts", "grades", "base_map")}
    if options.baseline is not None:
        named["baseline"] = options.baseline / "photos.csv"
    return {key: _file_hash(key, path) for key, path in named.items() if path is not None}


def first_made(options: Options, inputs: Mapping[str, str], earlier_inputs: Mapping[str, str]) -> str:
    """When the survey was first made, of these inputs and options; another one starts anew.

    Args:
        earlier_inputs: the same inputs as older surveys named them.

    Raises:
        UserError: the folder of the results holds something else.
    """
    words = {key: _as_word(value) for key, value in asdict(options).items() if key not in _NO_MATTER}
    request, earlier = (
        json.loads(files.json_text({"options": words, "inputs": named})) for named in (inputs, earlier_inputs)
    )
    path = options.output / REQUEST
    made = now()
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["request"] == request:
            return str(before["made"])
        if before["request"] == earlier:
            made = str(before["made"])
    except FileNotFoundError:
        others = [each.name for each in options.output.iterdir()] if options.output.is_dir() else []
        if foreign := set(others) - {"predictions", "pictures"}:
            raise UserError(
                f"output: {options.output} holds other things ({min(foreign)}); give another with output=DIR"
            ) from None
    except (OSError, ValueError, KeyError, TypeError):
        pass  # damaged: this survey is made now
    files.write_json(path, {"made": made, "request": request})
    return made


def _file_hash(key: str, path: Path) -> str:
    parts = [path]
    if path.suffix.lower() == ".shp":
        parts = sorted(each for each in path.parent.iterdir() if each.stem == path.stem and each.is_file())
    try:
        hashes = [files.file_sha256(part) for part in parts]
    except OSError as error:
        raise UserError(f"{key}: {path} cannot be read ({error.strerror or error})") from None
    return hashes[0] if len(hashes) == 1 else files.text_sha256("".join(hashes))


def _as_word(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
