"""`streetlab predict`: photos, folders of them and videos in; classes, masks, overlays and tables out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.names import training_data_name
from streetlab.errors import UserError
from streetlab.inference.journal import LINES, Journal
from streetlab.inference.options import Options, read_options, refuse_other_task
from streetlab.inference.outputs import UNLIKE, Names, PhotoResults, Written, write_tables
from streetlab.inference.photos import Named, predict_photos
from streetlab.inference.picture_blur import PictureBlur
from streetlab.inference.predictor import Predictor
from streetlab.inference.sources import Found, Item, find_items
from streetlab.inference.video_files import VideoResults, predict_videos
from streetlab.inference.views import Views
from streetlab.io.filenames import one_line
from streetlab.io.frames import data_frame
from streetlab.progress import track
from streetlab.records.locate import locate_run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class PredictResult:
    """The results of a source, in the folder that they were written to.

    Attributes:
        output: the folder.
        tables: predictions.csv and videos.csv, as far as there are photos and videos.
        files: the entry of predictions.jsonl for each file: `file`, `path`, `outputs`, and `prediction`,
            `confidence` and `probabilities` by class, or `shares` of the pixels by class; `error` of a file that
            could not be predicted; `unlike_training` where the model can tell.
        new: how many of the files were predicted by this call, and not by an earlier one.
        skipped: notes on what else lay in the source.
        seconds: that it took.
        data_set: name of the data set that the network was trained on; None where that is not known.
        tested_with: the words that would show the network photos as the run's test did, where it was not shown so.
    """

    output: Path
    tables: tuple[Path, ...]
    files: tuple[dict[str, Any], ...]
    new: int
    skipped: tuple[str, ...]
    seconds: float
    data_set: str | None = None
    tested_with: str = ""

    @property
    def errors(self) -> dict[str, str]:
        """The reason by the name of each file that could not be predicted."""
        return self._texts("error")

    @property
    def notes(self) -> dict[str, str]:
        """Remarks on the results of a file, by its name."""
        return self._texts("note")

    def to_pandas(self) -> pd.DataFrame:
        """One row for each file; probabilities are in columns `p_<class>`, shares in `share_<class>`."""
        rows = []
        for line in self.files:
            row = {key: value for key, value in line.items() if key not in ("probabilities", "shares")}
            row |= {f"p_{name}": value for name, value in (line.get("probabilities") or {}).items()}
            row |= {f"share_{name}": value for name, value in (line.get("shares") or {}).items()}
            rows.append(row)
        return data_frame(rows)

    def _texts(self, key: str) -> dict[str, str]:
        return {line["file"]: str(line[key]) for line in self.files if line.get(key)}


def run(cfg: DictConfig) -> None:
    """Entry point of the command; conf/predict.yaml says what the keys are for. The last line is the table's path.

    Files that cannot be predicted are named at the end, and the exit code is 1; all others have their results.

    Raises:
        UserError: a key has a value that it cannot take, there is no such run or source, the folder of the results
            holds something else or cannot be written.
    """
    result = perform(cfg)
    _print_counts(result)
    print(one_line(str((result.tables or (result.output / LINES,))[0])))
    if result.errors:
        raise SystemExit(1)


def perform(cfg: DictConfig) -> PredictResult:
    """Predict what the config asks for, and write the results; see `run` for its errors."""
    options = read_options(cfg)
    return predict_found(options, find_items(options.source, options.output, options.recursive))


def predict_found(
    options: Options, found: Found, check: Callable[[LabelSpace], object] = lambda _: None
) -> PredictResult:
    """Predict these files, whatever `options.source` is, and write the results; see `run` for its errors.

    Args:
        check: gets the run's classes before anything is predicted, and raises where they are of no use.
    """
    started = time.perf_counter()
    predictor = _predictor(options)
    check(predictor.label_space)
    if options.compile:
        predictor = predictor.compiled()
    refuse_other_task(options, predictor.label_space)
    blur = _picture_blur(options, predictor)
    made_with = {
        "model": predictor.name,
        "checkpoint": predictor.sha256,
        "task": predictor.task,
        "settings": options.settings(predictor.label_space, predictor.views)
        | {"temperature": predictor.temperature, "precision": predictor.precision}
        | ({} if blur is None else {"blur": blur.predictor.sha256 if blur.predictor else True}),
    }
    with Journal(options.output, made_with, options.resume) as journal:
        left = [item for item in found.items if not journal.is_done(item)]
        for item, stem, written in _predicted(predictor, options, blur, _named(left, journal)):
            own = {"model": predictor.name, "checkpoint": predictor.sha256}
            journal.record(item, stem, written.outputs, written.result | own)
        journal.compact()
        lines = journal.lines
    tables = write_tables(options.output, lines.values(), predictor.label_space)
    return PredictResult(
        options.output, tuple(tables), tuple(lines[str(item.path)] for item in found.items), len(left),
        _left_aside(found), time.perf_counter() - started, predictor.data_set,
        predictor.tested_with if predictor.views == Views() else "",
    )  # fmt: skip


def _predictor(options: Options) -> Predictor:
    how = {key: getattr(options, key) for key in ("device", "precision", "views", "batch_size")}
    if options.is_export:
        return Predictor.from_export(options.run, **how)
    if options.is_checkpoint:
        return Predictor.from_checkpoint(options.run, **how)
    return Predictor.from_run(options.run, options.checkpoint, **how)


def _picture_blur(options: Options, predictor: Predictor) -> PictureBlur | None:
    """What hides people and vehicles in the pictures, where that is asked for."""
    if not options.blur:
        return None
    if options.blur is True:
        return PictureBlur(predictor.label_space)
    segmentation = Predictor.from_run(
        locate_run(str(options.blur), "blur"), device=options.device, batch_size=options.batch_size
    )
    if not segmentation.per_pixel:
        raise UserError(f"blur: {options.blur} gives a photo one label; name a segmentation run")
    return PictureBlur(segmentation.label_space, segmentation)


def _named(items: Sequence[Item], journal: Journal) -> list[Named]:
    """Each file with the stem of its results: the one it had, if it was seen before, else a new one.

    A file that is called as one of another source is called by its whole path.
    """
    known = {line["file"]: path for path, line in journal.lines.items()}
    stems = {path: line["stem"] for path, line in journal.lines.items()}
    names = Names(stems.values(), [item.file for item in items])
    named = []
    for item in items:
        path = str(item.path)
        if known.setdefault(item.file, path) != path:
            item = replace(item, file=path)
        named.append((item, stems.get(path) or names.stem(item.file)))
    return named


def _predicted(
    predictor: Predictor, options: Options, blur: PictureBlur | None, files: Sequence[Named]
) -> Iterator[tuple[Item, str, Written]]:
    """Predict the photos, then the videos; yield each file when its results are on disk."""
    look = options.look(predictor.label_space)
    photos = [named for named in files if named[0].kind == "photo"]
    videos = [named for named in files if named[0].kind == "video"]
    if photos:
        pictures = PhotoResults(options.output, predictor.label_space, options.parts, look, options.cam, blur)
        yield from track(predict_photos(predictor, photos, pictures, options.most_pixels), "photos", len(photos))
    if videos:
        clips = VideoResults(
            options.output, predictor.label_space, options.parts, look, options.ids, options.audio, blur
        )
        yield from predict_videos(predictor, videos, clips, options.smooth)


def _left_aside(found: Found) -> tuple[str, ...]:
    """Lines about what lay in the source and is not predicted."""
    lines = [found.passed.sentence()] if found.passed.counts else []
    if found.links:
        lines.append(f"links out of the source's folder, not followed: {len(found.links)}")
        lines += [f"  {link}" for link in found.links]
    return tuple(lines)


def _print_counts(result: PredictResult) -> None:
    """Print the counts to the output, and each warning in a line to the errors."""
    total, bad, before = len(result.files), result.errors, len(result.files) - result.new
    if result.data_set is not None:
        print(one_line(f"trained on {training_data_name(result.data_set)}"))
    if unlike := sum(bool(line.get(UNLIKE)) for line in result.files):
        print(f"{unlike} of {total} files are unlike the training photos: do not rely on their predictions")
    already = f", {before} of them by an earlier call" if before else ""
    print(f"{total - len(bad)} of {total} files predicted in {result.seconds:.1f} s{already}")
    if words := result.tested_with:
        print(
            f"streetlab: the run's test numbers are of several views of a photo; {words} predicts so", file=sys.stderr
        )
    for line in result.skipped:
        print(one_line(line if line.startswith("  ") else f"streetlab: {line}"), file=sys.stderr)
    for name, note in result.notes.items():
        print(f"streetlab: {one_line(name)}: {one_line(note)}", file=sys.stderr)
    if bad:
        print(f"streetlab: files that could not be predicted: {len(bad)} of {total}", file=sys.stderr)
        for name, reason in bad.items():
            print(f"  {one_line(name)}: {one_line(reason)}", file=sys.stderr)
