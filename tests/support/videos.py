"""Small videos with known frames, for tests: squares that move over a ground of one colour."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

_GROUND = (60, 120, 60)
_SQUARE = (230, 60, 40)


def drawn_frame(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Frame `number`, (H, W, 3): a red square that goes two pixels to the right with every frame, on green."""
    height, width = size
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = _GROUND
    side = max(2, height // 4)
    left = 2 * number % max(1, width - side)
    pixels[height // 4 : height // 4 + side, left : left + side] = _SQUARE
    return pixels


def make_video(
    path: Path,
    *,
    frames: int = 12,
    size: tuple[int, int] = (48, 64),
    fps: Fraction | int = 25,
    audio: str | None = None,
    audio_seconds: float | None = None,
    rotation: int = 0,
    mirrored: bool = False,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    codec: str | None = None,
    pixel_aspect: Fraction | None = None,
    pictures: Sequence[NDArray[np.uint8]] | None = None,
    start: float = 0,
) -> Path:
    """Write a video of `drawn_frame`s; the ending of the name chooses the container.

    Args:
        size: (H, W) as stored, before any rotation; even sides except for GIF.
        audio: the codec of a tone (`aac`, `libopus`, `pcm_s16le`), as long as the video or `audio_seconds`.
        rotation: degrees counter-clockwise that players turn the stored frames.
        mirrored: players also flip them left to right.
        pts: one number in `time_base` per frame, for a variable rate, instead of `frames`; the last lasts one step.
        pictures: (H, W, 3) uint8 frames to write instead.
        start: seconds that the clock of the recorder shows at the first frame.
    """
    fps = Fraction(fps)
    pixels = pictures if pictures is not None else range(len(pts) if pts is not None else frames)
    options = {"movflags": "+faststart"} if path.suffix in {".mp4", ".mov"} else {}
    if start:
        options["output_ts_offset"] = str(start)
    with av.open(f"file:{path}", "w", options=options) as container:
        stream = container.add_stream(codec or _codec(path), rate=fps)
        stream.height, stream.width = size
        stream.bit_rate = 0 if stream.codec_context.name == "libx264" else 4_000_000
        stream.pix_fmt = "rgb8" if path.suffix == ".gif" else "yuv420p"
        stream.codec_context.time_base = time_base or 1 / fps
        stream.codec_context.thread_count = 1
        if pts is not None:
            stream.codec_context.max_b_frames = 0  # MP4 reckons durations from the order of decoding
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        tone = _tone(container, audio) if audio else None
        for number, picture in enumerate(pixels):
            array = drawn_frame(picture, size) if isinstance(picture, int) else picture
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
            frame.pts = pts[number] if pts is not None else number
            frame.duration = pts[number + 1] - pts[number] if pts is not None and number + 1 < len(pts) else 1
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            _play(container, tone, audio_seconds or float(len(pixels) / fps))
    return path


def joined(path: Path, *parts: Path) -> Path:
    """Files put behind each other, byte by byte, as recorders and `cat` do with transport streams."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def times(path: Path, kind: str) -> list[float]:
    """Presentation times in seconds of the packets of the first track of a kind, `video` or `audio`."""
    with av.open(f"file:{path}") as container:
        packets = container.demux(next(stream for stream in container.streams if stream.type == kind))
        return [float(packet.pts * packet.time_base) for packet in packets if packet.size]


def audio_payload(path: Path) -> list[bytes]:
    """Read the packets of a file's first sound track."""
    with av.open(f"file:{path}") as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def _codec(path: Path) -> str:
    return {".gif": "gif", ".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(path.suffix, "libx264")


def _tone(container: av.container.OutputContainer, codec: str) -> av.AudioStream:
    stream = container.add_stream(codec, rate=48_000)
    stream.codec_context.layout = "stereo"
    return stream


def _play(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    context = stream.codec_context
    if not context.is_open:
        context.open()
    step, form = context.frame_size or 1024, context.format.name
    for start in range(0, int(seconds * 48_000), step):
        wave = np.sin(np.arange(start, start + step) * 2 * np.pi * 440 / 48_000) * 0.3
        samples = np.stack([wave, wave])
        samples = samples.astype(np.float32) if "flt" in form else (samples * 32_767).astype(np.int16)
        packed = samples if form.endswith("p") else samples.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(packed), format=form, layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
