"""Check that the process that writes a record still runs, as far as this machine can tell."""

from __future__ import annotations

import os
import socket

from streetlab.errors import UserError
from streetlab.records.record import RunRecord


def writer(record: RunRecord) -> int | None:
    """Id of this machine's process that is writing the record now; None where there is none."""
    status = record.status
    process = status.get("process")
    # a process that was killed has left its record to be resumed
    return process if status.get("state") == "running" and is_running(status.get("host"), process) else None


def is_running(host: str | None, process: int | None) -> bool:
    """Check that the process is one of this machine and still runs."""
    if host != socket.gethostname() or not process:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's process, but it is there
    return True


def state_now(record: RunRecord) -> str:
    """The record's state; `killed` where status.json says running and its process of this machine is gone.

    A record that cannot be read is `damaged`.
    """
    try:
        status = record.status
    except UserError:
        return "damaged"
    state, host = str(status.get("state", "unknown")), status.get("host")
    here = host == socket.gethostname()
    return "killed" if state == "running" and here and not is_running(host, status.get("process")) else state
