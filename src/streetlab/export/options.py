"""Options of `streetlab export`, checked before anything is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import pydantic
from omegaconf import DictConfig

from streetlab.config.options import CLOSED, Flag, OneOf, PositiveInt, Says, command_options
from streetlab.datasets.manifest import Manifest
from streetlab.datasets.scan import SPLITS
from streetlab.errors import UserError
from streetlab.inference.export_metadata import ONNX, TORCH, report_of
from streetlab.records.identity import has_photos, unique_hash
from streetlab.records.locate import locate_run
from streetlab.records.record import RunRecord
from streetlab.training.run_request import RunKeys

SUFFIXES = {"onnx": ONNX, "torch": TORCH}
PRECISIONS = ("fp32", "fp16", "int8")
_SPLIT = Says(f"one of {', '.join(SPLITS)} or null, for the one that the run reports", SPLITS)


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Keys(RunKeys):
    """The keys of conf/export.yaml, which says what each is for."""

    format: Annotated[str, OneOf(tuple(SUFFIXES))]
    precision: Annotated[str, OneOf(PRECISIONS)]
    calibration: Annotated[PositiveInt, Says("a whole number of 1 or more images")]
    evaluate: Flag
    split: Annotated[Annotated[str, OneOf(SPLITS)] | None, _SPLIT]


@dataclass(frozen=True)
class Options:
    """Options of an export.

    Attributes:
        run: never written to, but for the folder `export` in it.
        split: as it was typed.
        output: the folder.
    """

    run: RunRecord
    checkpoint: str
    format: str
    precision: str
    calibration: int
    evaluate: bool
    split: str | None
    output: Path

    @property
    def file(self) -> Path:
        """The exported model."""
        return self.output / f"model_{self.precision}{SUFFIXES[self.format]}"

    def report(self, suffix: str) -> Path:
        """The report on it, as `.json` or `.md`."""
        return report_of(self.file, suffix)


def read_options(cfg: DictConfig) -> Options:
    """The command's config as options.

    Raises:
        UserError: a value that its key does not take, two that do not go together, or no such run.
    """
    keys = command_options(Keys, cfg)
    if keys.format == "torch" and keys.precision != "fp32":
        raise UserError(f"precision: '{keys.precision}' is for format=onnx; format=torch is written in fp32")
    run = locate_run(keys.run)
    output = keys.output or run.path / "export"
    if output.exists() and not output.is_dir():
        raise UserError(f"output: {output} is a file; give a folder with output=DIR")
    return Options(
        run, keys.checkpoint, keys.format, keys.precision, keys.calibration, keys.evaluate, keys.split, output
    )


def about_photos(options: Options, photos: Manifest) -> Options:
    """The options, with a folder of its own for a model calibrated or tested on other photos than the one there.

    Raises:
        UserError: the folder was chosen, and holds such a model.
    """
    try:
        earlier = json.loads(options.report(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return options
    # reports of before do not say; theirs were of the run's own photos
    before = earlier.get("data_hash", photos.data_hash if has_photos(options.run, photos) else None)
    if earlier.get("quality", {}).get("n") is None and options.precision != "int8":
        return options  # it was neither calibrated nor tested
    if before == photos.data_hash:
        return options
    if options.output != options.run.path / "export":
        raise UserError(f"output: {options.file} is of other photos; give another folder with output=DIR")
    return replace(options, output=options.output / unique_hash(photos))
