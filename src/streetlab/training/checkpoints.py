"""What is done with checkpoint files around a training: resuming from one, keeping the best, leaving out the rest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from streetlab.data.index.labels import LabelSpace, same_names
from streetlab.errors import UserError, first_line
from streetlab.filenames import encodable
from streetlab.runs import files
from streetlab.tasks.base import CHECKPOINT_KEY

KEPT = ("epoch", "global_step", "pytorch-lightning_version", "state_dict", CHECKPOINT_KEY)
"""What using a checkpoint needs; what only resuming needs (optimizer, loops) triples the file."""


def read_resumable(path: Path, label_space: LabelSpace) -> dict[str, Any]:
    """The contents of a checkpoint that a run is to go on from.

    Raises:
        UserError: it does not load, is of a finished run, or was trained for other classes.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"resume: {path} does not load ({error}); resume=never trains anew") from None
    if isinstance(checkpoint, dict) and set(checkpoint) == set(KEPT):
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
    return checkpoint


def epochs_behind(checkpoint: Mapping[str, Any]) -> int:
    """How many epochs a checkpoint has behind it."""
    return int(checkpoint["epoch"]) + 1


def kept_best(path: Path, checkpoint: Mapping[str, Any]) -> tuple[Path | None, str]:
    """The best of the epochs that a checkpoint has behind it, which its run has kept beside it.

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


def _is_of_best(state: Any) -> bool:
    """Whether this is the state of the callback that keeps best.ckpt, as soon as it has kept one."""
    return isinstance(state, Mapping) and Path(state.get("best_model_path") or "").name == "best.ckpt"


def in_folder(state: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """The state of a ModelCheckpoint as if its files, of the same names, lay in another folder."""

    def there(path: str) -> str:
        return str(Path(folder) / Path(path).name) if path else path

    paths = ("best_model_path", "kth_best_model_path", "last_model_path")
    return {
        **state,
        **{key: there(state[key]) for key in paths},
        "dirpath": folder,
        "best_k_models": {there(path): score for path, score in state["best_k_models"].items()},
    }


def strip(path: Path, checkpoint: dict[str, Any]) -> None:
    """Reduce the file of a checkpoint, whose contents are given, to `KEPT`."""
    kept = {key: checkpoint[key] for key in KEPT}
    files.write_bytes(path, lambda file: torch.save(kept, file))


def retire(folder: Path) -> None:
    """Strip the last.ckpt of a completed run; where the last epoch was the best, the two become one file."""
    best, last = folder / "best.ckpt", folder / "last.ckpt"
    if best.exists() and _epoch(best) == _epoch(last):
        _link(best, last)
    else:
        strip(last, torch.load(last, map_location="cpu", weights_only=True))


def _epoch(path: Path) -> int:
    mapped = encodable(str(path)) == str(path)  # PyTorch maps no file whose path is not UTF-8
    return int(torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)["epoch"])


def _link(existing: Path, name: Path) -> None:
    twin = name.with_suffix(".linking")
    try:
        os.link(existing, twin)
    except OSError:  # a file system without hard links keeps both
        return
    twin.replace(name)


def listed(names: tuple[str, ...], most: int = 4) -> str:
    """The first names, for a message."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
