"""Write a video that browsers play: H.264 in MP4, with the sound of another file."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streetlab.inference.video.audio import CarriedAudio
from streetlab.inference.video.clock import Clock
from streetlab.inference.video.output import Output, Writer
from streetlab.inference.video.source import pyav

_BT709 = 1
_LIMITED = 1
_KEY_SECONDS = 2
_LOOKAHEAD = 10
"""Frames that x264 keeps at this preset to choose their quality."""
_LOOKAHEAD_BYTES = 128 * 2**20


class VideoWriter(Writer):
    """Writes RGB frames as H.264 (yuv420p, BT.709) with the index first; the file appears when it is complete.

    There are no B-frames, so that a frame's time in the file is its time in a player from the first frame on.

    Args:
        path: the .mp4 to write.
        size: (H, W) of the frames; an odd side is padded by one pixel, equal to the last.
        fps: the average rate.
        time_base: seconds of one step of the `pts` to come.
        audio_from: the file whose sound, if any, is carried over; its first frame is taken for the time 0.

    Raises:
        UserError: the file cannot be written, or `audio_from` cannot be read.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], fps: Fraction, time_base: Fraction, audio_from: Path | None = None
    ) -> None:
        self._av = pyav()
        self._size = size
        self._clock = Clock(fps, time_base)
        self._last, self._end = -1, 0
        self._audio: CarriedAudio | None = None
        self._output = Output(path, "mp4", {"movflags": "+faststart"})
        try:
            height, width = size
            # veryfast: 550 frames of 512x256 and 88 of 1280x720 per second of CPU, in half the bytes of superfast
            self._stream = self._output.container.add_stream(
                "libx264",
                rate=fps,
                width=width + width % 2,
                height=height + height % 2,
                time_base=self._clock.time_base,
                options={"preset": "veryfast", "crf": "20", "bf": "0"} | _lookahead(width * height),
            )
            context = self._stream.codec_context
            context.pix_fmt = "yuv420p"
            context.flags |= self._av.codec.context.Flags.frame_duration  # else the last frame's is guessed
            context.gop_size = max(1, round(_KEY_SECONDS * fps))
            context.thread_count = min(8, os.cpu_count() or 1)
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED
            if audio_from is not None:
                self._audio = CarriedAudio(Path(audio_from), self._output.container)
        except BaseException:
            self.abort()
            raise
        self._reformatter = self._av.video.reformatter.VideoReformatter()

    @property
    def path(self) -> Path:
        return self._output.path

    def write(self, pixels: NDArray[np.uint8], pts: int, duration: int = 0) -> None:
        """Add an (H, W, 3) uint8 frame.

        Args:
            pts: when it is shown, in steps of the time base; rises from frame to frame.
            duration: until when the last frame is shown; 0: as long as one is at the rate.
        """
        if pixels.shape != (*self._size, 3):
            raise ValueError(f"a frame of {pixels.shape} in a video of {self._size}")
        height, width = self._size
        if height % 2 or width % 2:
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        rgb = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = self._reformatter.reformat(rgb, format="yuv420p", dst_colorspace="itu709", dst_color_range="MPEG")
        frame.color_primaries = frame.color_trc = _BT709
        self._last = max(self._clock.pts(pts), self._last + 1)
        self._end = max(self._clock.pts(pts + duration), self._last + 1) if duration else self._last + self._clock.frame
        frame.pts, frame.time_base, frame.duration = self._last, self._clock.time_base, self._end - self._last
        with self._output.writing():
            self._mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write the end of the file and put it in place.

        Raises:
            ValueError: no frame was written.
        """
        if self._last < 0:
            self.abort()
            raise ValueError(f"{self.path}: a video needs a frame")
        try:
            with self._output.writing():
                self._mux(self._stream.encode(None))
                if self._audio is not None:
                    self._output.container.mux(self._audio.rest(self._end * self._clock.time_base))
            self._close_audio()
            self._output.close()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        self._close_audio()
        self._output.abort()

    def _mux(self, packets: list) -> None:
        for packet in packets:
            if self._audio is not None:
                self._output.container.mux(self._audio.until(packet.dts * packet.time_base))
            self._output.container.mux(packet)

    def _close_audio(self) -> None:
        if self._audio is not None:
            self._audio.close()


def _lookahead(pixels: int) -> dict[str, str]:
    """The option that makes x264 keep fewer frames where they are large: those of 64 megapixels take 96 MB each."""
    frames = _LOOKAHEAD_BYTES // (pixels * 3 // 2)
    return {"rc-lookahead": str(frames)} if frames < _LOOKAHEAD else {}
