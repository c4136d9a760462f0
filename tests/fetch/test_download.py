"""Check downloads against a server on this machine that cuts, lies and changes its files."""

from __future__ import annotations

import fcntl
import hashlib
from pathlib import Path

import pytest
from tests.fetch.conftest import BODY

from streetlab.errors import UserError
from streetlab.fetch.download import DownloadError, download

DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "file.bin"


def test_a_file_comes_whole_and_leaves_nothing_beside_it(server, target):
    calls: list[tuple[int, int | None]] = []
    assert download(server.url("file.bin"), target, DIGEST, lambda done, total: calls.append((done, total))) == DIGEST
    assert target.read_bytes() == BODY
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]
    assert calls[0] == (0, len(BODY))
    assert calls[-1] == (len(BODY), len(BODY))


@pytest.mark.parametrize("digest", [DIGEST, None])
def test_a_cut_connection_goes_on_where_it_was_cut(server, target, digest):
    server.cuts = [300_000, 200_000]
    assert download(server.url("file.bin"), target, digest) == DIGEST
    assert server.requests == ["", "bytes=300000-", "bytes=500000-"]


def test_a_stopped_download_goes_on_in_the_next_call(server, target):
    server.cuts = [300_000] + [0] * 5
    with pytest.raises(DownloadError, match="300,000 bytes are kept"):
        download(server.url("file.bin"), target)
    assert not target.exists()
    server.cuts, server.requests = [], []
    assert download(server.url("file.bin"), target) == DIGEST
    assert server.requests == ["bytes=300000-"]


def test_a_file_that_changed_meanwhile_starts_over(server, target):
    server.cuts = [300_000] + [0] * 5
    with pytest.raises(DownloadError):
        download(server.url("file.bin"), target)
    server.cuts, server.tag, server.files["file.bin"] = [], '"2"', BODY[::-1]
    download(server.url("file.bin"), target)
    assert target.read_bytes() == BODY[::-1], "halves of two files were joined"


def test_without_tag_and_checksum_nothing_is_continued(server, target):
    server.tag, server.cuts = "", [300_000]
    download(server.url("file.bin"), target)
    assert server.requests == ["", ""], "nothing says that both parts are of one file"
    assert target.read_bytes() == BODY


def test_a_server_without_ranges_sends_all_again(server, target):
    server.ranges, server.cuts = False, [300_000]
    assert download(server.url("file.bin"), target, DIGEST) == DIGEST
    assert server.requests == ["", "bytes=300000-"]


def test_what_came_whole_before_a_kill_is_not_brought_again(server, target):
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(BODY)
    assert download(server.url("file.bin"), target, DIGEST) == DIGEST
    assert server.requests == [f"bytes={len(BODY)}-"]


def test_too_long_a_part_is_thrown_away(server, target):
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(BODY + b"more")
    assert download(server.url("file.bin"), target, DIGEST) == DIGEST


def test_a_server_that_keeps_cutting_is_given_up_and_what_came_is_kept(server, target):
    server.ranges, server.cuts = False, [1000] * 20
    with pytest.raises(DownloadError, match="cut after 1,000 of 1,000,000 bytes; 1,000 bytes are kept"):
        download(server.url("file.bin"), target)
    assert len(server.requests) == 6


def test_a_passing_fault_of_the_server_is_tried_again(server, target):
    server.statuses = [503, 429]
    assert download(server.url("file.bin"), target) == DIGEST


def test_a_missing_file_is_not_tried_again(server, target):
    with pytest.raises(DownloadError, match=r"none\.bin: the server answers 404 Not Found"):
        download(server.url("none.bin"), target)
    assert len(server.requests) == 1
    assert not any(target.parent.iterdir())


def test_a_wrong_checksum_deletes_what_came_and_names_both(server, target):
    with pytest.raises(UserError, match=f"its SHA-256 is {DIGEST}, not 00000000…"):
        download(server.url("file.bin"), target, "00000000")
    assert not any(target.parent.iterdir())


def test_the_first_digits_of_a_checksum_are_enough(server, target):
    assert download(server.url("file.bin"), target, DIGEST[:8]) == DIGEST


def test_a_mixture_of_two_files_is_found_by_the_checksum(server, target):
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(b"x" * 1000)
    with pytest.raises(UserError, match="SHA-256"):
        download(server.url("file.bin"), target, DIGEST)
    assert download(server.url("file.bin"), target, DIGEST) == DIGEST


def test_a_full_disk_is_one_line(server, target):
    target.parent.mkdir()
    target.with_name("file.bin.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cannot write .*file\.bin\.part: No space left on device; .*output=DIR"):
        download(server.url("file.bin"), target)


def test_too_little_space_is_said_before_anything_comes(server, target, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: _Usage(free=999_999))
    with pytest.raises(UserError, match="1,000,000 bytes are to come and 999,999 are free"):
        download(server.url("file.bin"), target)


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_file_of_unknown_length_comes_whole(server, target):
    server.length = False
    assert download(server.url("file.bin"), target) == DIGEST


def test_no_network_is_said_at_once(server, target):
    with pytest.raises(DownloadError, match=r"can't be reached \(Connection refused\)"):
        download("http://127.0.0.1:9/file.bin", target)


def test_two_processes_do_not_write_one_file(server, target):
    target.parent.mkdir()
    with target.with_name("file.bin.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is bringing this file"):
            download(server.url("file.bin"), target)
