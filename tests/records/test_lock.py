"""The lock of a record: one process holds it, and it goes with that process, whatever it has forked."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

import pytest
from tests.support.locked_folder import locked

from streetlab.errors import UserError
from streetlab.records.lock import sole_writer
from streetlab.records.resume import opened_record

HOLDER = """
import os, sys, time
from pathlib import Path
from streetlab.records.lock import sole_writer
with sole_writer(Path(sys.argv[1])):
    if not os.fork():
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


def test_another_process_is_refused_until_the_holder_is_gone_though_its_worker_lives(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    worker = int(holder.stdout.readline())
    try:
        with pytest.raises(UserError, match=f"{tmp_path} is being written by another process"), sole_writer(tmp_path):
            pass
        holder.kill()
        holder.wait()
        os.kill(worker, 0)  # it is there
        with sole_writer(tmp_path):
            pass
    finally:
        holder.kill()
        with suppress(ProcessLookupError):
            os.kill(worker, 9)
        holder.stdout.close()


def test_the_lock_is_free_again_after_the_block_and_after_a_fault(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), sole_writer(tmp_path):
            raise ZeroDivisionError
    with sole_writer(tmp_path), sole_writer(tmp_path):
        pass
    with locked(tmp_path), pytest.raises(UserError, match="is being written"), sole_writer(tmp_path):
        pass


def test_without_locks_the_process_that_the_files_name_is_believed(tmp_path, monkeypatch):
    monkeypatch.setattr("streetlab.records.lock.fcntl", None)
    with pytest.raises(UserError, match=f"is being written by process {os.getppid()}"):
        sole_writer(tmp_path, os.getppid()).__enter__()
    for named in (None, os.getpid()):
        with sole_writer(tmp_path, named):
            pass


def test_a_record_completed_between_two_looks_is_not_trained_on(make_record, tmp_path):
    record = make_record("done")
    with (
        pytest.raises(UserError, match="done was completed by another process meanwhile"),
        opened_record(record.path, None, "auto"),
    ):
        pass
    assert record.state == "completed"
