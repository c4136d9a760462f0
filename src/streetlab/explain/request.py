"""The request of `streetlab explain`: the run, the maps, the photos and the output folder, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import pydantic
from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from streetlab.checkpoints.read import TrainedWeights, find_checkpoint, read_weights
from streetlab.config import plain
from streetlab.config.command_line import own_keys
from streetlab.config.composition import config_folder
from streetlab.config.options import (
    CLOSED,
    Flag,
    NaturalNumber,
    OneOf,
    Output,
    PositiveInt,
    Says,
    WholeNumber,
    command_options,
)  # fmt: skip
from streetlab.config.quoting import quote_paths
from streetlab.config.recorded import recorded_config
from streetlab.config.run_names import matches, run_name
from streetlab.datasets.labels import LabelSpace, class_ids
from streetlab.datasets.manifest import Manifest
from streetlab.errors import UserError
from streetlab.io import files
from streetlab.loading.datamodule import StreetData
from streetlab.networks.cam import METHODS
from streetlab.records.identity import other_photos, unique_hash
from streetlab.records.locate import locate_run
from streetlab.records.record import RunRecord
from streetlab.training.elsewhere import TESTABLE, names_other_data
from streetlab.training.evaluate import UNSEEN, asks_for_own_data, refuse_without_effect

PAGE, NUMBERS = "explain.html", "metrics.json"

_EXPLAINED = ("dataset", "model", "image_size", "batch_size", "trainer.accelerator")
"""The parts of a run's config that an explanation is made of."""
_SAME_ANSWER = ("batch_size", "trainer.accelerator", *UNSEEN)
"""What in those parts leaves the recorded predictions as they are."""
_ELSEWHERE = ("run", "output", "overrides", "hydra")


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Keys:
    """The keys of conf/explain.yaml, which says what each is for."""

    run: str
    checkpoint: str
    split: Annotated[str, OneOf(TESTABLE)] | None
    method: Annotated[str, OneOf(METHODS)]
    layer: Annotated[str | None, Says("the dotted name of a module, or null")]
    n: PositiveInt | None
    classes: Any
    scores: Flag
    scored_photos: Annotated[WholeNumber, Field(ge=2)]
    cells: Annotated[WholeNumber, Field(ge=2, le=32)]
    seed: NaturalNumber
    output: Output
    overrides: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ExplainRequest:
    """Request to explain a run's predictions.

    Attributes:
        run: the record; never written to, but for the folder `explain` in it.
        config: the run's, with the overrides.
        weights: the checkpoint's.
        split: train, val, test or all.
        other_data: nobody named a split, and the data are others than the run's: the split is the one that they
            report, or all.
        method: of `nets.cam.METHODS`.
        layer: dotted name of the network's module; None: the last before the head.
        n: how many photos, see conf/explain.yaml.
        classes: ids whose maps are asked for; None: nobody said.
        scores: whether the maps are scored.
        scored_photos, cells, seed: how.
        recorded: whether the run's own predictions are those to be explained.
        name: made of the words; empty where nothing but the run was named.
        output: where the answer goes, unless it holds one about other photos.
        own_data: whether the photos should be those that the run saw.
        data_hash: of the photos, once they are known.
    """

    run: RunRecord
    config: DictConfig
    weights: TrainedWeights
    split: str
    other_data: bool
    method: str
    layer: str | None
    n: int | None
    classes: list[int] | None
    scores: bool
    scored_photos: int
    cells: int
    seed: int
    recorded: bool
    name: str
    output: Path
    own_data: bool
    data_hash: str | None = None

    @property
    def space(self) -> LabelSpace:
        return self.weights.label_space

    def about(self) -> dict[str, Any]:
        """Return the part of metrics.json that describes the request."""
        return {
            "run": str(self.run.path.resolve()),
            "name": self.name,
            "checkpoint": str(self.weights.path.resolve()),
            "sha256": self.weights.sha256,
            "epoch": self.weights.epoch,
            "split": self.split,
            "method": self.method,
            "seed": self.seed,
            "data_hash": self.data_hash,
        }


