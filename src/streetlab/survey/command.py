"""`streetlab survey`: photos with places in; streets and districts, estimates, maps and a page out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from streetlab.errors import UserError
from streetlab.io import files
from streetlab.io.filenames import one_line
from streetlab.survey.options import Options, read_options
from streetlab.survey.request import file_hashes, first_made

if TYPE_CHECKING:
    from datetime import tzinfo

    import geopandas as gpd
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from streetlab.survey.estimates import Estimates
    from streetlab.survey.photos import Photos
    from streetlab.survey.segments import Segments
    from streetlab.survey.tracks import Track
    from streetlab.survey.trend import Trend
    from streetlab.survey.vector_files import VectorFile

SURVEY = "survey.json"
_NAMED = 5
"""Photos that are named on the terminal, of those that have no place; survey.json lists all."""


@dataclass(frozen=True, eq=False)
class SurveyResult:
    """The result of a survey, in the folder that it was written to.

    Attributes:
        output: the folder.
        photos: one row for each, with its place, segment and prediction; the columns of photos.csv.
        segments: one row for each segment, with its geometry in EPSG:4326.
        survey: what survey.json holds.
        notes: what the reader should know besides, in sentences.
        errors: the reason by the name of each photo that could not be predicted.
        page: survey.html, the map.
    """

    output: Path
    photos: pd.DataFrame
    segments: gpd.GeoDataFrame
    survey: Mapping[str, Any]
    notes: tuple[str, ...]
    errors: Mapping[str, str]
    page: Path

    def to_pandas(self) -> pd.DataFrame:
        """The segments without their geometry, with the columns of segments.csv."""
        return self.segments.drop(columns="geometry")


def run(cfg: DictConfig) -> None:
    """Entry point of the command; conf/survey.yaml says what the keys are for. The last line is the page's path.

    Photos that cannot be predicted are named at the end, and the exit code is 1; all others have their results.

    Raises:
        UserError: a key has a value that it cannot take, a file cannot be read or used, or the output not be written.
    """
    result = perform(cfg)
    _print(result)
    print(one_line(str(result.page)))
    if result.errors:
        raise SystemExit(1)


def perform(cfg: DictConfig) -> SurveyResult:
    """Survey what the config asks for, and write the results; see `run` for its errors."""
    options = read_options(cfg)
    return survey(options)


def survey(options: Options) -> SurveyResult:
    """Predict, place, match, estimate and write; a call that was stopped goes on, to the same files.

    Raises:
        UserError: see `run`.
    """
    inputs = _read_inputs(options)
    read = _photos(options, inputs)
    hashes = inputs.hashes | dict(read.inputs)
    made = first_made(options, hashes, inputs.hashes | dict(read.earlier_inputs or read.inputs))
    photos, place_notes = _placed(options, read.table, inputs)
    photos, segments = _into_segments(options, photos, inputs)
    photos, grades = _graded(options, photos)
    estimates = _estimated(options, photos, segments, grades)
    photos, pictures_note = _with_pictures(options, photos, estimates)
    change = _change(options, photos, segments, estimates, inputs)
    summary = {
        "name": options.output.resolve().name,
        "made": made,
        "inputs": hashes,
        "segments": _segment_counts(segments, estimates),
        "notes": (*read.notes, *place_notes, *segments.notes, *(inputs.districts.notes if inputs.districts else ())),
        "photos": _photo_counts(photos),
        "scale": options.scale.to_dict(),
        "assumptions": estimates.assumptions,
        "uncorrected": estimates.uncorrected,
        "estimates": estimates.to_json(),
        "pictures": pictures_note,
        **({} if change is None else {"trend": change.to_json()}),
    }
    table = estimates.segments if change is None else change.segments
    return _write(options, photos, table, _areas(inputs, estimates), summary, inputs.base_map)


@dataclass(frozen=True, eq=False)
class _Inputs:
    """What is read before anything is predicted, so that its faults are known first; None: not given.

    Attributes:
        hashes: SHA-256 of each file, by its key.
    """

    baseline: pd.DataFrame | None
    base_map: bytes | None
    hashes: dict[str, str]
    zone: tzinfo | None
    track: Track | None
    districts: VectorFile | None
    streets: Segments | None


def _read_inputs(options: Options) -> _Inputs:
    from streetlab.survey.districts import read_districts
    from streetlab.survey.page import read_base_map
    from streetlab.survey.streets import read_streets
    from streetlab.survey.times import parse_zone
    from streetlab.survey.tracks import read_track
    from streetlab.survey.trend import read_baseline

    baseline = read_baseline(options.baseline, options.scale) if options.baseline else None
    base_map = read_base_map(options.base_map) if options.base_map else None
    hashes = file_hashes(options)
    zone = parse_zone(options.time_zone) if options.time_zone else None
    track = read_track(options.track, zone, options.max_gap) if options.track else None
    districts = read_districts(options.districts, options.district_name) if options.districts else None
    streets = None
    if options.streets is not None:
        streets = read_streets(options.streets, options.street_id, options.street_name, options.strata)
    return _Inputs(baseline, base_map, hashes, zone, track, districts, streets)


def _photos(options: Options, inputs: _Inputs) -> Photos:
    """The photos with their predictions, by the run or from a table."""
    from streetlab.survey.photos import photos_of_table, predicted_photos

    return photos_of_table(options.table) if options.table else predicted_photos(options, inputs.zone, inputs.track)


def _placed(options: Options, photos: pd.DataFrame, inputs: _Inputs) -> tuple[pd.DataFrame, list[str]]:
    """Places by EXIF, over them those by the track, and over these the ones of the table of positions."""
    from streetlab.survey.places import in_zone, place_by_table, place_by_track

    photos = in_zone(photos, inputs.zone, options.clock_offset)
    notes: list[str] = []
    if inputs.track is not None:
        photos, notes = place_by_track(photos, inputs.track)
    if options.positions is not None:
        photos, more = place_by_table(photos, options.positions, inputs.zone)
        notes += more
    return photos, notes


def _into_segments(options: Options, photos: pd.DataFrame, inputs: _Inputs) -> tuple[pd.DataFrame, Segments]:
    """The photos with their segment and district, and the segments: streets, stretches of the track, or cells."""
    from streetlab.survey.cells import into_cells
    from streetlab.survey.districts import add_districts
    from streetlab.survey.streets import match
    from streetlab.survey.stretches import into_stretches

    if inputs.streets is not None:
        photos, segments = match(photos, inputs.streets, options.snap), inputs.streets
    elif inputs.track is not None and options.stretch is not None:
        photos, segments = into_stretches(photos, inputs.track, options.stretch, options.snap)
    else:
        photos, segments = into_cells(photos, options.cells)
    photos = photos.assign(district="")
    if inputs.districts is not None:
        photos = add_districts(photos, segments, inputs.districts.table)
    return photos, segments


def _graded(options: Options, photos: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The photos with severities and people's grades, and these grades."""
    from streetlab.survey.grades import add_grades, read_grades
    from streetlab.survey.severity import add_severity

    photos = add_severity(photos, options.scale)
    grades = read_grades(options.grades, list(photos["file"]), options.scale) if options.grades else None
    return add_grades(photos, grades), grades


