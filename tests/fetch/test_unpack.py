"""Check what comes out of a zip, and that a bad one leaves nothing."""

from __future__ import annotations

import errno
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from streetlab.errors import UserError
from streetlab.fetch.unpack import files_sha256, is_whole_zip, unpack

FOLDERS = ("train", "test")
FILES = {
    "Repo-1/CamVid/train/b.png": b"b",
    "Repo-1/CamVid/train/a.png": b"a",
    "Repo-1/CamVid/test/c.png": b"c",
    "Repo-1/CamVid/list.txt": b"not wanted",
    "Repo-1/Other/train/d.png": b"not wanted",
    "Repo-1/CamVid/test/../../../../out.png": b"hostile",
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "camvid.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in FILES.items():
            packed.writestr(name, content)
    return path


def test_only_the_wanted_folders_come_out(archive, tmp_path):
    unpack(archive, "CamVid", FOLDERS, tmp_path / "camvid", None)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert names == ["camvid.zip", "camvid/test/c.png", "camvid/train/a.png", "camvid/train/b.png"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs coreutils")
def test_the_checksum_is_that_of_sha256sum(archive, tmp_path):
    digest = unpack(archive, "CamVid", FOLDERS, tmp_path / "camvid", None)
    line = "find train test -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    done = subprocess.run(line, shell=True, cwd=tmp_path / "camvid", capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == digest
    assert files_sha256(tmp_path / "camvid", FOLDERS) == digest


def test_other_files_than_expected_leave_nothing(archive, tmp_path):
    with pytest.raises(UserError, match="the SHA-256 of its files is"):
        unpack(archive, "CamVid", FOLDERS, tmp_path / "camvid", "0" * 64)
    assert not any(tmp_path.iterdir())


def test_a_damaged_zip_leaves_nothing(archive, tmp_path):
    content = bytearray(archive.read_bytes())
    content[40:60] = bytes(20)
    archive.write_bytes(content)
    with pytest.raises(UserError, match="is damaged or no zip"):
        unpack(archive, "CamVid", FOLDERS, tmp_path / "camvid", None)
    assert not any(tmp_path.iterdir())


def test_a_page_in_place_of_a_zip_leaves_nothing(tmp_path):
    archive = tmp_path / "camvid.zip"
    archive.write_text("<html>please log in</html>")
    with pytest.raises(UserError, match="is damaged or no zip"):
        unpack(archive, "CamVid", FOLDERS, tmp_path / "camvid", None)
    assert not any(tmp_path.iterdir())


def test_a_missing_folder_is_named(archive, tmp_path):
    with pytest.raises(UserError, match="there is no CamVid/val/ in it"):
        unpack(archive, "CamVid", (*FOLDERS, "val"), tmp_path / "camvid", None)
    assert [path.name for path in tmp_path.iterdir()] == ["camvid.zip"]


def test_a_disk_that_fills_up_leaves_the_zip_alone(archive, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(UserError, match=r"No space left on device; .*output=DIR"):
        unpack(archive, "CamVid", FOLDERS, tmp_path / "camvid", None)
    assert [path.name for path in tmp_path.iterdir()] == ["camvid.zip"]


def test_a_folder_with_something_in_it_is_not_replaced(archive, tmp_path):
    (tmp_path / "camvid").mkdir()
    (tmp_path / "camvid" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"cannot write .*camvid"):
        unpack(archive, "CamVid", FOLDERS, tmp_path / "camvid", None)
    assert (tmp_path / "camvid" / "mine.txt").read_text() == "mine"


def test_a_cut_zip_is_not_whole(archive, tmp_path):
    assert is_whole_zip(archive)
    archive.write_bytes(archive.read_bytes()[:-30])
    assert not is_whole_zip(archive)
    assert not is_whole_zip(tmp_path / "none.zip")
