"""What is done to a running command: signals, no memory, a full, slow or read-only disk, a clock that jumps."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
_MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
_DISK_GROUPS = Path("/sys/fs/cgroup/blkio")
_CHOOSING = threading.Lock()  # two at once would choose one device
_DISK_BYTES = 256 * 1024**2
_DISK_SECONDS = 8
"""So long a slow disk takes to write what the command writes."""
_INTERRUPTED = (-signal.SIGINT, 130)
"""The same to a shell. Python ends by the signal itself where Ctrl-C came inside of `exec`, caught or not."""


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

    def free(self) -> tuple[int, int]:
        """Blocks and files that it has room for: both tell whether something has been written."""
        room = os.statvfs(self.folder)
        return room.f_bfree, room.f_ffree

    @contextmanager
    def on_a_disk(self) -> Iterator[str]:
        """Put the contents on a disk that writes at once, under the same path; yields the disk's number."""
        image = self.folder.with_suffix(".image")
        with image.open("wb") as file:
            file.truncate(_DISK_BYTES)
        _run("mkfs.ext4", "-q", str(image))
        with _CHOOSING:
            device = _run("losetup", "--find", "--show", str(image)).strip()
        aside = self.folder.with_suffix(".aside")
        aside.mkdir(exist_ok=True)
        try:
            _run("mount", "-o", "sync", device, str(aside))
            (aside / "lost+found").rmdir()
            _run("cp", "-a", f"{self.folder}/.", str(aside))
            _run("mount", "--bind", str(aside), str(self.folder))
            number = Path(device).stat().st_rdev
            try:
                yield f"{os.major(number)}:{os.minor(number)}"
            finally:
                self.unmount()
            self.empty()
            _run("cp", "-a", f"{aside}/.", str(self.folder))
        finally:
            subprocess.run(["umount", str(aside)], check=False, capture_output=True)
            _run("losetup", "--detach", device)
            image.unlink()


def _run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@dataclass
class Call:
    """One call of the command in a place, while something happens to it.

    Attributes:
        begins: seconds that it takes undisturbed until it first writes: it imports packages.
        seconds: that it takes undisturbed in all. Neither counts the time that it waits for a processor, so that a busy
            machine shifts no moment.
        growth: bytes that it writes undisturbed.
        peak: bytes of memory that it needs undisturbed.
        when: the moment of the disturbance, a share of `seconds` (or of `growth`, or of `peak`). Where most pass
            before it first writes, these are the first three fifths.
        start: starts the command, with further environment variables.
    """

    place: Place
    begins: float
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
        early = min(0.6, self.begins / self.seconds)
        moment = (
            self.begins * self.when / early
            if self.when < early
            else self.begins + (self.seconds - self.begins) * (self.when - early) / (1 - early)
        )
        started = time.monotonic()
        while process.poll() is None and (elapsed := time.monotonic() - started) < self.most_seconds:
            if elapsed - waited(process.pid) >= moment:
                return True
            time.sleep(0.03)
        return False


def waited(process: int) -> float:
    """The seconds that a process and those it has started have waited for a processor; 0 once it has ended."""
    try:
        nanoseconds = Path(f"/proc/{process}/schedstat").read_text().split()[1]
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0.0
    return int(nanoseconds) / 1e9 + sum(waited(int(one)) for one in children)


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


def _signalled(
    number: signal.Signals, allowed: tuple[int, ...], send: Callable[[int, int], None] = os.kill
) -> Callable[[Call], Outcome]:
    def disturb(call: Call) -> Outcome:
        process = call.start()
        applied = call.moment(process)
        if applied:
            send(process.pid, number)
        return Outcome(call.wait(process, 60), applied, (0, *allowed))

    return disturb


def _stopped(call: Call) -> Outcome:
    process = call.start()
    applied = call.moment(process)
    if applied:
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(2)
        os.killpg(process.pid, signal.SIGCONT)
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


def _slow_disk(call: Call) -> Outcome:
    with call.place.on_a_disk() as disk, _group(_DISK_GROUPS) as group:
        limit = max(call.growth, 1024**2) // _DISK_SECONDS
        (group / "blkio.throttle.write_bps_device").write_text(f"{disk} {limit}")
        return Outcome(call.wait(call.start(group=group)), True, (0,))


def _little_memory(call: Call) -> Outcome:
    with _group(_MEMORY_GROUPS) as group:
        (group / "memory.limit_in_bytes").write_text(str(int((0.3 + 0.6 * call.when) * call.peak)))
        return Outcome(call.wait(call.start(group=group)), True, (0, 1, -signal.SIGKILL))


@contextmanager
def _group(kind: Path) -> Iterator[Path]:
    """Make a group of processes, for a limit of that kind."""
    group = kind / f"soak-{os.getpid()}-{time.monotonic_ns()}"
    group.mkdir()
    try:
        yield group
    finally:
        until = time.monotonic() + 5
        while (group / "tasks").read_text() and time.monotonic() < until:  # its last process is being taken away
            time.sleep(0.1)
        with suppress(OSError):  # one that outlives its command is found later
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
    "terminate": _signalled(signal.SIGTERM, (-signal.SIGTERM, *_INTERRUPTED, 143)),  # ends as by Ctrl-C
    "interrupt": _signalled(signal.SIGINT, _INTERRUPTED, os.killpg),  # to all processes, as Ctrl-C does
    "stop": _stopped,
    "full disk": _full_disk,
    "read-only": _read_only,
    "slow disk": _slow_disk,
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


def _disk_fault() -> str:
    """Why no disk can be made slow; empty where one can."""
    if not os.access(_DISK_GROUPS, os.W_OK):
        return "no cgroup of block devices can be made"
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder) / "mounted", "64k")
        place.mount()
        try:
            with place.on_a_disk():
                return ""
        except (OSError, subprocess.CalledProcessError) as error:
            return f"no disk can be made of a file: {getattr(error, 'stderr', None) or error}".strip()
        finally:
            place.unmount()


@functools.cache
def impossible_here() -> dict[str, str]:
    """The disturbances that this machine does not allow, with the reason."""
    impossible = {}
    if not can_mount():
        impossible |= dict.fromkeys(("full disk", "read-only", "slow disk"), "no file system can be mounted")
    elif fault := _disk_fault():
        impossible["slow disk"] = fault
    if not os.access(_MEMORY_GROUPS, os.W_OK):
        impossible["little memory"] = "no cgroup of memory can be made"
    if FAKETIME is None:
        impossible["clock jumps"] = "libfaketime is not installed"
    return impossible
