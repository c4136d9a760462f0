"""Decode, predict and write the frames of a video side by side, in bounded memory."""

from __future__ import annotations

import contextlib
import itertools
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from streetlab.datasets.decode import resize
from streetlab.errors import UserError
from streetlab.inference.predictions import Classified, Segmented
from streetlab.inference.video.flow import Flow
from streetlab.inference.video.motion import Change, Flicker, Motion, Smoothing
from streetlab.inference.video.reader import Frame, VideoInfo, VideoReader
from streetlab.plots.paint import class_shares

if TYPE_CHECKING:
    from streetlab.inference.predictor import Predictor

__all__ = ["Sink", "VideoReport", "predict_video"]

_WAITING_BYTES = 128 * 2**20
"""What the frames of a batch, and those that wait between two stages, may take."""
_BYTES_A_PIXEL = 3 + 4
"""Of a decoded frame: its own, and those of the picture that the network is shown."""

Prediction = Classified | Segmented
_Decoded = tuple[Frame, Image.Image, Change]
_MOST_TIMES = 5
_MARKED_EVERY = 10
"""Every so many frames one is compared with the training photos: neighbours look alike, and each costs some ms."""
_STAGES = ("decode", "network", "encode")


class Sink(Protocol):
    """Takes the frames of a video in order, each with its prediction; all calls come from one thread at a time."""

    def write(self, frame: Frame, prediction: Prediction) -> None: ...

    def close(self) -> None:
        """The last frame was written."""

    def abort(self) -> None:
        """There will be no end: leave nothing."""


@dataclass(frozen=True)
class VideoReport:
    """The result of a predicted video: counts, timings and flicker.

    Args:
        frames: how many were predicted and written.
        seconds: that it took in all.
        stages: seconds that each of `decode`, `network` and `encode` was at work; they overlap.
        waits: seconds that each of them waited for the others: near 0 for the one that sets the pace.
        flicker: of the predictions, the share of points (of frames for classifiers) that stand still and have
            another class than in the frame before, see `motion.Flicker`; None where nothing stands still.
        flicker_raw: the same before smoothing; None without smoothing.
        shares: mean share of each class; of classifiers its mean probability.
        broken: why the end of the video is missing, else None.
        restarts: seconds at which the file's time stamps started over and were put behind those before.
        unlike_share: share of the frames compared, one of every ten, that are unlike the training photos; None where
            the model cannot tell.
    """

    frames: int
    seconds: float
    stages: dict[str, float]
    waits: dict[str, float]
    flicker: float | None
    flicker_raw: float | None
    shares: tuple[float, ...]
    broken: str | None
    restarts: tuple[float, ...] = ()
    unlike_share: float | None = None

    @property
    def unlike_training(self) -> bool | None:
        """True if most of the frames compared are unlike the training photos; None where the model cannot tell."""
        return None if self.unlike_share is None else self.unlike_share > 0.5

    @property
    def restarts_note(self) -> str | None:
        """One sentence about the restarts, where there are any."""
        if not self.restarts:
            return None
        times = ", ".join(f"{seconds:.1f}" for seconds in self.restarts[:_MOST_TIMES])
        more = f" and {len(self.restarts) - _MOST_TIMES} times more" if len(self.restarts) > _MOST_TIMES else ""
        return f"its time stamps start over at {times} s{more}; the parts were put behind each other"