def read_request(cfg: DictConfig) -> ExplainRequest:
    """Everything that can be wrong before data is touched.

    Raises:
        UserError: no such run, checkpoint, split, method or class; a number out of range; an override that does
            not fit the run's config or changes nothing; the folder of the answer holds something else.
    """
    keys = command_options(Keys, cfg)
    run = locate_run(keys.run)
    words = list(keys.overrides)
    recorded = recorded_config(run.located_config, words, own_keys("explain"))
    refuse_without_effect(recorded, _EXPLAINED, "an explanation")
    weights = read_weights(find_checkpoint(run, keys.checkpoint))
    classes = class_ids(keys.classes, weights.label_space.names)
    words += _words(cfg)
    name = run_name(words, plain(recorded.config) | _asked(cfg), [word.partition("=")[0] for word in words])
    name = name if words else ""
    request = ExplainRequest(
        run=run,
        config=recorded.config,
        weights=weights,
        split=keys.split or _reported_split(run),
        other_data=keys.split is None and names_other_data(recorded.keys),
        method=keys.method,
        layer=keys.layer,
        n=keys.n,
        classes=classes,
        scores=keys.scores,
        scored_photos=keys.scored_photos,
        cells=keys.cells,
        seed=keys.seed,
        recorded=keys.checkpoint == "best" and all(matches(key, _SAME_ANSWER) for key in recorded.keys),
        name=name,
        output=keys.output or run.path / "explain" / name,
        own_data=asks_for_own_data(recorded),
    )
    _refuse_in_the_way(request, chosen=bool(keys.output))
    return request


def about_photos(request: ExplainRequest, photos: Manifest, everything: bool) -> ExplainRequest:
    """The request for these photos; where the run saw others, a line says so.

    Args:
        everything: the photos of all splits are in one.

    Raises:
        UserError: the folder of the result was chosen, and holds one about other photos.
    """
    note = other_photos(request.run, photos, everything)
    request = replace(request, data_hash=photos.data_hash, recorded=request.recorded and note is None)
    if request.own_data and note is not None:
        print(note)
    earlier = _explained(request.output)
    if earlier is None or earlier.get("data_hash", None if note else photos.data_hash) == photos.data_hash:
        return request
    inside = request.run.path / "explain"
    if not request.output.is_relative_to(inside):
        raise UserError(f"output: {request.output} explains other photos; give another with output=DIR")
    name = "-".join(part for part in (request.name, unique_hash(photos)) if part)
    return replace(request, output=inside / name)


def rows_of(request: ExplainRequest, data: StreetData, ids: Sequence[str], file: str, noun: str) -> list[int]:
    """The places of recorded photos in the data set's split.

    Args:
        ids: as the record's `file` names them.
        noun: what the data set is of, in the plural.

    Raises:
        UserError: some are not there.
    """
    rows = {sample.id: row for row, sample in enumerate(data.samples(request.split))}
    missing = [name for name in ids if name not in rows]
    if missing:
        raise UserError(
            f"{request.run.path / file}: {len(missing)} of {len(ids)} {noun} of {request.split} are not in the "
            f"data set, such as {missing[0]}; dataset.root=DIR says where they are"
        )
    return [rows[name] for name in ids]


def begin_answer(request: ExplainRequest) -> None:
    """Mark the folder as this request's, and clear what an earlier answer to it left there.

    The page goes first and is written last: where it lies, everything it speaks of lies there too.
    """
    for path in (request.output / PAGE, *request.output.glob("*/*.jpg")):
        if path.parent == request.output or path.parent.name in ("correct", "wrong", "worst", "best"):
            path.unlink(missing_ok=True)
    files.write_json(request.output / NUMBERS, {"explained": request.about(), "state": "running"})


def _asked(cfg: DictConfig) -> dict[str, Any]:
    """The command's own keys that decide what the answer is."""
    return {key: value for key, value in plain(cfg).items() if key not in _ELSEWHERE}


def _words(cfg: DictConfig) -> list[str]:
    """The keys that differ from the command's defaults, as command-line words."""
    usual = OmegaConf.to_container(OmegaConf.load(config_folder() / "explain.yaml"))
    assert isinstance(usual, dict)
    return quote_paths([f"{key}={_typed(value)}" for key, value in _asked(cfg).items() if value != usual.get(key)])


def _typed(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reported_split(run: RunRecord) -> str:
    """The split whose numbers the run reports; of a run that did not come so far, test."""
    there = (run.path / NUMBERS).is_file()
    return str(run.metrics.get("eval_split", "test")) if there else "test"


def _refuse_in_the_way(request: ExplainRequest, chosen: bool) -> None:
    """Raise where the folder holds anything but an earlier result of the same request, or other results below.

    Args:
        chosen: the folder was given and may hold another run's result. The run's own may have moved with it.
    """
    output = request.output
    if not output.exists():
        return
    if not output.is_dir():
        raise UserError(f"output: {output} is a file; give a folder with output=DIR")
    own = _explained(output)
    same_run = not chosen or (own or {}).get("run") == json.loads(files.json_text(request.about()["run"]))
    if own is not None and own.get("name") == request.name and same_run:
        return
    others = [path for path in output.iterdir() if _explained(path) is None]
    if others:
        what = "holds another explanation" if own is not None else f"holds other things ({others[0].name})"
        raise UserError(f"output: {output} {what}; give another with output=DIR")


def _explained(folder: Path) -> Mapping[str, Any] | None:
    """Read the request recorded with the explanation in a folder; None where it holds none."""
    try:
        return json.loads((folder / NUMBERS).read_text(encoding="utf-8"))["explained"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
