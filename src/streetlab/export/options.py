"""Options of `streetlab export`, checked before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from streetlab.config import plain
from streetlab.datasets.manifest import Manifest
from streetlab.datasets.scan import SPLITS
from streetlab.errors import UserError, did_you_mean
from streetlab.inference.export_metadata import ONNX, TORCH, report_of
from streetlab.records.identity import has_photos, unique_hash
from streetlab.records.locate import locate_run
from streetlab.records.record import RunRecord

SUFFIXES = {"onnx": ONNX, "torch": TORCH}
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Options:
    """The keys of conf/export.yaml, which says what each is for.

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
    config: dict[str, Any] = plain(cfg)
    _check_choice("format", config["format"], tuple(SUFFIXES))
    _check_choice("precision", config["precision"], PRECISIONS)
    if config["format"] == "torch" and config["precision"] != "fp32":
        raise UserError(f"precision: '{config['precision']}' is for format=onnx; format=torch is written in fp32")
    count = config["calibration"]
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UserError(f"calibration: '{count}' is not a whole number of 1 or more images")
    if not isinstance(config["evaluate"], bool):
        raise UserError(f"evaluate: '{config['evaluate']}' is not true or false")
    if config["split"] is not None:
        _check_choice("split", config["split"], SPLITS, " or null, for the one that the run reports")
    run = locate_run(str(config["run"]))
    output = Path(str(config["output"])).expanduser() if config["output"] else run.path / "export"
    if output.exists() and not output.is_dir():
        raise UserError(f"output: {output} is a file; give a folder with output=DIR")
    return Options(
        run=run,
        output=output,
        checkpoint=str(config["checkpoint"]),
        **{key: config[key] for key in ("format", "precision", "calibration", "evaluate", "split")},
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


def _check_choice(key: str, value: Any, allowed: Sequence[str], also: str = "") -> None:
    if value not in allowed:
        near = did_you_mean(str(value), allowed)
        raise UserError(f"{key}: '{value}' is not one of {', '.join(allowed)}{also}{near}")
