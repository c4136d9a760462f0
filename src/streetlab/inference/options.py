"""Options of `streetlab predict`, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from streetlab.checkpoints.read import KEPT_FILES
from streetlab.config import plain
from streetlab.datasets.decode import MOST_PIXELS
from streetlab.datasets.labels import LabelSpace, class_ids
from streetlab.errors import UserError, did_you_mean
from streetlab.inference.export_metadata import EXPORTED
from streetlab.inference.views import Views
from streetlab.io import files
from streetlab.plots.paint import PaintStyle
from streetlab.records.locate import locate_run

_MOST_IN_WINDOWS = 500_000_000
PARTS = ("mask", "palette", "overlay", "confidence")


@dataclass(frozen=True)
class Options:
    """The keys of conf/predict.yaml, which says what each is for.

    Attributes:
        run: a run's folder, or the file of a checkpoint or an exported model.
        output: where the results go.
        pixels: of the largest photo; None: `most_pixels` chooses.
        hide: as it was typed.
    """

    run: Path
    checkpoint: str
    sources: tuple[str, ...]
    output: Path
    recursive: bool
    resume: bool
    views: Views
    pixels: int | None
    smooth: float
    batch_size: int
    device: str
    precision: str
    compile: bool
    parts: tuple[str, ...]
    alpha: float
    hide: tuple[Any, ...]
    outlines: bool
    ids: bool
    audio: bool
    cam: bool

    @property
    def is_export(self) -> bool:
        """Tell whether `run` is an exported model's file."""
        return self.run.is_file() and self.run.suffix in EXPORTED

    @property
    def is_checkpoint(self) -> bool:
        """Tell whether `run` is a checkpoint's file, which is predicted with alone."""
        return self.run.is_file() and not self.is_export

    @property
    def most_pixels(self) -> int:
        """The most pixels of a photo: a sliding window needs less memory for each than the whole photo."""
        return self.pixels or (_MOST_IN_WINDOWS if self.views.mode == "window" else MOST_PIXELS)

    def look(self, label_space: LabelSpace) -> PaintStyle:
        """The colours and opacity of overlays. Raises a UserError where `hide` names no class."""
        hidden = class_ids(list(self.hide), label_space.names, "hide") or []
        return PaintStyle(label_space.palette, self.alpha, frozenset(hidden), self.outlines)

    def settings(self, label_space: LabelSpace, views: Views) -> dict[str, Any]:
        """The settings that the results follow from besides the weights, as predict.json keeps them.

        Args:
            views: what the network sees, which need not be all that was asked for.
        """
        result: dict[str, Any] = {"smooth": self.smooth, "audio": self.audio} | asdict(views)
        if label_space.spec.per_pixel:
            hidden = sorted(self.look(label_space).hidden)
            result |= {"parts": sorted(self.parts), "alpha": self.alpha, "outlines": self.outlines}
            result |= {"ids": self.ids, "hide": [label_space.names[i] for i in hidden]}
        else:
            result |= {"cam": self.cam}
        return dict(files.to_plain(result))


def read_options(cfg: DictConfig) -> Options:
    """The command's config as options.

    Raises:
        UserError: a value that its key does not take, or no such run.
    """
    config: dict[str, Any] = plain(cfg)
    # other commands take a path for `resume`, so that it arrives quoted
    config["resume"] = {"true": True, "false": False}.get(str(config["resume"]).lower(), config["resume"])
    for key in ("recursive", "resume", "compile", "outlines", "ids", "audio", "cam"):
        if not isinstance(config[key], bool):
            raise UserError(f"{key}: '{config[key]}' is not true or false")
    run, name = _run_and_name(str(config["run"]), str(config["checkpoint"]))
    output = config["output"]
    return Options(
        run=run,
        checkpoint=str(config["checkpoint"]),
        sources=tuple(_entries("source", config["source"])),
        output=Path(output).expanduser() if output else Path("outputs", "predict", name),
        views=Views(config["mode"], config["window"], config["overlap"], config["flip"], config["scales"]),
        smooth=_smooth(config["smooth"]),
        pixels=None if config["pixels"] is None else _count("pixels", config["pixels"]),
        batch_size=_count("batch_size", config["batch_size"]),
        device=str(config["device"]),
        precision=str(config["precision"]),
        parts=_parts(config["parts"]),
        alpha=_alpha(config["alpha"]),
        hide=_listed(config["hide"]),
        **{key: config[key] for key in ("recursive", "resume", "compile", "outlines", "ids", "audio", "cam")},
    )


def refuse_other_task(options: Options, label_space: LabelSpace) -> None:
    """Raise a UserError where something is asked for that a network of this task has not."""
    if options.cam and options.is_export:
        raise UserError(f"cam: {options.run} is an exported model; maps are made of runs and checkpoints")
    if options.cam and label_space.spec.per_pixel:
        raise UserError("cam: the run gives each pixel a class, which its overlay shows; cam=true is for labels")
    if not label_space.spec.per_pixel:
        for key, asked in (("ids", options.ids), ("hide", options.hide), ("outlines", options.outlines)):
            if asked:
                raise UserError(f"{key}: the run gives a photo one label; only a run with masks has class ids to show")


def _run_and_name(run: str, checkpoint: str) -> tuple[Path, str]:
    """The run, checkpoint or exported model, and what a folder of its predictions is called."""
    path = Path(run).expanduser()
    if path.is_file() and path.suffix in (*EXPORTED, ".ckpt"):
        if checkpoint != "best":
            what = "a checkpoint" if path.suffix == ".ckpt" else "an exported model"
            raise UserError(f"checkpoint: run={run} is {what} itself; leave checkpoint={checkpoint} out")
        of_run = path.resolve().parent.name == ("checkpoints" if path.suffix == ".ckpt" else "export")
        return path, f"{path.resolve().parents[1].name}-{path.stem}" if of_run else path.stem
    if path.suffix in EXPORTED:
        near = did_you_mean(path.name, [file.name for file in path.parent.glob("*") if file.suffix in EXPORTED])
        raise UserError(f"run: no file {path}{near}")
    record = locate_run(run)
    if checkpoint == "best":
        return record.path, record.name
    return record.path, f"{record.name}-{checkpoint if checkpoint in KEPT_FILES else Path(checkpoint).stem}"


def _entries(key: str, value: Any) -> list[str]:
    entries = [str(entry) for entry in _listed(value)]
    if not entries or not all(entries):
        raise UserError(f"{key}: nothing is named; give a file, a folder, a quoted glob or a list of them")
    return entries


def _listed(value: Any) -> tuple[Any, ...]:
    """One value or several, as a tuple."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def _parts(value: Any) -> tuple[str, ...]:
    for part in _listed(value):
        if part not in PARTS:
            raise UserError(f"parts: '{part}' is not one of {', '.join(PARTS)}{did_you_mean(str(part), PARTS)}")
    return tuple(dict.fromkeys(_listed(value)))


def _alpha(value: Any) -> float:
    if not _is_number(value) or not 0 <= value <= 1:
        raise UserError(f"alpha: '{value}' is not a number from 0 to 1")
    return float(value)


def _smooth(value: Any) -> float:
    if not _is_number(value) or not 0 <= value < 1:
        raise UserError(f"smooth: '{value}' is not a number from 0 to below 1")
    return float(value)


def _count(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{key}: '{value}' is not a whole number of 1 or more")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
