"""Options of `streetlab survey`, checked before anything is loaded."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from omegaconf import DictConfig
from pydantic import BeforeValidator, Field

from streetlab.config.options import (
    CLOSED,
    Flag,
    Folder,
    Listed,
    NaturalNumber,
    Number,
    OneOf,
    Output,
    PositiveInt,
    PositiveNumber,
    QuotedFlag,
    Says,
    command_options,
)  # fmt: skip
from streetlab.errors import UserError, did_you_mean
from streetlab.records.locate import locate_run
from streetlab.survey.scales import Scale, scale_option

_PACKAGES = ("pandas", "geopandas", "pyogrio", "shapely", "pyproj", "gpxpy", "h3")

GRADES_SAMPLES = ("random", "segments", "convenience")
"""How photos were chosen for grading: drawn at random from all photos of the survey; drawn at random within segments
that were drawn at random, as `streetlab survey plan` does; or neither."""

Blur = Annotated[str, OneOf(("auto", "true", "false"))]
OptionalFile = Annotated[Folder | None, BeforeValidator(lambda value: value or None)]


@dataclass(frozen=True)
class Every:
    """Distance between the frames of a video that are taken: `step` seconds (unit s) or metres (unit m)."""

    step: float
    unit: str


def _every(value: object) -> Every:
    if isinstance(value, Every):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([sm]?)", str(value).strip())
    if match is None or float(match[1]) <= 0:
        raise ValueError
    return Every(float(match[1]), match[2] or "s")


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Keys:
    """The keys of conf/survey.yaml, which says what each is for."""

    run: OptionalFile
    source: Annotated[tuple[str, ...], Listed]
    output: Output
    recursive: Flag
    resume: QuotedFlag
    checkpoint: str
    device: str
    precision: str
    batch_size: PositiveInt
    track: OptionalFile
    positions: OptionalFile
    clock_offset: Number
    time_zone: str | None
    max_gap: PositiveNumber
    every: Annotated[Every, BeforeValidator(_every), Says("seconds or metres: 2s, 10m")]
    start: str | None
    streets: OptionalFile
    street_id: str | None
    street_name: str | None
    strata: str | None
    snap: PositiveNumber
    stretch: PositiveNumber | None
    cells: Annotated[NaturalNumber, Field(le=15)]
    districts: OptionalFile
    district_name: str | None
    scale: Annotated[Scale, BeforeValidator(scale_option)]
    weights: Annotated[Literal["equal", "length"], OneOf(("equal", "length"))]
    grades: OptionalFile
    grades_sample: Annotated[str, OneOf(GRADES_SAMPLES)]
    baseline: OptionalFile
    delta: PositiveNumber
    styles: Flag
    base_map: OptionalFile
    segmentation: OptionalFile
    blur: Annotated[Blur, BeforeValidator(lambda value: str(value).lower()), Says("auto, true or false")]


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Options(Keys):
    """Options of a survey.

    Attributes:
        run: the run that predicts; None: `source` is a table of predictions.
        source: at least one, as they were typed.
        output: the folder of the results.
    """

    output: Path

    @property
    def frames(self) -> Path:
        """The folder of videos' frames: beside the output, so that who gets that gets no picture of people."""
        output = self.output.resolve()
        return output.with_name(f".{output.name}-frames")

    @property
    def table(self) -> Path | None:
        """The table of predictions that is surveyed; None where a run predicts."""
        return None if self.run else Path(self.source[0]).expanduser()


def read_options(cfg: DictConfig) -> Options:
    """The command's config as options.

    Raises:
        UserError: a value that its key does not take, a file that is not there, or a package that is missing.
    """
    keys = command_options(Keys, cfg)
    check_installed()
    if not keys.source or not all(keys.source):
        raise UserError("source: nothing is named; give photos, a folder, a quoted glob, or a predictions.csv")
    if keys.run is None and not (len(keys.source) == 1 and keys.source[0].lower().endswith(".csv")):
        raise UserError(f"run: give the run that predicts {keys.source[0]}, or source=predictions.csv of `predict`")
    for key in ("streets", "districts", "track", "positions", "grades", "base_map"):
        check_file(key, getattr(keys, key))
    if keys.run is None:
        check_file("source", Path(keys.source[0]).expanduser())
    for key, value, needs in (
        ("street_id", keys.street_id, "streets"),
        ("street_name", keys.street_name, "streets"),
        ("strata", keys.strata, "streets"),
        ("district_name", keys.district_name, "districts"),
    ):
        if value is not None and getattr(keys, needs) is None:
            raise UserError(f"{key}: '{value}' is an attribute of {needs}=, which is not given")
    if keys.stretch is not None and (keys.track is None or keys.streets is not None):
        raise UserError("stretch: it cuts a track into segments; give track=, and no streets=")
    if keys.segmentation is not None:
        locate_run(str(keys.segmentation), "segmentation")
    output = keys.output or Path("outputs", "survey", _name(keys.source[0]))
    return Options(**vars(keys) | {"output": output})


def check_file(key: str, path: Path | None) -> None:
    """Raise a UserError where a file is named and not there; the nearest name beside it is suggested."""
    if path is None or path.exists():
        return
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UserError(f"{key}: no file {path}{did_you_mean(path.name, beside)}")


def _name(source: str) -> str:
    """The folder of the results after the first source: that of a table is called after the folder it lies in."""
    path = Path(source).expanduser()
    resolved = path.resolve()
    if path.suffix.lower() == ".csv" and path.stem == "predictions":
        return resolved.parent.name or "predictions"
    plain = next(part for part in (resolved, *resolved.parents) if "*" not in part.name and "?" not in part.name)
    return (plain.stem if plain.is_file() else plain.name) or "survey"


def check_installed() -> None:
    """Raise a UserError where a package of the extra `survey` is missing."""
    missing = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(f"survey: {', '.join(missing)} not installed: pip install 'streetlab[survey]'")