def _estimated(options: Options, photos: pd.DataFrame, segments: Segments, grades: pd.DataFrame | None) -> Estimates:
    from streetlab.survey.estimates import estimate

    confusion, no_confusion = _confusion(options, photos)
    return estimate(
        photos,
        segments.table,
        grades,
        scale=options.scale,
        confusion=confusion,
        no_confusion=no_confusion,
        weights=options.weights,
        population=segments.population,
        grades_sample=options.grades_sample,
    )


def _confusion(options: Options, photos: pd.DataFrame) -> tuple[NDArray[np.int64] | None, str]:
    """The confusion of the run's test part; where there is none, why."""
    from streetlab.survey.known_photos import read_known_photos
    from streetlab.survey.severity import classes_of

    if options.run is None:
        return None, "they need run=, whose test part tells how often the model errs"
    try:
        return read_known_photos(options.run, classes_of(photos)).confusion, ""
    except UserError as error:
        return None, f"the run's test part cannot be used ({error})"


def _with_pictures(options: Options, photos: pd.DataFrame, estimates: Estimates) -> tuple[pd.DataFrame, str]:
    """The photos with their stratum and their picture for the page, and a sentence on the pictures."""
    from streetlab.survey.pictures import pictures_of

    strata = dict(zip(estimates.segments["segment"], estimates.segments["stratum"], strict=True))
    pictures = pictures_of(options, photos.assign(stratum=photos["segment"].map(strata).fillna("")))
    return pictures.photos, pictures.note


