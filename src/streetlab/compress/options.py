"""Options of `streetlab compress`, checked before data or network are loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import pydantic
from omegaconf import DictConfig, OmegaConf

from streetlab.compress.prune import IMPORTANCES, SCOPES, Pruning
from streetlab.config import plain
from streetlab.config.composition import config_folder
from streetlab.config.options import (
    CLOSED,
    Flag,
    Fraction,
    NaturalNumber,
    OneOf,
    PositiveInt,
    PositiveNumber,
    command_options,
)  # fmt: skip
from streetlab.config.process_count import processes_of
from streetlab.config.quoting import quote_paths
from streetlab.config.recorded import RecordedConfig
from streetlab.config.run_names import config_hash, matches, run_name
from streetlab.datasets.manifest import Manifest
from streetlab.errors import UserError
from streetlab.process_rank import process_rank
from streetlab.records.identity import has_photos, other_photos, unique_hash
from streetlab.records.record import RunRecord
from streetlab.training.run_request import OverrideKeys, RunRequest, read_run_request

_OWN_KEYS = {
    "model": "the network is the run's own",
    "regime": "it is trained on for `epochs` at `lr_scale`",
    "study": "output=DIR says where the result goes",
    "resume": "the same command goes on where it stopped",
    "pretrained": "the weights are the run's own",
}
"""What has no place among the words for the run's config, and why."""


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Keys(OverrideKeys):
    """The keys of conf/compress.yaml, which says what each is for."""

    ratio: Fraction
    importance: Annotated[str, OneOf(IMPORTANCES)]
    scope: Annotated[str, OneOf(SCOPES)]
    round_to: PositiveInt
    epochs: NaturalNumber
    lr_scale: PositiveNumber
    distil: Flag


@dataclass(frozen=True, eq=False)
class Options(RunRequest):
    """Options of a compression. The network and regime of its config are still the run's.

    Attributes:
        choices: none of what compress decides.
        output: the record to write, unless it is of other photos.
    """

    pruning: Pruning
    epochs: int
    lr_scale: float
    distil: bool
    output: RunRecord

    def about(self) -> dict[str, Any]:
        """The settings that the result follows from, as its record keeps them."""
        return {
            "run": str(self.run.path.resolve()),
            "sha256": self.weights.sha256,
            "epoch": self.weights.epoch,
            **asdict(self.pruning),
            "epochs": self.epochs,
            "lr_scale": self.lr_scale,
            "distil": self.distil,
            "config_hash": config_hash(self.config),
        }


def read_options(cfg: DictConfig) -> Options:
    """The command's config as options.

    Raises:
        UserError: a value that its key does not take; no such run or checkpoint, or an unfinished run; an override
            that does not fit the run's config, or is not for compress to take; several processes.
    """
    keys = command_options(Keys, cfg)
    pruning = Pruning(keys.ratio, keys.importance, keys.scope, keys.round_to)
    base = read_run_request(keys, "compress", _refuse)
    if keys.distil:
        base.config.teacher = str(base.run.path)
    # as it was typed, since 1 and 1.0 are two names
    given = asdict(pruning) | {"epochs": keys.epochs, "lr_scale": cfg.lr_scale, "distil": keys.distil}
    given |= {"checkpoint": keys.checkpoint}
    words = [*base.words, *_words(given)]
    choices = {group: choice for group, choice in base.choices.items() if group not in _OWN_KEYS}
    return Options(
        **vars(base) | {"words": words, "choices": choices},
        pruning=pruning,
        epochs=keys.epochs,
        lr_scale=keys.lr_scale,
        distil=keys.distil,
        output=RunRecord(keys.output or _folder(base.run, words, plain(base.config) | given)),
    )


def about_photos(options: Options, photos: Manifest) -> Options:
    """The options, with a record of its own where the one there is of other photos; a line tells of others.

    Raises:
        UserError: the folder was chosen, and holds such a record.
    """
    if options.own_data and (note := other_photos(options.run, photos)) is not None:
        print(note)
    record = options.output
    if has_photos(record, photos):
        return options
    if not record.name.startswith(f"{options.run.name}-pruned-"):
        raise UserError(f"output: {record.path} is of other photos; give another with output=DIR")
    return replace(options, output=RunRecord(record.path.with_name(f"{record.name}-{unique_hash(photos)}")))


def _words(given: Mapping[str, Any]) -> list[str]:
    """The options as command-line words, without defaults except `ratio`."""
    usual: Any = OmegaConf.to_container(OmegaConf.load(config_folder() / "compress.yaml"))
    kept = {key: value for key, value in given.items() if key == "ratio" or value != usual[key]}
    return quote_paths([f"{key}={str(value).lower() if value is True else value}" for key, value in kept.items()])


def _folder(run: RunRecord, words: Sequence[str], config: Mapping[str, Any]) -> Path:
    name = run_name(words, config, keep=[word.partition("=")[0] for word in words])
    beside = run.path if run.path.name else run.path.resolve()
    return beside.with_name(f"{beside.name}-pruned-{name}")


def _refuse(run: RunRecord, recorded: RecordedConfig) -> None:
    """Raise a UserError for an unfinished run, an override of what compress decides, and several processes."""
    unfinished = run.unfinished()
    if unfinished:
        raise UserError(f"run: {run.path} is {unfinished}; only a completed run can be compressed")
    _refuse_own(recorded)
    _refuse_several(recorded.config)


def _refuse_own(recorded: RecordedConfig) -> None:
    for key in recorded.keys:
        part = next((part for part in _OWN_KEYS if matches(key, [part])), None)
        if part is not None:
            raise UserError(f"{key}: not for compress to change: {_OWN_KEYS[part]}")


def _refuse_several(config: DictConfig) -> None:
    nodes, each = processes_of(config.trainer)
    if process_rank().world_size > 1 or nodes != 1 or each != 1:
        raise UserError(
            f"trainer.devices={config.trainer.get('devices', 1)}: compress works in one process; trainer.devices=1"
        )
