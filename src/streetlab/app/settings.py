"""Settings of the app: address, models, and the limits that keep it running."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import Field

from streetlab.config.options import (
    CLOSED,
    Folder,
    OneOf,
    PositiveInt,
    PositiveNumber,
    Says,
    WholeNumber,
    command_options,
)  # fmt: skip
from streetlab.errors import UserError, did_you_mean

_MIB = 1024**2
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")


_Port = Annotated[WholeNumber, Field(ge=0, le=65535), Says("a port: 1 to 65535, or 0 for any free one")]
_Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$"), Says("one of auto, cpu, cuda, or cuda:1", DEVICES)]


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=CLOSED)
class Settings:
    """Settings of one server, with the keys and defaults of conf/app.yaml.

    Attributes:
        storage: a private folder; uploads and results live in it, and are deleted with the server.
        host, port: where it listens; port 0 takes a free one.
        hosts: further names that a browser may call it by; see `security.Names`.
        runs: the folder whose finished runs are offered.
        models: further runs, folders of runs, checkpoints, or exported models.
        upload_bytes: of one file.
        storage_bytes: of all uploads and results together; beyond that uploads are refused with 507.
        pixels: of one photo or frame, read from the header before anything is decoded.
        frame_pixels: of one frame of a video, of which some dozen are in memory at once.
        video_frames: of one video.
        visitor_pixels: of all photos and frames of one visitor that wait or run. A file of more is refused with 413,
            one that does not fit beside the visitor's others with 429.
        queue: so many jobs wait at most; beyond that they are refused with 429, but for visitors who have none waiting.
        workers: so many jobs run at once; above 1 each in a process of its own, with its own networks in memory.
        folder: the storage, where a server that was killed shall go on; None: a fresh one, see `media.server_folder`.
        expire_minutes: after which a finished job and its files are deleted.
        idle_seconds: an upload that sends nothing for so long, or crawls, is ended.
        memory_bytes: of the networks that stay loaded.
        device, precision, batch_size: those of the predictors, see `inference.predictor`.
    """

    storage: Path
    host: str = "127.0.0.1"
    port: _Port = 8000
    hosts: tuple[str, ...] = ()
    runs: Folder = Path("outputs")
    models: tuple[Folder, ...] = ()
    upload_bytes: PositiveInt = 512 * _MIB
    storage_bytes: PositiveInt = 8192 * _MIB
    pixels: PositiveInt = 64_000_000
    frame_pixels: PositiveInt = 9_000_000
    video_frames: PositiveInt = 36_000
    visitor_pixels: PositiveInt = 40_000_000_000
    queue: PositiveInt = 64
    workers: PositiveInt = 1
    folder: Folder | None = None
    expire_minutes: PositiveNumber = 60
    idle_seconds: PositiveNumber = 20
    memory_bytes: PositiveInt = 4096 * _MIB
    device: _Device = "auto"
    precision: Annotated[str, OneOf(PRECISIONS)] = "auto"
    batch_size: PositiveInt = 8

    @property
    def most_of_frame(self) -> int:
        """The most pixels of one frame of a video."""
        return min(self.pixels, self.frame_pixels)


def settings_of(values: Mapping[str, Any], storage: Path) -> Settings:
    """Read the settings from the keys of conf/app.yaml; other keys are ignored.

    Raises:
        UserError: a value of the wrong kind or out of range; a named run, folder or checkpoint that is not there.
    """
    settings = command_options(Settings, {**values, "storage": storage})
    for key, path in (("runs", settings.runs), *(("models", path) for path in settings.models)):
        if not path.exists() and path != Settings.runs:  # before the first run there is no `outputs`, which is no fault
            near = did_you_mean(path.name, [p.name for p in path.parent.glob("*") if not p.name.startswith(".")])
            raise UserError(f"{key}: nothing is at {path}{near}")
    return settings
