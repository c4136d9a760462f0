"""`streetlab survey`: photos with places in; streets and districts, estimates, maps and a page out."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from streetlab.errors import UserError
from streetlab.io import files
from streetlab.io.filenames import one_line
from streetlab.records.record import now
from streetlab.survey.options import Options, read_options

if TYPE_CHECKING:
    import geopandas as gpd
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from streetlab.survey.segments import Segments
    from streetlab.survey.tracks import Track

SURVEY, REQUEST = "survey.json", "survey_request.json"
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
    from streetlab.survey import geo_files, tables
    from streetlab.survey.districts import add_districts, read_districts
    from streetlab.survey.estimates import estimate
    from streetlab.survey.grades import add_grades, read_grades
    from streetlab.survey.page import read_base_map, write_page
    from streetlab.survey.photos import photos_of_table, predicted_photos
    from streetlab.survey.pictures import pictures_of
    from streetlab.survey.severity import add_severity
    from streetlab.survey.times import parse_zone
    from streetlab.survey.tracks import read_track
    from streetlab.survey.trend import read_baseline, trend

    baseline = read_baseline(options.baseline, options.scale) if options.baseline else None
    base_map = read_base_map(options.base_map) if options.base_map else None
    files_read = _inputs(options)
    zone = parse_zone(options.time_zone) if options.time_zone else None
    track = read_track(options.track, zone, options.max_gap) if options.track else None
    districts = read_districts(options.districts, options.district_name) if options.districts else None
    streets = _streets(options)
    read = photos_of_table(options.table) if options.table else predicted_photos(options, zone, track)
    made = _made(options, files_read | dict(read.inputs))
    photos, place_notes = _placed(options, read.table, zone, track)
    photos, segments = _into_segments(options, photos, streets, track)
    photos = photos.assign(district="")
    if districts is not None:
        photos = add_districts(photos, segments, districts.table)
    photos = add_severity(photos, options.scale)
    grades = read_grades(options.grades, list(photos["file"]), options.scale) if options.grades else None
    photos = add_grades(photos, grades)
    confusion, no_confusion = _confusion(options, photos)
    estimates = estimate(
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
    table = estimates.segments
    strata = dict(zip(table["segment"], table["stratum"], strict=True))
    photos = photos.assign(stratum=photos["segment"].map(strata).fillna(""))
    pictures = pictures_of(options, photos)
    photos = pictures.photos
    notes = (*read.notes, *place_notes, *segments.notes, *(districts.notes if districts else ()))
    summary = {
        "name": options.output.resolve().name,
        "made": made,
        "inputs": files_read | dict(read.inputs),
        "segments": {"kind": segments.kind, "total": len(table), "with_photos": int((table["photos"] > 0).sum())},
        "notes": notes,
        "photos": _photo_counts(photos),
        "scale": options.scale.to_dict(),
        "assumptions": estimates.assumptions,
        "uncorrected": estimates.uncorrected,
        "estimates": estimates.to_json(),
        "pictures": pictures.note,
    }
    if baseline is not None:
        change = trend(
            photos,
            table,
            baseline,
            delta=options.delta,
            weights=options.weights,
            population=segments.population,
        )
        table = change.segments
        summary["trend"] = change.to_json()
    photos = tables.photo_table(photos)
    tables.write_photos(options.output, photos)
    tables.write_segments(options.output, table)
    areas = None if districts is None else districts.table.merge(estimates.districts, on="district", how="left")
    geo_files.write(options.output, photos, table, areas, styles=options.styles, made=made)
    page = write_page(options.output, photos, table, areas, summary, base_map)
    files.write_json(options.output / SURVEY, summary)
    errors = {row.file: row.error for row in photos.itertuples() if row.error}
    return SurveyResult(options.output, photos, table, summary, notes, errors, page)


def _streets(options: Options) -> Segments | None:
    from streetlab.survey.streets import read_streets

    if options.streets is None:
        return None
    return read_streets(options.streets, options.street_id, options.street_name, options.strata)


def _placed(
    options: Options, photos: pd.DataFrame, zone: tzinfo | None, track: Track | None
) -> tuple[pd.DataFrame, list[str]]:
    """Places by EXIF, over them those by the track, and over these the ones of the table of positions."""
    from streetlab.survey.places import in_zone, place_by_table, place_by_track

    photos = in_zone(photos, zone, options.clock_offset)
    notes: list[str] = []
    if track is not None:
        photos, notes = place_by_track(photos, track)
    if options.positions is not None:
        photos, more = place_by_table(photos, options.positions, zone)
        notes += more
    return photos, notes


def _into_segments(
    options: Options, photos: pd.DataFrame, streets: Segments | None, track: Track | None
) -> tuple[pd.DataFrame, Segments]:
    from streetlab.survey.cells import into_cells
    from streetlab.survey.streets import match
    from streetlab.survey.stretches import into_stretches

    if streets is not None:
        return match(photos, streets, options.snap), streets
    if track is not None and options.stretch is not None:
        return into_stretches(photos, track, options.stretch, options.snap)
    return into_cells(photos, options.cells)


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


def _photo_counts(photos: pd.DataFrame) -> dict[str, Any]:
    without = photos[photos["place"] == "none"]
    return {
        "total": len(photos),
        "placed": len(photos) - len(without),
        "matched": int((photos["segment"] != "").sum()),
        "without_place": [{"file": row.file, "why": row.place_note} for row in without.itertuples()],
    }


def _inputs(options: Options) -> dict[str, str]:
    """SHA-256 of each file that is read; of a Shapefile, of its parts together."""
    named = {key: getattr(options, key) for key in ("track", "positions", "streets", "districts", "grades", "base_map")}
    if options.baseline is not None:
        named["baseline"] = options.baseline / "photos.csv"
    return {key: _file_hash(key, path) for key, path in named.items() if path is not None}


def _file_hash(key: str, path: Path) -> str:
    parts = [path]
    if path.suffix.lower() == ".shp":
        parts = sorted(each for each in path.parent.iterdir() if each.stem == path.stem and each.is_file())
    try:
        hashes = [files.file_sha256(part) for part in parts]
    except OSError as error:
        raise UserError(f"{key}: {path} cannot be read ({error.strerror or error})") from None
    return hashes[0] if len(hashes) == 1 else files.text_sha256("".join(hashes))


def _made(options: Options, inputs: Mapping[str, str]) -> str:
    """When the survey was first made, of these inputs and options; another one starts anew.

    Raises:
        UserError: the folder of the results holds something else.
    """
    words = {
        key: value for key, value in asdict(options).items() if key not in ("output", "resume", "device", "batch_size")
    }
    request = json.loads(files.json_text({"options": _as_words(words), "inputs": inputs}))
    path = options.output / REQUEST
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["request"] == request:
            return str(before["made"])
    except FileNotFoundError:
        others = [each.name for each in options.output.iterdir()] if options.output.is_dir() else []
        if foreign := set(others) - {"predictions", "pictures"}:
            raise UserError(
                f"output: {options.output} holds other things ({min(foreign)}); give another with output=DIR"
            ) from None
    except (OSError, ValueError, KeyError, TypeError):
        pass  # damaged: this survey is made now
    made = now()
    files.write_json(path, {"made": made, "request": request})
    return made


def _as_words(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


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
