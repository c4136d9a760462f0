"""Write the results of each photo, and the tables over all photos and videos."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.places import COLUMNS as PLACE
from streetlab.errors import UserError
from streetlab.inference.picture_blur import PictureBlur
from streetlab.inference.predictions import Classified, Segmented
from streetlab.io import files
from streetlab.io.filenames import as_text, fold
from streetlab.plots.heat import heat_overlay
from streetlab.plots.paint import PaintStyle, class_shares, ids_png, paint, palette_png

PHOTOS, VIDEOS = "predictions.csv", "videos.csv"
UNLIKE = "unlike_training"
"""The key and column that marks photos unlike the training photos; not there where the model cannot tell."""
UNLIKE_SHARE = "unlike_share"
"""Of a video, the key and column of the share of its frames that are."""
_JPEG_QUALITY = 92
_JPEG_LONGEST = 65_500
"""Pixels of a side: libjpeg's JPEG_MAX_DIMENSION."""
_DIGITS = 8
"""Decimals of shares and probabilities."""
RESULT_SUFFIXES = (".png", ".jpg", ".mp4", ".webm", ".csv")
_LONGEST_NAME = 180
"""Bytes of one name; file systems take 255, of which suffixes and temporary names need some."""


@dataclass(frozen=True)
class Written:
    """The results of one file.

    Attributes:
        outputs: paths under the folder of the results.
        result: what predictions.jsonl says of the file; `error` where it could not be predicted, or not to its end.
    """

    outputs: tuple[str, ...]
    result: dict[str, Any]


def failed(reason: str) -> Written:
    """The results of a file that could not be predicted: the reason."""
    return Written((), {"error": reason})


@dataclass(frozen=True)
class PhotoResults:
    """Writes the results of photos.

    Args:
        output: the folder of the results.
        label_space: the classes.
        parts: which files a mask is written as, of `options.PARTS`.
        look: how overlays of masks are painted.
        cam: whether labels have an overlay.
        blur: hides people and vehicles in every picture of the photo; None: they are shown.
    """

    output: Path
    label_space: LabelSpace
    parts: Sequence[str]
    look: PaintStyle
    cam: bool
    blur: PictureBlur | None = None

    def write(self, stem: str, photo: Image.Image, answer: Classified | Segmented) -> Written:
        """Write the files of one photo, each in one step.

        Raises:
            UserError: one cannot be written.
        """
        pixels = np.asarray(photo)
        if self.blur is not None:
            try:
                pixels = self.blur.photo(pixels, answer)
            except UserError as error:
                return failed(str(error))
        try:
            if isinstance(answer, Segmented):
                contents, result = self._mask(stem, pixels, answer)
            else:
                contents, result = self._label(stem, pixels, answer)
        except (OSError, ValueError) as error:  # a side of more pixels than a format takes
            return failed(f"its results cannot be stored ({error})")
        for name, content in contents.items():
            files.write_bytes(self.output / name, content)
        if answer.unlike_training is not None:
            result |= {UNLIKE: answer.unlike_training}
        return Written(tuple(contents), {"width": photo.width, "height": photo.height, **result})

    def _mask(self, stem: str, pixels: NDArray[np.uint8], answer: Segmented) -> tuple[dict[str, bytes], dict[str, Any]]:
        contents = {}
        if "mask" in self.parts:
            contents[f"masks/{stem}.png"] = ids_png(answer.ids)
        if "palette" in self.parts:
            contents[f"palette/{stem}.png"] = palette_png(answer.ids, self.label_space.palette)
        if "overlay" in self.parts:
            contents |= _picture(f"overlay/{stem}", paint(pixels, answer.ids, self.look))
        if "photo" in self.parts:
            contents |= _picture(f"photo/{stem}", pixels)
        if "confidence" in self.parts:
            contents[f"confidence/{stem}.png"] = ids_png(answer.confidence)
        return contents, {"shares": by_name(class_shares(answer.ids, len(self.label_space)), self.label_space)}

    def _label(
        self, stem: str, pixels: NDArray[np.uint8], answer: Classified
    ) -> tuple[dict[str, bytes], dict[str, Any]]:
        contents: dict[str, bytes] = {}
        if self.cam and answer.activations is not None:
            strongest = float(answer.activations.max(initial=0))
            heat = answer.activations[answer.activated.index(answer.prediction)] / (strongest or 1)
            contents |= _picture(f"overlay/{stem}", heat_overlay(pixels, np.clip(heat, 0, 1)))
        return contents, label_result(answer.probabilities, self.label_space)


