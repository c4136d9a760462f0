"""`streetlab survey plan`: how many streets to visit and to grade by hand, and a random sample of them."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pydantic
from omegaconf import DictConfig
from pydantic import BeforeValidator

from streetlab.config.options import (
    CLOSED,
    Folder,
    NaturalNumber,
    Output,
    PositiveInt,
    PositiveNumber,
    Share,
    command_options,
)  # fmt: skip
from streetlab.errors import UserError
from streetlab.io import files
from streetlab.io.filenames import one_line
from streetlab.survey.options import OptionalFile, check_file, check_installed
from streetlab.survey.scales import Scale, scale_option

if TYPE_CHECKING:
    import geopandas as gpd

    from streetlab.survey.plan import Components, Plan


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Options:
    """The keys of conf/survey_plan.yaml, which says what each is for."""

    streets: Folder
    street_id: str | None
    street_name: str | None
    strata: str | None
    half_width: PositiveNumber
    pilot: OptionalFile
    run: OptionalFile
    alike: Share
    photos: PositiveInt
    grade_cost: PositiveNumber
    seed: NaturalNumber
    output: Output
    scale: Annotated[Scale, BeforeValidator(scale_option)]


@dataclass(frozen=True, eq=False)
class PlanResult:
    """The result of planning, in the folder that it was written to.

    Attributes:
        sample: the streets to visit, see `plan.draw_sample`.
        total: streets there are.
        source: what the variances are from, for people.
    """

    output: Path
    plan: Plan
    sample: gpd.GeoDataFrame
    total: int
    source: str


def run(cfg: DictConfig) -> None:
    """Entry point of the command; conf/survey_plan.yaml says what the keys are for. The last line is the sample's path.

    Raises:
        UserError: a key has a value that it cannot take, a file cannot be used, or the interval cannot be had.
    """
    result = perform(cfg)
    plan = result.plan
    alone = "more than there are" if plan.people_alone is None else f"{plan.people_alone:,}"
    print(
        f"visit {plan.visited:,} of {result.total:,} streets with {plan.photos} photos each; grade the photos of "
        f"{plan.graded:,} of them by hand"
    )
    print(f"expected: mean severity ± {plan.half_width:.1f} points (95%), by {result.source}")
    print(f"without a model, streets to visit and grade: {alone}")
    print(one_line(str(result.output / "sample.gpkg")))


def perform(cfg: DictConfig) -> PlanResult:
    """Plan what the config asks for, and write sample.gpkg, sample.csv and plan.json; see `run` for its errors."""
    options = command_options(Options, cfg)
    check_installed()
    check_file("streets", options.streets)
    if (options.pilot is None) == (options.run is None):
        raise UserError("pilot, run: give one of the two: pilot=SURVEY with grades, or run=DIR, a finished run")
    from streetlab.survey.plan import draw_sample, make_plan
    from streetlab.survey.streets import read_streets

    streets = read_streets(options.streets, options.street_id, options.street_name, options.strata).table
    parts = _components(options)
    strata = streets["stratum"].nunique()
    plan = make_plan(options.half_width, len(streets), options.photos, parts, options.grade_cost, strata)
    sample = draw_sample(streets, plan, options.seed)
    output = options.output or Path("outputs", "survey", "plan")
    _write(output, sample, {"plan": asdict(plan), "streets": len(streets), "seed": options.seed, "by": parts.source})
    return PlanResult(output, plan, sample, len(streets), parts.source)


def _components(options: Options) -> Components:
    from streetlab.survey.known_photos import read_known_photos
    from streetlab.survey.plan import components_of_pilot, components_of_test

    if options.pilot is not None:
        return components_of_pilot(*_graded(options.pilot), str(options.pilot))
    assert options.run is not None
    known = read_known_photos(options.run)
    severities = options.scale.class_severities(known.classes)
    source = f"{len(known.labels)} test photos of {options.run}, streets alike={options.alike:g}"
    return components_of_test(severities[known.labels], known.probabilities @ severities, options.alike, source)


def _graded(pilot: Path) -> tuple[Any, Any, Any]:
    """Segment, people's severity and the model's of the graded photos of a survey.

    Raises:
        UserError: no survey there, or one without grades.
    """
    from streetlab.survey.csv_files import number_in, read_csv

    path = pilot / "survey.json"
    try:
        grades = json.loads(path.read_text(encoding="utf-8"))["scale"]["grades"]
        severities = {str(each["grade"]): float(each["severity"]) for each in grades}
    except FileNotFoundError:
        raise UserError(f"pilot: {pilot} holds no survey (survey.json is missing)") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"pilot: {path} cannot be read as a survey ({error})") from None
    table = pilot / "photos.csv"
    rows = [row for row in read_csv("pilot", table) if row.get("human_grade") and row["segment"] and row["severity"]]
    if not rows:
        raise UserError(f"pilot: {pilot} has no grades; survey it again with grades=, or plan with run=")
    unknown = next((row["human_grade"] for row in rows if row["human_grade"] not in severities), None)
    if unknown is not None:
        raise UserError(f"pilot: {table}: '{unknown}' is no grade of its scale ({', '.join(severities)})")
    return (
        [row["segment"] for row in rows],
        [severities[row["human_grade"]] for row in rows],
        [number_in(f"pilot: {table}", "severity", row["severity"]) for row in rows],
    )


def _write(output: Path, sample: gpd.GeoDataFrame, plan: dict[str, Any]) -> None:
    """Write the files, each whole or not at all."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "sample.gpkg"
        sample.to_file(package, layer="sample", driver="GPKG", engine="pyogrio")
        files.write_bytes(output / package.name, package.read_bytes())
    table = sample.drop(columns="geometry")
    files.write_csv(output / "sample.csv", table.to_dict("records"), list(table.columns))
    files.write_json(output / "plan.json", plan)
