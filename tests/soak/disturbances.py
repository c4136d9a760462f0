"""What is done to a running command: signals, no memory, no space, no permission to write, a clock that jumps."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
_MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")


@dataclass
class Place:
    """A working folder on a file system of its own, which can fill up or turn read-only."""

    folder: Path
    roomy: str = "1g"

    def mount(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={self.roomy}", "tmpfs", str(self.folder)],
            check=True,
            capture_output=True,
        )

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False)

    def remount(self, option: str) -> bool:
        """Change an option of the file system; False where what is open does not allow it."""
        done = subprocess.run(["mount", "-o", f"remount,{option}", str(self.folder)], capture_output=True, check=False)
        return done.returncode == 0

    def empty(self) -> None:
        self.remount(f"rw,size={self.roomy}")
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def used(self) -> int:
        return shutil.disk_usage(self.folder).used


@dataclass
class Call:
    """One call of the command in a place, while something happens to it.

    Attributes:
        seconds: that it takes undisturbed.
        growth: bytes that it writes undisturbed.
        peak: bytes of memory that it needs undisturbed.
        when: the moment of the disturbance, a share of `seconds` (or of `growth`, or of `peak`).
        start: starts the command, with further environment variables.
    """

    place: Place
    seconds: float
    growth: int
    peak: int
    when: float
    start: Callable[..., subprocess.Popen[bytes]]
    most_seconds: float = 300.0

    def wait(self, process: subprocess.Popen[bytes], seconds: float | None = None) -> int | None:
        try:
            return process.wait(seconds if seconds is not None else self.most_seconds)
        except subprocess.TimeoutExpired:
            return None

    def moment(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for the moment; True if the command still runs then."""
        return self.wait(process, self.when * self.seconds) is None


@dataclass(frozen=True)
class Outcome:
    """The end of a disturbed call.

    Attributes:
        code: the exit code of the command; None where it had to be killed since it did not end.
        applied: whether the disturbance met the command while it ran.
        allowed: exit codes that this disturbance excuses.
    """

    code: int | None
    applied: bool
    allowed: tuple[int, ...]


def _signalled(number: signal.Signals, allowed: tuple[int, ...]) -> Callable[[Call], Outcome]:
    def disturb(call: Call) -> Outcome:
        process = call.start()
        applied = call.moment(process)
        process.send_signal(number)
        return Outcome(call.wait(process, 60), applied, (0, *allowed))

    return disturb


def _stopped(call: Call) -> Outcome:
    process = call.start()
    applied = call.moment(process)
    process.send_signal(signal.SIGSTOP)
    time.sleep(2)
    process.send_signal(signal.SIGCONT)
    return Outcome(call.wait(process), applied, (0,))


def _full_disk(call: Call) -> Outcome:
    call.place.remount(f"size={call.place.used() + max(4096, int(call.when * call.growth))}")
    process = call.start()
    code = call.wait(process)
    call.place.remount(f"size={call.place.roomy}")
    return Outcome(code, True, (0, 1, 2))


def _read_only(call: Call) -> Outcome:
    process = call.start()
    applied = call.moment(process)
    until = time.monotonic() + 3
    while applied and not call.place.remount("ro") and time.monotonic() < until:  # a file is open for writing
        time.sleep(0.02)
        applied = process.poll() is None
    code = call.wait(process)
    call.place.remount("rw")
    return Outcome(code, applied, (0, 1, 2))


def _little_memory(call: Call) -> Outcome:
    with _memory_group(int((0.3 + 0.6 * call.when) * call.peak)) as group:
        process = call.start(group=group)
        return Outcome(call.wait(process), True, (0, 1, -signal.SIGKILL))


@contextmanager
def _memory_group(limit: int) -> Iterator[Path]:
    group = _MEMORY_GROUPS / f"soak-{os.getpid()}-{time.monotonic_ns()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        yield group
    finally:
        until = time.monotonic() + 5
        while (group / "tasks").read_text() and time.monotonic() < until:  # its last process is being taken away
            time.sleep(0.1)
        group.rmdir()


def _clock_jumps(call: Call) -> Outcome:
    assert FAKETIME is not None
    clock = call.place.folder.with_suffix(".clock")
    clock.write_text("+0")
    process = call.start(
        LD_PRELOAD=str(FAKETIME), FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_NO_CACHE="1", DONT_FAKE_MONOTONIC="1"
    )
    applied = call.moment(process)
    clock.write_text("-2d" if call.when < 0.5 else "+400d")
    code = call.wait(process)
    clock.unlink()
    return Outcome(code, applied, (0,))


def _stale_lock(call: Call) -> Outcome:
    """Kill -9, after which another program gets the number of the dead process."""
    process = call.start()
    applied = call.moment(process)
    process.kill()
    code = call.wait(process)
    other = subprocess.Popen(["sleep", "30"])
    for path in call.place.folder.rglob("*"):
        if path.suffix in (".json", ".lock", ".pid") and path.is_file() and path.stat().st_size < 100_000:
            text = path.read_text(errors="surrogateescape")
            path.write_text(re.sub(rf"\b{process.pid}\b", str(other.pid), text), errors="surrogateescape")
    return Outcome(code, applied, (0, -signal.SIGKILL))


def _second_process(call: Call) -> Outcome:
    first = call.start()
    applied = call.moment(first)
    second = call.start()
    codes = [call.wait(first), call.wait(second)]
    return Outcome(None if None in codes else max(code for code in codes if code is not None), applied, (0, 1, 2))


DISTURBANCES: dict[str, Callable[[Call], Outcome]] = {
    "kill": _signalled(signal.SIGKILL, (-signal.SIGKILL,)),
    "terminate": _signalled(signal.SIGTERM, (-signal.SIGTERM, 143)),
    "interrupt": _signalled(signal.SIGINT, (-signal.SIGINT, 130)),
    "stop": _stopped,
    "full disk": _full_disk,
    "read-only": _read_only,
    "little memory": _little_memory,
    "clock jumps": _clock_jumps,
    "stale lock": _stale_lock,
    "second process": _second_process,
}


@functools.cache
def can_mount() -> bool:
    """Tell whether this process may mount a file system."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder) / "mounted", "64k")
        try:
            place.mount()
        except (OSError, subprocess.CalledProcessError):
            return False
        place.unmount()
        return True


def impossible_here() -> dict[str, str]:
    """The disturbances that this machine does not allow, with the reason."""
    impossible = {}
    if not can_mount():
        impossible |= dict.fromkeys(("full disk", "read-only"), "no file system can be mounted")
    if not os.access(_MEMORY_GROUPS, os.W_OK):
        impossible["little memory"] = "no cgroup of memory can be made"
    if FAKETIME is None:
        impossible["clock jumps"] = "libfaketime is not installed"
    return impossible
