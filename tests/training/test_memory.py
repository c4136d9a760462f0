"""Freed memory is kept for the next step while a run lasts on the CPU, and given back at its end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LOOP = """
import resource, sys
import torch
from streetlab.training.memory import kept_memory

def faults(steps=20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        torch.ones(4_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

faults(2)
outside = faults()
with kept_memory("cpu"):
    faults(20)
    inside = faults()
    blocks = [torch.ones(4_000_000) for _ in range(8)]
    del blocks
    kept = held()
with kept_memory("gpu"):
    elsewhere = faults()
print(outside, inside, elsewhere, kept - held())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is Linux's")
def test_a_step_gets_the_memory_of_the_one_before_and_the_process_gives_it_back() -> None:
    # else glibc raises its threshold by itself, and keeps the blocks or not as the heap happens to lie
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(128 * 1024)}
    output = subprocess.run([sys.executable, "-c", LOOP], check=True, capture_output=True, text=True, env=env).stdout
    outside, inside, elsewhere, given_back = map(int, output.split())
    assert outside > 2000, "16 MB in pages of 4 KB, most of them asked for anew in every step"
    assert inside < outside / 50
    assert elsewhere > 2000
    assert given_back > 64e6
