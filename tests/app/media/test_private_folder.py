"""Visitors' photos do not outlive their server, even where that was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from streetlab.app.media.private_folder import private_folder

SERVER = """
import sys, time
from streetlab.app.media.private_folder import private_folder
with private_folder() as folder:
    (folder / "photo").write_text("a face")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_it_is_ours_alone_and_deleted_at_the_end(temporary):
    with private_folder() as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "photo").write_text("a face")
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_killed_server_is_deleted_by_the_next_and_that_of_a_living_one_stays(temporary):
    (temporary / "streetlab-app-a-file").touch()
    other = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        theirs = Path(other.stdout.readline().strip())
        with private_folder() as ours:
            assert (theirs / "photo").exists()
        other.send_signal(signal.SIGKILL)
        other.wait(60)
        assert (theirs / "photo").exists()
        with private_folder() as ours:
            assert {path.name for path in temporary.iterdir()} == {ours.name, "streetlab-app-a-file"}
    finally:
        other.kill()
        other.wait()
