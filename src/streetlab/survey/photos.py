"""The photos of a survey: predicted by a run, or read from a table that `predict` has written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from streetlab.config.call import call
from streetlab.config.quoting import quote
from streetlab.datasets.hashes import content_hashes
from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.places import NO_GPS, position_fault
from streetlab.errors import UserError, did_you_mean
from streetlab.inference.outputs import UNLIKE
from streetlab.inference.sources import Item, find_items
from streetlab.inference.video.source import UnreadableVideo
from streetlab.io import files
from streetlab.io.filenames import from_text
from streetlab.survey.csv_files import number_in, read_csv
from streetlab.survey.options import Options
from streetlab.survey.times import time_with_zone
from streetlab.survey.tracks import Track
from streetlab.survey.videos import Sampled, sample_frames

PROBABILITY = "p_"
"""The prefix of the columns of probabilities."""
_HASHES = Path("outputs/.cache")
"""Where all commands keep the hashes of photos, so that those of a survey are read once for it."""
_NUMBERS = ("lat", "lon", "heading", "confidence")
_TEXTS = ("time", "place", "place_note", "prediction", "error")


@dataclass(frozen=True, eq=False)
class Photos:
    """The photos and their predictions.

    Attributes:
        table: one row for each photo, sorted by `file`: `path` (empty where only a table is there), `lat`, `lon`,
            `time`, `heading`, `place` ("exif" or "none"), `place_note`, `prediction`, `confidence`, `p_<class>`,
            `unlike_training` where the run can tell, `error`.
        inputs: SHA-256 of what they follow from.
        notes: what the reader should know of how they were read.
        earlier_inputs: what surveys of before content hashes have in place of `inputs`; empty: the same.
    """

    table: pd.DataFrame
    inputs: Mapping[str, str]
    notes: tuple[str, ...] = ()
    earlier_inputs: Mapping[str, str] = field(default_factory=dict)


def predicted_photos(options: Options, zone: tzinfo | None, track: Track | None) -> Photos:
    """Predict the source with the run, into `predictions` below the output; goes on where an earlier call stopped.

    Of videos, frames are taken as photos, into `options.frames`.

    Raises:
        UserError: as of `streetlab predict`; or a run that gives pixels a class.
    """
    from streetlab.inference.command import predict_found  # these load torch, which a table does not need
    from streetlab.inference.options import Options as PredictOptions
    from streetlab.inference.options import read_options

    output = options.output / "predictions"
    words = {
        key: getattr(options, key) for key in ("checkpoint", "device", "precision", "batch_size", "recursive", "resume")
    }
    paths = {"run": options.run, "output": output}
    request: PredictOptions = call(
        "predict",
        [
            *(f"{key}={quote(str(value))}" for key, value in paths.items()),
            f"source=[{','.join(map(quote, options.source))}]",
            *(f"{key}={value}" for key, value in words.items()),
        ],
        read_options,
    )
    sources = find_items(request.source, options.output, request.recursive)
    photos = [item for item in sources.items if item.kind == "photo"]
    frames, video_notes = _frames(options, [item for item in sources.items if item.kind == "video"], zone, track)
    times = {str(frame.item.path): frame.time for frame in frames}
    photos += [frame.item for frame in frames]
    if not photos:
        raise UserError(f"source: {', '.join(options.source)}: no photo and no frame of a video ({video_notes[0]})")

    def check(label_space: LabelSpace) -> None:
        if label_space.spec.per_pixel:
            raise UserError(
                f"run: {options.run} gives each pixel a class; a survey needs a run with one label per photo"
            )
        options.scale.class_severities(label_space.names)  # before anything is predicted

    result = predict_found(request, replace(sources, items=photos), check)
    lines = sorted(
        ({**line, **_of_frame(times[line["path"]])} if line["path"] in times else line for line in result.files),
        key=lambda line: line["file"],
    )
    run = {"run": next((line["checkpoint"] for line in lines), "")}
    hashes = content_hashes([Path(line["path"]) for line in lines], _HASHES, "hashing photos")
    contents = {line["file"]: sha256 or "" for line, sha256 in zip(lines, hashes, strict=True)}
    sizes = {line["file"]: line["bytes"] for line in lines}
    notes = [line for line in result.skipped if not line.startswith("  ")]
    return Photos(
        _table(lines),
        run | {"photos": _hash_of(contents)},
        (*notes, *video_notes),
        run | {"photos (names and sizes)": _hash_of(sizes)},
    )


def _hash_of(photos: Mapping[str, object]) -> str:
    """SHA-256 of what each photo is known by, in the order of the table."""
    return files.text_sha256("".join(f"{name}\0{known_by}\n" for name, known_by in photos.items()))


def _of_frame(time: str) -> dict[str, str]:
    return {"time": time, "place_note": "the video has no GPS position"}


def _frames(
    options: Options, videos: Sequence[Item], zone: tzinfo | None, track: Track | None
) -> tuple[list[Sampled], list[str]]:
    """The frames of videos, and notes on those that cannot be read."""
    if options.start is not None and len(videos) != 1:
        raise UserError(f"start: it is the time of one video's first frame; the source has {len(videos)} videos")
    start = None if options.start is None else time_with_zone("start", options.start, zone)
    frames: list[Sampled] = []
    notes = []
    for video in videos:
        folder = options.frames / files.text_sha256(str(video.path))[:12]
        try:
            frames += sample_frames(video, folder, options.every, start, options.clock_offset, track)
        except UnreadableVideo as error:
            notes.append(f"source: {error}")
    return frames, notes


def photos_of_table(path: Path) -> Photos:
    """Read the photos of a predictions.csv.

    Raises:
        UserError: it cannot be read, has no rows, not the columns of a table of labels, or a photo twice.
    """
    rows = read_csv("source", path)
    columns = list(rows[0]) if rows else []
    for needed in ("file", "prediction", "confidence"):
        if needed not in columns:
            raise UserError(
                f"source: {path} has no column '{needed}'{did_you_mean(needed, columns)}; "
                "it takes the table of `streetlab predict` with a run that has one label per photo"
            )
    classes = [name for name in columns if name.startswith(PROBABILITY)]
    if not classes:
        raise UserError(f"source: {path} has no columns of probabilities, p_<class>")
    lines: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        place = f"source: {path}, line {number}"
        if row["file"] in seen:
            raise UserError(f"{place}: '{row['file']}' is in line {seen[row['file']]} already")
        seen[row["file"]] = number
        line: dict[str, Any] = {"file": from_text(row["file"]), "prediction": row["prediction"]}
        line["confidence"] = number_in(place, "confidence", row["confidence"])
        line["probabilities"] = {name.removeprefix(PROBABILITY): number_in(place, name, row[name]) for name in classes}
        lines.append(line | _place(place, row) | ({UNLIKE: row[UNLIKE] == "True"} if row.get(UNLIKE) else {}))
    return Photos(_table(lines), {"predictions.csv": files.file_sha256(path)})


def _place(place: str, row: Mapping[str, str]) -> dict[str, Any]:
    """The place in a row of predictions.csv, or the note why there is none."""
    values: dict[str, Any] = {key: row[key] for key in ("time",) if row.get(key)}
    if row.get("heading"):
        values["heading"] = number_in(place, "heading", row["heading"])
    if row.get("lat") and row.get("lon"):
        lat, lon = number_in(place, "lat", row["lat"]), number_in(place, "lon", row["lon"])
        fault = position_fault(lat, lon)
        values |= {"place_note": fault} if fault else {"lat": lat, "lon": lon}
    return values


def _table(lines: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    classes = next((list(line["probabilities"]) for line in lines if "probabilities" in line), [])
    marked = any(UNLIKE in line for line in lines)
    rows = []
    for line in lines:
        placed = "lat" in line
        values = {"file": line["file"], "path": line.get("path", "")}
        values |= {key: line.get(key, np.nan) for key in _NUMBERS} | {key: line.get(key, "") for key in _TEXTS}
        values |= {"place": "exif" if placed else "none"}
        if not placed:
            values["place_note"] = line.get("place_note") or ("it cannot be read" if line.get("error") else NO_GPS)
        probabilities = line.get("probabilities", {})
        values |= {PROBABILITY + name: probabilities.get(name, np.nan) for name in classes}
        if marked:
            values[UNLIKE] = line.get(UNLIKE)
        rows.append(values)
    return pd.DataFrame(rows).sort_values("file", kind="stable", ignore_index=True)
