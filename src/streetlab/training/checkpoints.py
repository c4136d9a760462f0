"""What is done with checkpoint files around a training: resuming from one, keeping the best, leaving out the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from streetlab.data.index.labels import LabelSpace, same_names
from streetlab.errors import UserError
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


def epochs_behind(checkpoint: dict[str, Any]) -> int:
    """How many epochs a checkpoint has behind it."""
    return int(checkpoint["epoch"]) + 1


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
