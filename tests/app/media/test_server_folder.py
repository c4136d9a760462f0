"""The server's folder: never two servers on it, nothing of a dead one left, nothing of others touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from streetlab.app.media.server_folder import clear_dead, kept_folder, private_folder
from streetlab.errors import UserError

ALIVE = """
import sys, time
from streetlab.app.media import server_folder
with getattr(server_folder, sys.argv[1])(*map(server_folder.Path, sys.argv[2:])) as folder:
    (folder / "uploads").mkdir()
    (folder / "uploads" / "a").write_text("photo of a stranger")
    print(folder, flush=True)
    time.sleep(600)
"""


def alive(temporary: Path, *words: str) -> tuple[subprocess.Popen[str], Path]:
    """A process that uses a folder, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", ALIVE, *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_the_private_folder_of_a_killed_server_is_deleted_by_the_next_that_of_a_living_one_is_not(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    strange = tmp_path / "streetlab-app-of-another-program"
    strange.mkdir()
    dead, left = alive(tmp_path, "private_folder")
    living, used = alive(tmp_path, "private_folder")
    try:
        dead.kill()
        dead.wait()
        assert (left / "uploads" / "a").exists()
        with private_folder() as mine:
            assert mine.stat().st_mode & 0o077 == 0
            assert sorted(tmp_path.iterdir()) == sorted([mine, used, strange])
            assert clear_dead(tmp_path) == 0
        assert sorted(tmp_path.iterdir()) == sorted([used, strange])
    finally:
        living.kill()
        living.wait()


def test_a_kept_folder_outlives_a_kill_belongs_to_one_server_and_is_emptied_at_the_end(tmp_path):
    folder = tmp_path / "kept"
    process, _ = alive(tmp_path, "kept_folder", str(folder))
    try:
        with pytest.raises(UserError, match=r"folder: a running server uses .*; end it, or name another"):
            kept_folder(folder).__enter__()
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        process.kill()
    with kept_folder(folder) as again:
        assert (again / "uploads" / "a").read_text() == "photo of a stranger"
    assert list(folder.iterdir()) == []


def test_a_folder_with_files_of_others_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"folder: .* holds other files \('thesis.txt'\); name an empty"):
        kept_folder(tmp_path).__enter__()
    assert (tmp_path / "thesis.txt").exists()
    with pytest.raises(UserError, match=r"folder: .*thesis.txt cannot be used"):
        kept_folder(tmp_path / "thesis.txt").__enter__()
