"""Small blurred copies of a survey's photos for its page, and what a segmentation measures in the photos themselves."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetlab.datasets.class_roles import PrivateClasses, ground_classes
from streetlab.datasets.decode import UnreadablePhoto, read_photo
from streetlab.errors import UserError
from streetlab.inference.blur import MARGIN, hidden_pixels, pixelate
from streetlab.inference.journal import MADE_WITH, Journal
from streetlab.inference.outputs import Names
from streetlab.inference.predictions import Classified, Segmented
from streetlab.inference.sources import Item
from streetlab.io import files
from streetlab.metrics.ground_attention import ground_attention
from streetlab.plots.heat import heat_overlay
from streetlab.progress import track
from streetlab.records.locate import locate_run
from streetlab.survey.options import Blur, Options

if TYPE_CHECKING:
    import pandas as pd

    from streetlab.inference.predictor import Predictor

FOLDER = "pictures"
NOT_ASKED = (
    "none, because no segmentation run hides people and vehicles; give a run with classes of both, "
    "segmentation=DIR, or show everybody with blur=false"
)
"""The note of a survey without `segmentation` and `blur`."""
SIDE = 640
"""The longer side of a picture, in pixels."""
_JPEG_QUALITY = 85
_UNLIKE = "left_out"
"""The key of photos without a picture because their masks are not to be trusted."""


@dataclass(frozen=True, eq=False)
class SurveyPictures:
    """The pictures of a survey.

    Attributes:
        photos: the table with `picture` and `evidence` (paths under the survey's folder, or empty), `ground_share`
            and `evidence_on_ground` (NaN where they were not measured).
        note: one sentence for survey.json and the page: whether people and vehicles are hidden, or why there are no
            pictures.
    """

    photos: pd.DataFrame
    note: str


def pictures_of(options: Options, photos: pd.DataFrame) -> SurveyPictures:
    """Write the pictures that a survey's options ask for; see `write_pictures`.

    Raises:
        UserError: as there; or `segmentation` names no segmentation run.
    """
    if options.segmentation is None and options.blur != "false":
        return write_pictures(options.output, photos, None, blur=options.blur)
    from streetlab.inference.predictor import Predictor

    how: dict[str, Any] = {"device": options.device, "batch_size": options.batch_size}
    segmentation = classifier = None
    if options.segmentation is not None:
        segmentation = Predictor.from_run(locate_run(str(options.segmentation), "segmentation"), **how)
        if not segmentation.per_pixel:
            raise UserError(f"segmentation: {options.segmentation} gives a photo one label, and its pixels none")
    if options.run is not None and options.run.is_dir():
        classifier = Predictor.from_run(options.run, options.checkpoint, precision=options.precision, **how)
    elif options.run is not None and options.run.suffix == ".ckpt":
        classifier = Predictor.from_checkpoint(options.run, precision=options.precision, **how)
    return write_pictures(options.output, photos, segmentation, classifier, options.blur)


def write_pictures(
    output: Path,
    photos: pd.DataFrame,
    segmentation: Predictor | None,
    classifier: Predictor | None = None,
    blur: Blur = "auto",
) -> SurveyPictures:
    """Write small copies of the photos, with people and vehicles hidden; a call that was stopped goes on.

    It fails closed: without a segmentation that has classes of both people and vehicles there are no pictures, and
    earlier ones are deleted, unless `blur` is "false". A photo that is unlike those that the segmentation was trained
    on has no picture with "auto": its masks may miss people; "true" trusts them. Masks, shares and maps are those of
    the photo itself, at its own size. A copy is made of pixels alone: it carries no EXIF, place, profile or comment.

    Args:
        output: the folder of the survey; pictures go to `pictures` in it.
        photos: with `file`, `path` (empty where the photo is not at hand) and `error`.
        segmentation: finds ground, people and vehicles; None: nothing is measured.
        classifier: the survey's run, whose maps of evidence are shown and measured; None: a table was surveyed.
        blur: auto | true | false.

    Raises:
        UserError: a file cannot be written.
    """
    reason = _why_none(segmentation, blur)
    made_with = {
        "model": segmentation.name if segmentation else "",
        "checkpoint": segmentation.sha256 if segmentation else "",
        "settings": {
            "blur": "no pictures" if reason else blur,
            "classifier": classifier.sha256 if classifier else "",
            "margin": MARGIN,
            "side": SIDE,
        },
    }
    folder = output / FOLDER
    copies = _Copies(folder, None if reason else blur, segmentation, classifier)
    if copies.nothing_to_do:
        if (folder / MADE_WITH).is_file():  # pictures of an earlier call, that showed some
            shutil.rmtree(folder)
        return SurveyPictures(_with_columns(photos, {}), reason)
    with Journal(folder, made_with, _is_of(folder, made_with)) as journal:
        items = _items(photos)
        left = [item for item in items if not journal.is_done(item)]
        stems = {path: line["stem"] for path, line in journal.lines.items()}
        names = Names(stems.values(), [item.file for item in items])
        for item in track(left, "pictures", len(left)):
            stem = stems.get(str(item.path)) or names.stem(item.file)
            outputs, result = copies.write(item, stem)
            journal.record(item, stem, outputs.values(), result | outputs)
        journal.compact()
        lines = journal.lines
    photos = _with_columns(photos, lines)
    if reason:
        return SurveyPictures(photos, reason)
    unlike = sum(bool(lines.get(path, {}).get(_UNLIKE)) for path in photos["path"])
    return SurveyPictures(photos, _note(photos, unlike, segmentation, blur))


def _why_none(segmentation: Predictor | None, blur: Blur) -> str:
    """The note on why there are no pictures; empty where there are."""
    if blur == "false":
        return ""
    if segmentation is None:
        return NOT_ASKED
    lacking = PrivateClasses.of(segmentation.label_space).lacking
    return f"none, because {lacking} are not among the classes of {segmentation.name}" if lacking else ""


def _note(photos: pd.DataFrame, unlike: int, segmentation: Predictor | None, blur: Blur) -> str:
    count = f"of {int((photos['picture'] != '').sum())} of {len(photos)} photos"
    if blur == "false" or segmentation is None:
        return f"{count}; people and vehicles are shown as they are, because blur=false asks for it"
    note = f"{count}; people and vehicles that {segmentation.name} finds are pixelated, others are not"
    if unlike:
        note += f"; {unlike} photos are left out, because they are unlike those that it was trained on"
    return note


class _Copies:
    """Measures a photo and writes its small copies.

    Args:
        folder: receives them.
        blur: None: no picture is written.
        segmentation, classifier: as of `write_pictures`.
    """

    def __init__(
        self, folder: Path, blur: Blur | None, segmentation: Predictor | None, classifier: Predictor | None
    ) -> None:
        self._folder, self._blur = folder, blur
        self._segmentation, self._classifier = segmentation, classifier
        self._private: tuple[int, ...] = ()
        self._ground: list[int] = []
        if segmentation is not None:
            self._private = PrivateClasses.of(segmentation.label_space).ids
            self._ground = ground_classes(segmentation.label_space)

    @property
    def nothing_to_do(self) -> bool:
        return self._blur is None and self._segmentation is None

    def write(self, item: Item, stem: str) -> tuple[dict[str, str], dict[str, Any]]:
        """The paths of the copies under the folder, by column, and what else is to be said of the photo."""
        try:
            photo = read_photo(item.path)
            segmented = self._segmentation.predict([photo])[0] if self._segmentation else None
            classified = self._classifier.predict([photo], activations=True)[0] if self._classifier else None
        except (UnreadablePhoto, UserError) as error:
            return {}, {"error": str(error)}
        assert segmented is None or isinstance(segmented, Segmented)
        assert classified is None or isinstance(classified, Classified)
        result = self._measured(segmented, classified)
        unlike = segmented is not None and bool(segmented.unlike_training)
        if self._blur is None or (unlike and self._blur == "auto"):
            return {}, result | ({_UNLIKE: True} if self._blur else {})
        pixels = np.asarray(photo)
        if self._blur != "false" and segmented is not None:
            pixels = pixelate(pixels, hidden_pixels(segmented.ids, self._private))
        small = Image.fromarray(pixels)  # without what the photo's file said besides
        small.thumbnail((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=None)
        contents = {"picture": (f"photo/{stem}.jpg", np.asarray(small))}
        if classified is not None and classified.activations is not None:
            contents["evidence"] = f"evidence/{stem}.jpg", heat_overlay(small, _heat(classified, small.size))
        for name, copy in contents.values():
            files.write_bytes(self._folder / name, _jpeg(copy))
        return {column: name for column, (name, _) in contents.items()}, result

    def _measured(self, segmented: Segmented | None, classified: Classified | None) -> dict[str, float]:
        """Shares in the photo itself."""
        if segmented is None or not self._ground:
            return {}
        measured = {"ground_share": float(np.isin(segmented.ids, self._ground).mean())}
        if classified is not None and classified.activations is not None:
            heat = classified.activations[classified.activated.index(classified.prediction)]
            on_ground = ground_attention(heat, segmented.ids, self._ground)["on_ground"]
            if on_ground is not None:
                measured["evidence_on_ground"] = on_ground
        return measured


def _heat(classified: Classified, size: tuple[int, int]) -> NDArray[np.float32]:
    """(h, w) of a picture of this (width, height): the map of the predicted class, 1 where any class's is strongest."""
    assert classified.activations is not None
    strongest = float(classified.activations.max(initial=0)) or 1.0
    heat = Image.fromarray(classified.activations[classified.activated.index(classified.prediction)] / strongest)
    return np.asarray(heat.resize(size, Image.Resampling.BOX)).clip(0, 1)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _items(photos: pd.DataFrame) -> list[Item]:
    """The photos that are at hand."""
    items = []
    for file, path in zip(photos["file"], photos["path"], strict=True):
        with suppress(OSError):
            if path:
                stat = Path(path).stat()
                items.append(Item(Path(path), file, "photo", stat.st_size, stat.st_mtime_ns))
    return items


def _is_of(folder: Path, made_with: Mapping[str, Any]) -> bool:
    """Tell whether the folder's pictures were made with the same runs and settings; others start over."""
    try:
        before = json.loads((folder / MADE_WITH).read_text(encoding="utf-8"))
        return all(before[key] == made_with[key] for key in ("checkpoint", "settings"))
    except (OSError, ValueError, KeyError, TypeError):
        return True  # the journal knows what to do


def _with_columns(photos: pd.DataFrame, lines: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The table with what the journal's lines, by path, say of each photo."""
    of_photos = [lines.get(path, {}) for path in photos["path"]]
    numbers = {name: [line.get(name, np.nan) for line in of_photos] for name in ("ground_share", "evidence_on_ground")}
    paths = {
        name: [f"{FOLDER}/{line[name]}" if name in line else "" for line in of_photos]
        for name in ("picture", "evidence")
    }
    return photos.assign(**numbers, **paths)