def _change(
    options: Options, photos: pd.DataFrame, segments: Segments, estimates: Estimates, inputs: _Inputs
) -> Trend | None:
    """The change since the baseline; None without one."""
    from streetlab.survey.trend import trend

    if inputs.baseline is None:
        return None
    return trend(
        photos,
        estimates.segments,
        inputs.baseline,
        delta=options.delta,
        weights=options.weights,
        population=segments.population,
    )


def _areas(inputs: _Inputs, estimates: Estimates) -> gpd.GeoDataFrame | None:
    """The districts with their estimates."""
    if inputs.districts is None:
        return None
    return inputs.districts.table.merge(estimates.districts, on="district", how="left")


def _write(
    options: Options,
    photos: pd.DataFrame,
    segments: gpd.GeoDataFrame,
    districts: gpd.GeoDataFrame | None,
    summary: Mapping[str, Any],
    base_map: bytes | None,
) -> SurveyResult:
    """Write the tables, the layers, the page and, last, survey.json."""
    from streetlab.survey import geo_files, tables
    from streetlab.survey.page import write_page

    photos = tables.photo_table(photos)
    tables.write_photos(options.output, photos)
    tables.write_segments(options.output, segments)
    geo_files.write(options.output, photos, segments, districts, styles=options.styles, made=summary["made"])
    page = write_page(options.output, photos, segments, districts, summary, base_map)
    files.write_json(options.output / SURVEY, summary)
    errors = {row.file: row.error for row in photos.itertuples() if row.error}
    return SurveyResult(options.output, photos, segments, summary, summary["notes"], errors, page)


def _segment_counts(segments: Segments, estimates: Estimates) -> dict[str, Any]:
    table = estimates.segments
    return {"kind": segments.kind, "total": len(table), "with_photos": int((table["photos"] > 0).sum())}


def _photo_counts(photos: pd.DataFrame) -> dict[str, Any]:
    without = photos[photos["place"] == "none"]
    return {
        "total": len(photos),
        "placed": len(photos) - len(without),
        "matched": int((photos["segment"] != "").sum()),
        "without_place": [{"file": row.file, "why": row.place_note} for row in without.itertuples()],
    }


def _print(result: SurveyResult) -> None:
    """Print the counts to the output, and each warning in a line to the errors."""
    from streetlab.survey.estimates import estimate_sentence
    from streetlab.survey.pictures import NOT_ASKED
    from streetlab.survey.trend import trend_sentence

    photos, segments = result.survey["photos"], result.survey["segments"]
    print(f"{photos['placed']} of {photos['total']} photos have a place, {photos['matched']} a segment")
    print(f"{segments['with_photos']} of {segments['total']} {segments['kind']} have photos")
    for row in result.survey["estimates"]:
        if row["area"] == "all" and row["measure"] == "severity":
            print(estimate_sentence(row))
    for sentence in result.survey["uncorrected"]:
        print(one_line(sentence))
    for row in result.survey.get("trend", ()):
        if row["area"] == "all":
            print(f"since the baseline: {trend_sentence(row)}")
    if result.survey["pictures"] != NOT_ASKED:
        print(one_line(f"pictures: {result.survey['pictures']}"))
    for note in result.notes:
        _warn(note)
    without: Sequence[Mapping[str, str]] = photos["without_place"]
    if without:
        _warn(f"photos without a place: {len(without)} of {photos['total']}; {SURVEY} lists them")
        _list((f"{each['file']}: {each['why']}" for each in without[:_NAMED]), len(without))
    if result.errors:
        _warn(f"photos that could not be predicted: {len(result.errors)} of {photos['total']}")
        _list((f"{name}: {reason}" for name, reason in [*result.errors.items()][:_NAMED]), len(result.errors))


def _warn(line: str) -> None:
    print(f"streetlab: {one_line(line)}", file=sys.stderr)


def _list(lines: Any, total: int) -> None:
    for line in lines:
        print(f"  {one_line(line)}", file=sys.stderr)
    if total > _NAMED:
        print(f"  and {total - _NAMED} more", file=sys.stderr)
