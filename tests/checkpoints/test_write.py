"""A checkpoint is there in full or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch

from streetlab.errors import UserError
from streetlab.training.trainer import build_trainer


def test_a_disk_that_fills_up_leaves_the_checkpoint_before_whole_wherever_tmpdir_is(tmp_path, monkeypatch) -> None:
    """Lightning writes to TMPDIR and moves the file; onto another file system that is a copy, which may break off."""
    files = build_trainer(accelerator="cpu", precision="32-true", root=tmp_path).strategy.checkpoint_io
    path = tmp_path / "last.ckpt"
    files.save_checkpoint({"epoch": 1, "weights": torch.arange(5)}, path)

    def copy(_: object, target: str | Path, *__: object) -> None:
        Path(target).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def rename(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(shutil, "move", copy)
        full.setattr(os, "replace", rename)
        with pytest.raises(UserError, match=r"cannot write .*last\.ckpt: No space left on device"):
            files.save_checkpoint({"epoch": 2}, path)
    assert list(tmp_path.iterdir()) == [path]
    assert torch.equal(torch.load(path, weights_only=True)["weights"], torch.arange(5))
