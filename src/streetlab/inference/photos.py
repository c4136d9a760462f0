"""Predict photos in batches, while others are decoded or written in the background."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from PIL import Image

from streetlab.datasets.decode import MOST_PIXELS, TooManyPixels, UnreadablePhoto, read_photo
from streetlab.datasets.places import read_place
from streetlab.errors import UserError
from streetlab.inference.outputs import PhotoResults, Written, failed
from streetlab.inference.predictions import Classified, Segmented
from streetlab.inference.predictor import Predictor
from streetlab.inference.sources import Item
from streetlab.io.parallel import in_order

_WORKERS = min(4, os.cpu_count() or 1)
"""Threads that decode, and as many that write: each holds a photo at its own size."""

Named = tuple[Item, str]
"""A file and the stem of its results."""


def predict_photos(
    predictor: Predictor, photos: Sequence[Named], results: PhotoResults, most_pixels: int = MOST_PIXELS
) -> Iterator[tuple[Item, str, Written]]:
    """Predict and write every photo; yield each with its stem when its results are on disk.

    Photos that the network sees at one size go through it together, others one by one, and those of more than
    `decode.MOST_PIXELS` at the end, each alone from decoding to writing: this bounds the memory.

    Args:
        most_pixels: photos of more are not predicted.

    Raises:
        UserError: a result cannot be written.
    """
    size = predictor.batch_size if predictor.views.mode == "resized" and not results.cam else 1
    with ThreadPoolExecutor(_WORKERS) as readers, ThreadPoolExecutor(_WORKERS) as writers:
        writing: deque[tuple[Item, str, Future[Written]]] = deque()
        batch: list[tuple[Named, Image.Image]] = []
        usual = min(most_pixels, MOST_PIXELS)
        large: list[Named] = []
        read = in_order(readers, lambda named: _read(named[0], usual), photos, ahead=max(size, _WORKERS))
        for number, (named, photo) in enumerate(zip(photos, read, strict=True), 1):
            if isinstance(photo, TooManyPixels) and photo.pixels <= most_pixels:
                large.append(named)
            elif isinstance(photo, TooManyPixels):
                line = _reason(named[0], _read(named[0], most_pixels))  # with the limit that holds in the end
                yield *named, failed(f"{line}; pixels={photo.pixels} allows it")
            elif isinstance(photo, UnreadablePhoto):
                yield *named, failed(_reason(named[0], photo))
            else:
                batch.append((named, photo))
            if len(batch) == size or (batch and number == len(photos)):
                for (item, stem), picture, answer, seconds in _predict(predictor, batch, results.cam):
                    if isinstance(answer, str):
                        yield item, stem, failed(answer)
                    else:
                        future = writers.submit(_write, results, item, stem, picture, answer, seconds)
                        writing.append((item, stem, future))
                batch = []
            while writing and (len(writing) > size + _WORKERS or writing[0][2].done()):
                item, stem, future = writing.popleft()
                yield item, stem, future.result()
        for item, stem, future in writing:
            yield item, stem, future.result()
    for item, stem in large:
        yield item, stem, _predict_alone(predictor, (item, stem), results, most_pixels)


def _predict_alone(predictor: Predictor, named: Named, results: PhotoResults, most_pixels: int) -> Written:
    item, stem = named
    photo = _read(item, most_pixels)
    if isinstance(photo, UnreadablePhoto):
        return failed(_reason(item, photo))
    ((_, _, answer, seconds),) = _predict(predictor, [(named, photo)], results.cam)
    return failed(answer) if isinstance(answer, str) else _write(results, item, stem, photo, answer, seconds)


def _predict(
    predictor: Predictor, batch: Sequence[tuple[Named, Image.Image]], cam: bool
) -> Iterator[tuple[Named, Image.Image, Classified | Segmented | str, float]]:
    """Yield each photo of the batch with its prediction or error, and its share of the seconds."""
    started = time.perf_counter()
    try:
        answers: Sequence[Classified | Segmented] = predictor.predict([photo for _, photo in batch], activations=cam)
    except UserError as error:
        if len(batch) == 1:
            yield *batch[0], str(error), 0.0
            return
        for single in batch:  # one of them is at fault, not all
            yield from _predict(predictor, [single], cam)
        return
    seconds = (time.perf_counter() - started) / len(batch)
    for (named, photo), answer in zip(batch, answers, strict=True):
        yield named, photo, answer, seconds


def _read(item: Item, most_pixels: int) -> Image.Image | UnreadablePhoto:
    """The upright photo, or what is wrong with its file."""
    try:
        return read_photo(item.path, most_pixels=most_pixels)
    except UnreadablePhoto as error:
        return error
    except MemoryError:
        return UnreadablePhoto("too large for the memory of this machine")


def _reason(item: Item, error: object) -> str:
    return str(error).removeprefix(f"{item.path}: ")


def _write(
    results: PhotoResults, item: Item, stem: str, photo: Image.Image, answer: Classified | Segmented, seconds: float
) -> Written:
    written = results.write(stem, photo, answer)
    try:
        place = read_place(item.path).entry()
    except UnreadablePhoto:  # its pixels have decoded: what is wrong is its EXIF, or the file is gone by now
        place = {}
    return replace(written, result=written.result | place | {"seconds": round(seconds, 4)})