def label_result(probabilities: Sequence[float] | NDArray[np.float32], label_space: LabelSpace) -> dict[str, Any]:
    """The entry of predictions.jsonl for K probabilities."""
    prediction = int(np.argmax(probabilities))
    return {
        "prediction": label_space.names[prediction],
        "confidence": round(float(probabilities[prediction]), _DIGITS),
        "probabilities": by_name(probabilities, label_space),
    }


def by_name(values: Sequence[float] | NDArray[Any], label_space: LabelSpace) -> dict[str, float]:
    """(K,) values by the classes' names."""
    return {name: round(float(value), _DIGITS) for name, value in zip(label_space.names, values, strict=True)}


def write_tables(output: Path, lines: Iterable[Mapping[str, Any]], label_space: LabelSpace) -> list[Path]:
    """Write predictions.csv and videos.csv from the journal's lines, as far as there are such files; return them.

    Files without any result have no row. Where a photo has a place or a time, there are columns for them.
    """
    if label_space.spec.per_pixel:
        values, prefix, own = "shares", "share_", []
    else:
        values, prefix, own = "probabilities", "p_", ["prediction", "confidence"]
    classes = [prefix + name for name in label_space.names]
    columns = {
        PHOTOS: ("photo", ["file", "width", "height", *own, *classes]),
        VIDEOS: (
            "video",
            ["file", "width", "height", "frames", "fps", "flicker", "flicker_raw", *own, *classes, "error"],
        ),
    }
    done = sorted((line for line in lines if values in line), key=lambda line: line["file"])
    written = []
    for name, (kind, header) in columns.items():
        keys = {key for line in done if line["kind"] == kind for key in line}
        marks = [key for key in (UNLIKE_SHARE, UNLIKE) if key in keys]
        header = [*header, *marks, *(PLACE if keys.intersection(PLACE) else ())]
        rows = [
            {key: line[key] for key in header if key in line}
            | {"file": as_text(line["file"])}
            | {prefix + k: v for k, v in line[values].items()}
            for line in done
            if line["kind"] == kind
        ]
        if rows:
            written.append(files.write_csv(output / name, rows, header))
        else:
            (output / name).unlink(missing_ok=True)
    return written


def _picture(name: str, pixels: NDArray[np.uint8]) -> dict[str, bytes]:
    """A picture's file by its name: a JPEG, or a PNG where a side is longer than a JPEG's can be.

    Of the photo's file nothing is carried over but pixels: no EXIF, place, profile, comment or thumbnail.
    """
    fits = max(pixels.shape) <= _JPEG_LONGEST
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG" if fits else "PNG", quality=_JPEG_QUALITY)  # a PNG has no quality
    return {f"{name}{'.jpg' if fits else '.png'}": buffer.getvalue()}


class Names:
    """Hands out one stem for each file, so that no result lies where another's lies, or where a folder is needed.

    Args:
        taken: stems that are given away.
        files: the files to come, as `Item.file` has them: their folders are folders of the results too.
    """

    def __init__(self, taken: Iterable[str], files: Iterable[str]) -> None:
        self._taken = {fold(stem) for stem in taken}
        parts = (_safe(file) for file in files)
        self._folders = {fold(str(parent)) for file in parts for parent in PurePosixPath(file).parents}

    def stem(self, file: str) -> str:
        """`sub/a` for `sub/a.jpg`; `sub/a.jpg` where `sub/a` is taken, by `sub/a.png` say; then `sub/a.jpg-2`, ..."""
        whole = PurePosixPath(_safe(file))
        short = str(whole.with_suffix(""))
        candidates = chain([short, str(whole)], (f"{whole}-{number}" for number in count(2)))
        stem = next(filter(self._is_free, candidates))
        self._taken.add(fold(stem))
        return stem

    def _is_free(self, stem: str) -> bool:
        folded = fold(stem)
        return folded not in self._taken and not any(folded + suffix in self._folders for suffix in RESULT_SUFFIXES)


def _safe(file: str) -> str:
    """The path with its parts shortened to what a file system takes, and none that leads upwards."""
    parts = [part for part in PurePosixPath(file).parts if part not in ("..", "/")]
    return str(PurePosixPath(*map(_shortened, parts)))


def _shortened(part: str) -> str:
    coded = part.encode("utf-8", errors="surrogateescape")
    if len(coded) <= _LONGEST_NAME:
        return part
    suffix = PurePosixPath(part).suffix
    suffix = suffix if len(suffix) <= 8 else ""
    digits = hashlib.sha256(coded).hexdigest()[:8]
    return f"{coded[: _LONGEST_NAME - 20].decode('utf-8', errors='ignore')}-{digits}{suffix}"
