"""Files of the record are whole or absent."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from streetlab.errors import UserError
from streetlab.io import files


def test_a_kill_before_the_rename_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = files.write_text(tmp_path / "status.json", "old")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "read-only"), (errno.EACCES, "permission")],
)
def test_a_full_or_read_only_disk_names_the_file_and_what_to_do(tmp_path, monkeypatch, number, advice):
    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=advice) as caught:
        files.write_json(tmp_path / "metrics.json", {"a": 1})
    assert str(tmp_path / "metrics.json") in str(caught.value)
    assert "output=DIR" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_although_what_writes_says_something_else(tmp_path):
    def write(file):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            raise RuntimeError("unexpected pos 2397376 vs 2397268")  # as PyTorch does

    with pytest.raises(UserError, match=r"last.ckpt: No space left on device; the disk is full"):
        files.write_bytes(tmp_path / "last.ckpt", write)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_the_middle_of_a_checkpoint_is_ctrl_c(tmp_path):
    class Interrupted:
        """Raises what a signal would, in the second write that PyTorch's zip writer asks for."""

        writes = 0

        def write(self, content):
            self.writes += 1
            if self.writes == 2:
                raise KeyboardInterrupt
            return len(content)

    with pytest.raises(KeyboardInterrupt):
        files.write_bytes(tmp_path / "last.ckpt", lambda file: torch.save(torch.zeros(2), Interrupted()))
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_is_needed_is_named(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        files.write_text(tmp_path / "runs" / "a.txt", "x")


def test_a_writer_that_fails_half_way_leaves_nothing(tmp_path):
    def half(file):
        file.write(b"half")
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        files.write_bytes(tmp_path / "curves.png", half)
    assert list(tmp_path.iterdir()) == []
    files.write_bytes(tmp_path / "curves.png", lambda file: file.write(b"whole"))
    assert (tmp_path / "curves.png").read_bytes() == b"whole"


def test_json_holds_plain_numbers_and_null_for_nan(tmp_path):
    value = {
        "a": np.float32(0.5),
        "b": np.int64(3),
        "c": float("nan"),
        "d": np.array([[1, 2]]),
        "e": (1, Path("x")),
    }
    value |= {"f": np.float64("inf"), "g": np.bool_(True), "ü": None}
    path = files.write_json(tmp_path / "new" / "m.json", value)
    expected = {"a": 0.5, "b": 3, "c": None, "d": [[1, 2]], "e": [1, "x"], "f": None, "g": True, "ü": None}
    assert json.loads(path.read_text()) == expected


def test_csv_survives_commas_quotes_and_line_breaks(tmp_path):
    rows = [{"a": 'x, "y"\nz', "b": None}, {"a": "ß"}]
    path = files.write_csv(tmp_path / "t.csv", rows, ["a", "b"])
    with path.open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"a": 'x, "y"\nz', "b": ""}, {"a": "ß", "b": ""}]
    with pytest.raises(ValueError, match="c"):
        files.write_csv(path, [{"c": 1}], ["a"])


def test_files_are_readable_by_others_as_the_umask_says(tmp_path):
    old = os.umask(0o022)
    try:
        path = files.write_text(tmp_path / "a", "x")
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o644