def predict_video(
    predictor: Predictor,
    path: Path,
    sinks: Sequence[Sink],
    *,
    smooth: float = 0.0,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
    most_frames: int | None = None,
    most_pixels: int | None = None,
) -> VideoReport:
    """Predict every frame of a video and hand it to the sinks.

    The network runs in the calling thread, decoding and the sinks each in one of their own. At most a few batches of
    frames are in memory, whatever the video's length. On any fault the sinks are aborted, and it is raised.

    Args:
        predictor: the network; `batch_size` frames at once, fewer of large ones.
        sinks: closed at the end.
        smooth: weight of the past in the moving average of probabilities, 0 to below 1; see `motion.Smoothing`.
        on_progress: called with how many frames are written and how many there may be, from the calling thread.
        cancelled: asked often, from every thread.
        most_frames, most_pixels: as `VideoReader` takes them.

    Raises:
        Cancelled: `cancelled` said so.
        UnreadableVideo: there is no frame.
        UserError: `smooth` is out of range; a sink cannot write.
    """
    flow = Flow(cancelled)
    threads = []
    started = time.perf_counter()
    try:
        if not 0 <= smooth < 1:
            raise UserError(f"smooth: found {smooth}, allowed 0 to below 1")
        with VideoReader(path, most_frames, most_pixels) as reader:
            run = _Run(predictor, reader, sinks, smooth, flow)
            try:
                threads = [flow.start(run.decode, "decode"), flow.start(run.write, "encode")]
                for _ in run.predict():
                    on_progress(run.frames, reader.info.frames)
                threads[1].join()
            except BaseException as error:
                flow.fail(error)
            finally:
                for thread in threads:
                    thread.join()
    except BaseException as error:
        flow.fail(error)
    if flow.fault is not None:
        for sink in sinks:
            with contextlib.suppress(Exception):  # the fault that led here says more
                sink.abort()
        flow.raise_fault()
    on_progress(run.frames, run.frames)
    return run.report(time.perf_counter() - started)


