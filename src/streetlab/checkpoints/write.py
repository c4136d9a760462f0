"""Write checkpoint files: reduced to what using them needs, or of zero epochs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io import TorchCheckpointIO

from streetlab.checkpoints.read import CHECKPOINT_KEY, KEPT_KEYS
from streetlab.io import files
from streetlab.io.filenames import encodable


class WholeFiles(TorchCheckpointIO):
    """Write the checkpoints of a Trainer as all other files of a run: in full or not at all.

    Lightning's own writes to TMPDIR and moves the file from there. Where that is another file system, the move copies,
    and a full disk or a kill leaves half a checkpoint under its final name.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        files.write_bytes(Path(path), lambda file: torch.save(checkpoint, file))


def strip(path: Path, checkpoint: dict[str, Any]) -> None:
    """Reduce the file of a checkpoint, whose contents are given, to `KEPT_KEYS`."""
    kept = {key: checkpoint[key] for key in KEPT_KEYS}
    files.write_bytes(path, lambda file: torch.save(kept, file))


def retire(folder: Path) -> None:
    """Strip the last.ckpt of a completed run; where the last epoch was the best, the two become one file.

    May be called again, and has nothing to do then.
    """
    best, last = folder / "best.ckpt", folder / "last.ckpt"
    checkpoint = _mapped(last)
    if set(checkpoint) == set(KEPT_KEYS):
        return
    if best.exists() and _mapped(best)["epoch"] == checkpoint["epoch"]:
        files.link(best, last)
    else:
        strip(last, checkpoint)


def _mapped(path: Path) -> dict[str, Any]:
    mapped = encodable(str(path)) == str(path)  # PyTorch maps no file whose path is not UTF-8
    contents: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    return contents


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


def write_checkpoint(path: Path, state: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Write a checkpoint of zero epochs, with all that using it needs."""
    contents = {
        "epoch": -1,
        "global_step": 0,
        "pytorch-lightning_version": pl.__version__,
        "state_dict": state,
        CHECKPOINT_KEY: metadata,
    }
    files.write_bytes(path, lambda file: torch.save(contents, file))
