"""Read checkpoint files: tensors and plain values only, never code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from streetlab.config.moved import with_current_targets
from streetlab.datasets.labels import LabelSpace, same_names
from streetlab.errors import UserError, did_you_mean, first_line
from streetlab.io.files import file_sha256
from streetlab.records.record import RunRecord

CHECKPOINT_KEY = "streetlab"
"""The key of a checkpoint's metadata."""
KEPT_KEYS = ("epoch", "global_step", "pytorch-lightning_version", "state_dict", CHECKPOINT_KEY)
"""What using a checkpoint needs; what only resuming needs (optimizer, loops) triples the file."""
KEPT_FILES = ("best", "last")
"""The checkpoints that a run keeps, by the names that `checkpoint=` takes beside a path."""
_NETWORK = "network."


@dataclass(frozen=True, eq=False)
class TrainedWeights:
    """A checkpoint that was read.

    Attributes:
        path: its file.
        sha256: of the file, hex.
        epoch: how many epochs it has behind it.
        tensors: the network's, by their keys in its state dict.
        metadata: what streetlab's checkpoints carry to be used alone: config, label space, normalisation, size.
    """

    path: Path
    sha256: str
    epoch: int
    tensors: dict[str, torch.Tensor]
    metadata: dict[str, Any]

    @property
    def label_space(self) -> LabelSpace:
        return LabelSpace.from_dict(self.metadata["label_space"])

    def belong_to(self, run: RunRecord) -> bool:
        """Tell whether the file is among the run's own checkpoints."""
        return self.path.resolve().is_relative_to(run.checkpoints.resolve())


def find_checkpoint(run: RunRecord, asked: str) -> Path:
    """The file that `checkpoint=` names: best, last, or a path.

    Raises:
        UserError: there is no such file.
    """
    if asked not in KEPT_FILES:
        path = Path(asked).expanduser()
        if not path.is_file():
            raise UserError(
                f"checkpoint: no file {path} (allowed: best, last, or a file){did_you_mean(asked, KEPT_FILES)}"
            )
        return path
    path = run.checkpoints / f"{asked}.ckpt"
    if not path.is_file():
        others = [name for name in KEPT_FILES if (run.checkpoints / f"{name}.ckpt").is_file()]
        hint = f"checkpoint={others[0]} is there" if others else "no epoch of it was completed, or its files were moved"
        raise UserError(f"checkpoint: no {path}: {hint}")
    return path


def read_weights(path: Path) -> TrainedWeights:
    """Read a checkpoint of streetlab's, tensors and plain values only.

    Raises:
        UserError: it does not load, or is another kind of file.
    """
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"checkpoint: {path} does not load ({first_line(error) or '?'})") from None
    if not isinstance(contents, dict) or not {"epoch", "state_dict", CHECKPOINT_KEY} <= contents.keys():
        raise UserError(
            f"checkpoint: {path} is no checkpoint of a run (it lacks epoch, state_dict or {CHECKPOINT_KEY})"
        )
    try:
        tensors = {
            key.removeprefix(_NETWORK): tensor
            for key, tensor in contents["state_dict"].items()
            if key.startswith(_NETWORK) and isinstance(tensor, Tensor)
        }
        epoch = epochs_behind(contents)
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"checkpoint: {path} is damaged ({first_line(error)})") from None
    metadata = _with_current_targets(contents[CHECKPOINT_KEY])
    return TrainedWeights(path, file_sha256(path), epoch, tensors, metadata)


def read_resumable(path: Path, label_space: LabelSpace) -> dict[str, Any]:
    """The contents of a checkpoint that a run is to go on from.

    Raises:
        UserError: it does not load, is of a finished run, or was trained for other classes.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"resume: {path} does not load ({error}); resume=never trains anew") from None
    if isinstance(checkpoint, dict) and set(checkpoint) == set(KEPT_KEYS):
        raise UserError(
            f"resume: {path} is of a completed run, which keeps its weights and not what training on needs; "
            f"model.weights={path} begins a new run with them"
        )
    if not isinstance(checkpoint, dict) or not {"epoch", "callbacks", CHECKPOINT_KEY} <= checkpoint.keys():
        raise UserError(
            f"resume: {path} is no checkpoint of an interrupted run (for weights alone use model.weights=FILE)"
        )
    names = tuple(checkpoint[CHECKPOINT_KEY]["label_space"]["names"])
    if not same_names(names, label_space.names):
        raise UserError(
            f"resume: {path} was trained for {len(names)} classes ({listed(names)}), the data set has "
            f"{len(label_space)} ({listed(label_space.names)}); model.weights=FILE takes all but the head"
        )
    return {**checkpoint, CHECKPOINT_KEY: _with_current_targets(checkpoint[CHECKPOINT_KEY])}


def _with_current_targets(metadata: object) -> Any:
    """The metadata with the config's targets as they are called now."""
    if not isinstance(metadata, Mapping) or "config" not in metadata:
        return metadata
    return {**metadata, "config": with_current_targets(metadata["config"])}


def epochs_behind(checkpoint: Mapping[str, Any]) -> int:
    """Count the completed epochs of a checkpoint."""
    return int(checkpoint["epoch"]) + 1


def kept_best(path: Path, checkpoint: Mapping[str, Any]) -> tuple[Path | None, str]:
    """Find the best checkpoint up to this one's epoch, kept beside it by its run.

    Args:
        path: of the checkpoint.
        checkpoint: its contents.

    Returns:
        the file, or None and why it is not to be had.
    """
    best = path.with_name("best.ckpt")
    if not best.is_file():
        return None, f"no {best}"
    try:
        contents = torch.load(best, map_location="cpu", weights_only=True)
        is_later = epochs_behind(contents) > epochs_behind(checkpoint)
        scores = [_best_score(checkpoint), _best_score(contents)]
        shapes = [{name: value.shape for name, value in each["state_dict"].items()} for each in (checkpoint, contents)]
    except Exception as error:
        return None, f"{best} does not load ({first_line(error) or type(error).__name__})"
    if is_later:
        return None, f"{best} is of a later epoch"
    if scores[0] is None or shapes[0] != shapes[1] or scores[1] not in (None, scores[0]):
        return None, f"{best} is not the one that {path.name} knows of"
    return best, ""


def _best_score(checkpoint: Mapping[str, Any]) -> float | None:
    """The objective of the best epoch so far; None where the checkpoint does not say."""
    states = [state for state in checkpoint.get("callbacks", {}).values() if _is_of_best(state)]
    return float(states[0]["best_model_score"]) if states else None


def _is_of_best(state: object) -> bool:
    """Tell whether this is the state of the callback that keeps best.ckpt, as soon as it has kept one."""
    return isinstance(state, Mapping) and Path(state.get("best_model_path") or "").name == "best.ckpt"


def listed(names: tuple[str, ...], most: int = 4) -> str:
    """The first names, for a message."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
