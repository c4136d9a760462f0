"""The server's memory: what its threads free goes back into few heaps."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import ctypes, sys, threading
from streetlab.app.jobs.heaps import share_heaps
if sys.argv[1] == "few":
    share_heaps()
barrier = threading.Barrier(12)
def work():
    kept = [bytes(50_000) for _ in range(20)]
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries of C have no such heaps")
def test_threads_share_two_heaps(tmp_path: Path):
    heaps = {}
    for kind in ("many", "few"):
        subprocess.run([sys.executable, "-c", SCRIPT, kind, str(tmp_path / kind)], check=True, timeout=120)
        heaps[kind] = (tmp_path / kind).read_text().count("<heap nr=")
    assert heaps["few"] <= 2 < heaps["many"]


HOLES = """
import resource, sys
from streetlab.app.jobs.heaps import trim_heaps

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

kept = [bytes(100_000) for _ in range(2_000)]
kept = kept[::50]  # 196 MB free between what stays
before = resident()
if sys.argv[1] == "trim":
    trim_heaps()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries of C have no such heaps")
def test_what_is_free_between_what_stays_goes_back_to_the_system() -> None:
    freed = {
        kind: int(subprocess.run([sys.executable, "-c", HOLES, kind], check=True, capture_output=True).stdout)
        for kind in ("trim", "not")
    }
    assert freed["not"] < 10e6 < 100e6 < freed["trim"]
