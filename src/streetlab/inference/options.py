"""Options of `streetlab predict`, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import pydantic
from omegaconf import DictConfig
from pydantic import AfterValidator, BeforeValidator, Field

from streetlab.checkpoints.read import KEPT_FILES
from streetlab.config.options import (
    CLOSED,
    Flag,
    Folder,
    Listed,
    Number,
    OneOf,
    Output,
    PositiveInt,
    QuotedFlag,
    Says,
    Share,
    command_options,
    flag_of_word,
)  # fmt: skip
from streetlab.datasets.decode import MOST_PIXELS
from streetlab.datasets.labels import LabelSpace, class_ids
from streetlab.errors import UserError, did_you_mean
from streetlab.inference.export_metadata import EXPORTED
from streetlab.inference.views import Views
from streetlab.io import files
from streetlab.plots.paint import PaintStyle
from streetlab.records.locate import locate_run

_MOST_IN_WINDOWS = 500_000_000
PARTS = ("mask", "palette", "overlay", "photo", "confidence")


def _blur(value: Any) -> Any:
    """True, false, or the path of a run."""
    value = flag_of_word(value)
    if isinstance(value, bool | Path):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError
    return Path(value).expanduser()


def _each_once(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(parts))


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Keys:
    """The keys of conf/predict.yaml, which says what each is for; `Views` checks those of what the network sees."""

    run: Folder
    checkpoint: str
    source: Annotated[tuple[str, ...], Listed]
    output: Output
    recursive: Flag
    resume: QuotedFlag
    mode: Any
    window: Any
    overlap: Any
    flip: Any
    scales: Any
    pixels: PositiveInt | None
    smooth: Annotated[Number, Field(ge=0, lt=1)]
    batch_size: PositiveInt
    device: str
    precision: str
    compile: Flag
    parts: Annotated[tuple[Annotated[str, OneOf(PARTS)], ...], Listed, AfterValidator(_each_once)]
    alpha: Share
    hide: Annotated[tuple[Any, ...], Listed]
    outlines: Flag
    ids: Flag
    audio: Flag
    cam: Flag
    blur: Annotated[Any, BeforeValidator(_blur), Says("true, false or the folder of a segmentation run")]


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Options(Keys):
    """Options of a prediction.

    Attributes:
        run: a run's folder, or the file of a checkpoint or an exported model.
        source: at least one, as they were typed.
        output: where the results go.
        pixels: of the largest photo; None: `most_pixels` chooses.
        hide: as it was typed.
        blur: true: by the run's own masks; a path: by those of the segmentation run that it names.
    """

    output: Path
    blur: bool | Path
    views: Views

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
    keys = command_options(Keys, cfg)
    if not keys.source or not all(keys.source):
        raise UserError("source: nothing is named; give a file, a folder, a quoted glob or a list of them")
    run, name = _run_and_name(keys.run, keys.checkpoint)
    views = Views(keys.mode, keys.window, keys.overlap, keys.flip, keys.scales)
    output = keys.output or Path("outputs", "predict", name)
    return Options(**vars(keys) | {"run": run, "output": output, "views": views})


def refuse_other_task(options: Options, label_space: LabelSpace) -> None:
    """Raise a UserError where something is asked for that a network of this task has not."""
    if options.cam and options.is_export:
        raise UserError(f"cam: {options.run} is an exported model; maps are made of runs and checkpoints")
    if options.cam and label_space.spec.per_pixel:
        raise UserError("cam: the run gives each pixel a class, which its overlay shows; cam=true is for labels")
    _refuse_blur(options, label_space)
    if not label_space.spec.per_pixel:
        for key, asked in (("ids", options.ids), ("hide", options.hide), ("outlines", options.outlines)):
            if asked:
                raise UserError(f"{key}: the run gives a photo one label; only a run with masks has class ids to show")


def _refuse_blur(options: Options, label_space: LabelSpace) -> None:
    if label_space.spec.per_pixel and isinstance(options.blur, Path):
        raise UserError(f"blur: {options.run} has masks of its own; blur=true hides what they find, not {options.blur}")
    if not label_space.spec.per_pixel and options.blur:
        if options.blur is True:
            raise UserError(
                f"blur: {options.run} gives a photo one label and finds no people in it; name a segmentation run that "
                f"does, blur=DIR"
            )
        if not options.cam:
            raise UserError("blur: of labels no picture is written; cam=true writes overlays, or leave blur out")


def _run_and_name(path: Path, checkpoint: str) -> tuple[Path, str]:
    """The run, checkpoint or exported model, and what a folder of its predictions is called."""
    if path.is_file() and path.suffix in (*EXPORTED, ".ckpt"):
        if checkpoint != "best":
            what = "a checkpoint" if path.suffix == ".ckpt" else "an exported model"
            raise UserError(f"checkpoint: run={path} is {what} itself; leave checkpoint={checkpoint} out")
        of_run = path.resolve().parent.name == ("checkpoints" if path.suffix == ".ckpt" else "export")
        return path, f"{path.resolve().parents[1].name}-{path.stem}" if of_run else path.stem
    if path.suffix in EXPORTED:
        near = did_you_mean(path.name, [file.name for file in path.parent.glob("*") if file.suffix in EXPORTED])
        raise UserError(f"run: no file {path}{near}")
    record = locate_run(str(path))
    if checkpoint == "best":
        return record.path, record.name
    return record.path, f"{record.name}-{checkpoint if checkpoint in KEPT_FILES else Path(checkpoint).stem}"
