"""Blur the pictures that predictions are shown on, by the masks of a segmentation."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetlab.datasets.class_roles import PrivateClasses
from streetlab.datasets.labels import LabelSpace
from streetlab.errors import UserError
from streetlab.inference.blur import FrameMemory, hidden_pixels, pixelate
from streetlab.inference.predictions import Classified, Segmented

if TYPE_CHECKING:
    from streetlab.inference.predictor import Predictor
    from streetlab.inference.video.reader import Frame


class PictureBlur:
    """Hides people and vehicles in the pictures of a prediction; safe to use from several threads.

    Args:
        label_space: the classes of the masks.
        predictor: the segmentation that finds them; None: the prediction itself is a segmentation.

    Raises:
        UserError: a segmentation without classes of people or without classes of vehicles: it would let them pass.
    """

    def __init__(self, label_space: LabelSpace, predictor: Predictor | None = None) -> None:
        private = PrivateClasses.of(label_space)
        if private.lacking:
            raise UserError(
                f"blur: {private.lacking} are not among the classes of {predictor.name if predictor else 'the run'} "
                f"({', '.join(label_space.names)}), so that it cannot hide them; use a run with classes of both"
            )
        self.classes, self.predictor = private.ids, predictor
        self._one_at_a_time = threading.Lock()

    def photo(self, pixels: NDArray[np.uint8], prediction: Classified | Segmented) -> NDArray[np.uint8]:
        """Hide them in a photo (H, W, 3).

        Raises:
            UserError: the segmentation cannot take the photo.
        """
        return pixelate(pixels, hidden_pixels(self.ids(pixels, prediction), self.classes))

    def ids(self, pixels: NDArray[np.uint8], prediction: Classified | Segmented) -> NDArray[np.uint8]:
        """(H, W) class ids of the picture: the prediction's own, or those of the segmentation."""
        if self.predictor is None:
            if not isinstance(prediction, Segmented):
                raise ValueError("a prediction without a mask needs the predictor of a segmentation")
            return prediction.ids
        with self._one_at_a_time:
            (segmented,) = self.predictor.predict([Image.fromarray(pixels)])
        assert isinstance(segmented, Segmented)
        return segmented.ids


class FrameBlur:
    """Hides them in the frames of one video, in their order; a frame that several sinks need is blurred once."""

    def __init__(self, blur: PictureBlur) -> None:
        self._blur, self._memory = blur, FrameMemory(blur.classes)
        self._last: tuple[Frame, Frame] | None = None

    def __call__(self, frame: Frame, prediction: Classified | Segmented) -> Frame:
        if self._last is None or self._last[0] is not frame:
            hidden = self._memory.hidden(self._blur.ids(frame.pixels, prediction))
            self._last = frame, replace(frame, pixels=pixelate(frame.pixels, hidden))
        return self._last[1]


class BlurredSink:
    """Hands the frames to another sink, blurred; see `pipeline.Sink`."""

    def __init__(self, sink: Any, blur: FrameBlur) -> None:
        self._sink, self._blur = sink, blur

    def write(self, frame: Frame, prediction: Classified | Segmented) -> None:
        self._sink.write(self._blur(frame, prediction), prediction)

    def close(self) -> None:
        self._sink.close()

    def abort(self) -> None:
        self._sink.abort()