class _Run:
    """The three stages and the queues between them."""

    def __init__(
        self, predictor: Predictor, reader: VideoReader, sinks: Sequence[Sink], smooth: float, flow: Flow
    ) -> None:
        self._predictor, self._reader, self._sinks, self._flow = predictor, reader, sinks, flow
        self._smoothing = Smoothing(smooth) if smooth else None
        self._batch = _batch_size(predictor, reader.info)
        waiting = _BYTES_A_PIXEL * reader.info.width * reader.info.height
        room = max(1, min(self._batch, _WAITING_BYTES // waiting))
        self._decoded: queue.Queue[_Decoded | None] = queue.Queue(room)
        self._answered: queue.Queue[tuple[Frame, Prediction] | None] = queue.Queue(room)
        self._flicker, self._flicker_raw = Flicker(), Flicker()
        self._classes = len(predictor.label_space)
        self._shares = np.zeros(self._classes)
        self._seconds = dict.fromkeys(_STAGES, 0.0)
        self._waits = dict.fromkeys(_STAGES, 0.0)
        self._unlike: list[bool] = []
        self.frames = 0

    def report(self, seconds: float) -> VideoReport:
        return VideoReport(
            self.frames,
            seconds,
            self._seconds,
            self._waits,
            self._flicker.share,
            self._flicker_raw.share if self._smoothing else None,
            tuple((self._shares / self.frames).tolist()),
            self._reader.broken,
            self._reader.restarts,
            sum(self._unlike) / len(self._unlike) if self._unlike else None,
        )

    def decode(self) -> None:
        size, domain = self._predictor.image_size, self._predictor.domain
        motion, frames = Motion(size), iter(self._reader)
        for number in itertools.count():
            with self._timed("decode"):
                frame, item = next(frames, None), None
                if frame is not None:
                    photo = Image.fromarray(frame.pixels)
                    item = frame, photo, motion.step(photo)
                    if domain is not None and number % _MARKED_EVERY == 0:
                        mark = domain.is_unlike_frame(resize(photo, size))
                        self._unlike += [] if mark is None else [mark]
            self._put(self._decoded, item, "decode")
            if item is None:
                return

    def predict(self) -> Iterator[None]:
        """Predict batch by batch, one step per batch."""
        batch: list[_Decoded] = []
        while True:
            item = self._get(self._decoded, "network")
            if item is not None:
                batch.append(item)
            if batch and (item is None or len(batch) == self._batch):
                with self._timed("network"):
                    answers = self._answers(batch)
                for (frame, _, _), answer in zip(batch, answers, strict=True):
                    self._put(self._answered, (frame, answer), "network")
                batch = []
                yield
            if item is None:
                self._put(self._answered, None, "network")
                return

    def write(self) -> None:
        while True:
            item = self._get(self._answered, "encode")
            with self._timed("encode"):
                if item is None:
                    break
                frame, answer = item
                for sink in self._sinks:
                    self._flow.check()
                    sink.write(frame, answer)
                if isinstance(answer, Segmented):
                    self._shares += class_shares(answer.ids, self._classes)
                else:
                    self._shares += answer.probabilities
                self.frames += 1
        with self._timed("encode"):
            for sink in self._sinks:
                sink.close()

    @torch.inference_mode()
    def _answers(self, batch: Sequence[_Decoded]) -> Sequence[Prediction]:
        predictor, changes = self._predictor, [change for _, _, change in batch]
        photos = [photo for _, photo, _ in batch]
        if self._smoothing is None and predictor.views.mode == "window":
            answers = predictor.predict(
                photos, go_on=self._flow.check
            )  # in bands: scores of a frame's own size are large
            self._note(self._flicker, [one.ids for one in answers if isinstance(one, Segmented)], changes)
            return answers
        scores = predictor.scores(photos, self._flow.check)
        if not predictor.per_pixel:
            scores = scores.double() / (predictor.temperature or 1.0)
        if self._smoothing is not None:
            self._note(self._flicker_raw, _labels(scores), changes)
            scores = _log(self._smoothing(scores.softmax(dim=1), [change.cut for change in changes]))
        if predictor.per_pixel:
            size = photos[0].height, photos[0].width
            segmented = [self._segmented(one, size) for one in scores]
            same = tuple(scores.shape[-2:]) == size  # their classes are counted as the network gives them
            self._note(self._flicker, [one.ids for one in segmented] if same else _labels(scores), changes)
            return segmented
        self._note(self._flicker, _labels(scores), changes)
        rows = scores.softmax(dim=1).float().cpu().numpy()
        return [Classified(row, int(row.argmax())) for row in rows]

    def _segmented(self, scores: Tensor, size: tuple[int, int]) -> Segmented:
        self._flow.check()  # of large frames each takes as long as a batch of small ones
        return self._predictor.segmented(scores, size)

    @staticmethod
    def _note(flicker: Flicker, labels: Sequence[NDArray[np.uint8]], changes: Sequence[Change]) -> None:
        for one, change in zip(labels, changes, strict=True):
            flicker.add(one, change)

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._seconds[stage] += time.perf_counter() - started

    def _put(self, items: queue.Queue[Any], item: object, stage: str) -> None:
        started = time.perf_counter()
        self._flow.put(items, item)
        self._waits[stage] += time.perf_counter() - started

    def _get(self, items: queue.Queue[Any], stage: str) -> Any:
        started = time.perf_counter()
        item = self._flow.get(items)
        self._waits[stage] += time.perf_counter() - started
        return item


def _batch_size(predictor: Predictor, info: VideoInfo) -> int:
    """The number of frames in a batch: fewer where they, or scores of their own size, are large."""
    if predictor.views.mode == "resized":
        return max(1, min(predictor.batch_size, _WAITING_BYTES // (_BYTES_A_PIXEL * info.width * info.height)))
    height, width = predictor.image_size
    return max(1, min(predictor.batch_size, predictor.batch_size * height * width // (info.height * info.width)))


def _labels(scores: Tensor) -> Sequence[NDArray[np.uint8]]:
    """The most probable class of each frame (), or of each of its pixels (h, w)."""
    # max finds the same indices as argmax, the first of equals, and on the CPU three times as fast
    return list(scores.max(dim=1).indices.to(torch.uint8).cpu().numpy())


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log_()
