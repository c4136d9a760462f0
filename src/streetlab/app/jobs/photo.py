"""Predict a photo: decode it, run the network, write the files that the page paints from."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetlab.app.media import results
from streetlab.datasets.class_roles import ground_classes
from streetlab.datasets.decode import UnreadablePhoto, read_photo
from streetlab.errors import UserError
from streetlab.plots.paint import ids_png, palette_png
from streetlab.progress import Cancelled

if TYPE_CHECKING:
    from streetlab.app.jobs.job import Job
    from streetlab.app.settings import Settings
    from streetlab.inference.picture_blur import PictureBlur
    from streetlab.inference.predictions import Classified, Segmented
    from streetlab.inference.predictor import Predictor

_QUALITY = 92
"""JPEG quality of the photo that the page shows."""
_SEEN = 4
"""All views of a photo together may have this many times the pixels of the largest allowed photo."""
_LONGEST_SIDE = 65_500
"""The longest side of a JPEG that libjpeg writes, in pixels."""


def predict_photo(
    job: Job,
    predictor: Predictor,
    settings: Settings,
    report: Callable[[int, int | None], None],
    cancelled: Callable[[], bool],
    blur: PictureBlur | None = None,
) -> dict[str, Any]:
    """Predict one photo and write its files into the job's folder.

    Args:
        blur: hides people and vehicles in the photo that is shown, painted over and downloaded.

    Returns:
        the job's result.

    Raises:
        UserError: the photo does not decode or has too many pixels, or the network cannot take it.
        Cancelled: `cancelled` returned true between two stages.
    """

    def go_on() -> None:
        if cancelled():
            raise Cancelled

    report(0, 1)
    clock = _Clock()
    photo = read_upload(job, settings.pixels)
    check_seen(job, photo.width, photo.height, settings.pixels)
    clock.lap("decode")
    go_on()
    wants_maps = not predictor.per_pixel and bool(job.options.get("cam"))
    (result,) = predictor.predict([photo], activations=wants_maps, go_on=go_on)
    clock.lap("network")
    go_on()
    pixels = np.asarray(photo)
    if blur is not None:
        pixels = blur.photo(pixels, result)
    # of pixels alone: Pillow would carry a comment over
    results.write(job.folder / results.PHOTO, results.encoded(Image.fromarray(pixels), "JPEG", quality=_QUALITY))
    go_on()
    write: Any = _write_segmented if predictor.per_pixel else _write_classified
    outputs = write(job, result, predictor, go_on)
    clock.lap("write")
    report(1, 1)
    size = {"task": predictor.task, "width": photo.width, "height": photo.height}
    return size | outputs | {"unlike_training": result.unlike_training, "milliseconds": clock.milliseconds}


def read_upload(job: Job, most_pixels: int) -> Image.Image:
    """Decode the upload as an upright RGB photo; its size is checked in the header before a pixel is decoded.

    Decoding it during the upload as well (`media.uploads`) refuses a damaged file at once; the pixels are not kept
    until the job's turn comes, because those of a full queue would not fit in memory.

    Raises:
        UserError: it does not decode, or has more pixels.
    """
    if job.upload is None:
        raise UserError(f"{job.name}: there is no file of it")
    try:
        with Image.open(job.upload) as header:
            width, height = header.size
        if width * height > most_pixels:
            raise UserError(f"{job.name}: {width}x{height} pixels; allowed are {most_pixels:,} in all")
        if max(width, height) > _LONGEST_SIDE:
            raise UserError(f"{job.name}: {width}x{height} pixels; a side may have {_LONGEST_SIDE:,}")
        return read_photo(job.upload, most_pixels=most_pixels)
    except UnreadablePhoto as error:
        raise UserError(str(error)) from None
    except (OSError, SyntaxError, ValueError):
        raise UserError(f"{job.name}: does not decode as a photo") from None


def check_seen(job: Job, width: int, height: int, most_pixels: int) -> None:
    """Refuse views of a photo or frame at its own size that need too much memory or time.

    Raises:
        UserError: a view has more than `most_pixels`, or all of them together more than four times as many.
    """
    if job.options.get("mode", "resized") == "resized":
        return
    views = [width * height * scale * scale for scale in job.options.get("scales", (1.0,))]
    seen = sum(views) * (2 if job.options.get("flip") else 1)
    if max(views) > most_pixels or seen > _SEEN * most_pixels:
        raise UserError(
            f"scales: {job.name} would be seen in {seen / 1e6:.4g} megapixels, {max(views) / 1e6:.4g} at once; allowed "
            f"are {_SEEN * most_pixels / 1e6:.4g}, {most_pixels / 1e6:.4g} at once; give fewer or smaller scales"
        )


def _write_segmented(job: Job, result: Segmented, predictor: Predictor, go_on: Callable[[], None]) -> dict[str, Any]:
    ids, label_space = result.ids, predictor.label_space
    counts = np.bincount(ids.reshape(-1), minlength=256)[: len(label_space)].tolist()
    shares = [count / max(sum(counts), 1) for count in counts]
    rows = [
        {"class": name, "pixels": count, "share": f"{share:.6f}"}
        for name, count, share in zip(label_space.names, counts, shares, strict=True)
    ]
    results.write(job.folder / results.IDS, ids_png(ids))
    go_on()
    results.write(job.folder / results.CONFIDENCE, _grey_png(result.confidence))
    go_on()
    results.write(job.folder / results.PALETTE, palette_png(ids, label_space.palette))
    results.write(job.folder / results.SHARES, results.table(rows))
    names = {"photo": results.PHOTO, "ids": results.IDS, "confidence": results.CONFIDENCE, "palette": results.PALETTE}
    return {
        "files": results.addresses(job.id, **names, csv=results.SHARES),
        "shares": shares,
        "ground": ground_classes(label_space),
    }


def _write_classified(job: Job, result: Classified, predictor: Predictor, go_on: Callable[[], None]) -> dict[str, Any]:
    probabilities = [float(value) for value in result.probabilities]
    rows = [
        {"class": name, "probability": f"{probability:.6f}"}
        for name, probability in zip(predictor.label_space.names, probabilities, strict=True)
    ]
    results.write(job.folder / results.PROBABILITIES, results.table(rows))
    outputs: dict[str, Any] = {
        "probabilities": probabilities,
        "prediction": result.prediction,
        "calibrated": predictor.temperature is not None,
        "files": results.addresses(job.id, photo=results.PHOTO, csv=results.PROBABILITIES),
    }
    if result.activations is not None:
        outputs |= _write_activations(job, result.activated, result.activations, go_on)
    return outputs


def _write_activations(
    job: Job, classes: Sequence[int], maps: NDArray[np.float32], go_on: Callable[[], None]
) -> dict[str, Any]:
    """Write one grey picture per map; all have one scale, so that they can be compared: 255 is `activation_scale`."""
    scale = float(maps.max(initial=0))
    activations = []
    for index, values in zip(classes, maps, strict=True):
        go_on()
        name = f"activation_{index}.png"
        grey = np.rint(values.clip(0) * (255 / scale if scale > 0 else 0)).astype(np.uint8)
        results.write(job.folder / name, _grey_png(grey))
        activations.append({"class": index, "file": results.address(job.id, name)})
    return {"activations": activations, "activation_scale": scale}


def _grey_png(values: NDArray[np.uint8]) -> bytes:
    """Encode (H, W) values fast: the file is a third larger than with the default level, in a quarter of the time."""
    return results.encoded(Image.fromarray(values), "PNG", compress_level=1)


class _Clock:
    """A stopwatch: milliseconds of each stage, by its name."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.milliseconds[stage] = round((now - self._since) * 1000, 1)
        self._since = now
