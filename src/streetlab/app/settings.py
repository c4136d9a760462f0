"""Settings of the app: address, models, and the limits that keep it running."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from streetlab.errors import UserError, did_you_mean

_MIB = 1024**2
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one server, with the keys and defaults of conf/app.yaml.

    Attributes:
        storage: a fresh private folder; uploads and results live in it, and it is deleted with the server.
        host, port: where it listens; port 0 takes a free one.
        hosts: further names that a browser may call it by; see `security.Names`.
        runs: the folder whose finished runs are offered.
        models: further runs, folders of runs, checkpoints, or exported models.
        upload_bytes: of one file.
        storage_bytes: of all uploads and results together; beyond that uploads are refused with 507.
        pixels: of one photo or frame, read from the header before anything is decoded.
        video_frames: of one video.
        queue: so many jobs wait at most; beyond that they are refused with 429.
        expire_minutes: after which a finished job and its files are deleted.
        idle_seconds: an upload that sends nothing for so long, or crawls, is ended.
        memory_bytes: of the networks that stay loaded.
        device, precision, batch_size: those of the predictors, see `inference.predictor`.
    """

    storage: Path
    host: str = "127.0.0.1"
    port: int = 8000
    hosts: tuple[str, ...] = ()
    runs: Path = Path("outputs")
    models: tuple[Path, ...] = ()
    upload_bytes: int = 512 * _MIB
    storage_bytes: int = 8192 * _MIB
    pixels: int = 64_000_000
    video_frames: int = 36_000
    queue: int = 64
    expire_minutes: float = 60
    idle_seconds: float = 20
    memory_bytes: int = 4096 * _MIB
    device: str = "auto"
    precision: str = "auto"
    batch_size: int = 8

    def __post_init__(self) -> None:
        for key in _COUNTS:
            if getattr(self, key) < 1:
                raise UserError(f"{key}: {getattr(self, key)} is below 1")
        for key in ("expire_minutes", "idle_seconds"):
            if not getattr(self, key) > 0:
                raise UserError(f"{key}: {getattr(self, key)} is not above 0")
        if not 0 <= self.port <= 65535:
            raise UserError(f"port: {self.port} is not a port; allowed: 1 to 65535, or 0 for any free one")
        if self.precision not in PRECISIONS:
            near = did_you_mean(self.precision, PRECISIONS)
            raise UserError(f"precision: '{self.precision}' is not one of {', '.join(PRECISIONS)}{near}")
        if self.device.partition(":")[0] not in DEVICES:
            near = did_you_mean(self.device, DEVICES)
            raise UserError(f"device: '{self.device}' is not one of {', '.join(DEVICES)}, or cuda:1{near}")


_COUNTS = ("upload_bytes", "storage_bytes", "pixels", "video_frames", "queue", "memory_bytes", "batch_size")


def settings_of(values: Mapping[str, Any], storage: Path) -> Settings:
    """Read the settings from the keys of conf/app.yaml; other keys are ignored.

    Raises:
        UserError: a value of the wrong kind or out of range; a named run, folder or checkpoint that is not there.
    """
    chosen: dict[str, Any] = {}
    for field in fields(Settings):
        if field.name == "storage" or field.name not in values:
            continue
        value = values[field.name]
        kind = _KINDS.get(field.name, (int,) if field.name in (*_COUNTS, "port") else (str,))
        if not isinstance(value, kind) or isinstance(value, bool):
            raise UserError(f"{field.name}: '{value}' is not {_SAID[kind]}")
        chosen[field.name] = value
    chosen["hosts"] = tuple(map(str, chosen.get("hosts", ())))
    chosen["models"] = tuple(Path(str(path)).expanduser() for path in chosen.get("models", ()))
    chosen["runs"] = Path(chosen.get("runs", Settings.runs)).expanduser()
    for key, path in (("runs", chosen["runs"]), *(("models", path) for path in chosen["models"])):
        if not path.exists() and path != Settings.runs:  # before the first run there is no `outputs`, which is no fault
            near = did_you_mean(path.name, [p.name for p in path.parent.glob("*") if not p.name.startswith(".")])
            raise UserError(f"{key}: nothing is at {path}{near}")
    return Settings(storage=storage, **chosen)


_KINDS: dict[str, tuple[type, ...]] = {
    "hosts": (list, tuple),
    "models": (list, tuple),
    "expire_minutes": (int, float),
    "idle_seconds": (int, float),
}
_SAID = {
    (list, tuple): "a list: [A,B]",
    (int, float): "a number",
    (int,): "a whole number",
    (str,): "a word",
}
