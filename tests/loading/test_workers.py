"""Workers that cannot hand over their batches end in one line, and never in waiting."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from streetlab.datasets.image_folder import ImageFolder
from streetlab.errors import UserError
from streetlab.io import parallel
from streetlab.loading import workers
from streetlab.loading.augment import Augment
from streetlab.loading.datamodule import CachedBatches, StreetData, _as_it_is
from streetlab.loading.workers import SharedMemoryError, check_shared_memory, checked_workers

linux = pytest.mark.skipif(sys.platform != "linux", reason="shared memory is /dev/shm on Linux alone")
Usage = namedtuple("Usage", "total used free")
KB = 1000


def _memory(monkeypatch: pytest.MonkeyPatch, total: int, free: int) -> None:
    monkeypatch.setattr(workers.shutil, "disk_usage", lambda path: Usage(total, total - free, free))


@pytest.mark.parametrize("number", [-1, 257, 1_000_000, 1.5, "2", None, True])
def test_a_number_of_workers_that_cannot_be_is_refused(number):
    with pytest.raises(UserError, match=f"num_workers: {number} is not a whole number from 0 to 256"):
        checked_workers(number)
    assert checked_workers(0) == 0


@linux
def test_batches_that_do_not_fit_the_shared_memory_are_refused_and_those_that_fit_are_not(monkeypatch):
    _memory(monkeypatch, 64_000 * KB, 1_000 * KB)
    with pytest.raises(UserError, match=r"/dev/shm has 64 MB, 1 MB of it free, and 2 workers need .* num_workers=0"):
        check_shared_memory(2, 250 * KB, batches=100)
    check_shared_memory(2, 200 * KB, batches=100)  # two batches are prefetched by each
    check_shared_memory(2, 250 * KB, batches=3)
    check_shared_memory(0, 250_000 * KB, batches=100)
    _memory(monkeypatch, 0, 0)  # a tmpfs of size=0 has no limit
    check_shared_memory(2, 250 * KB, batches=100)


@linux
def test_a_system_without_shared_memory_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "SHARED_MEMORY", tmp_path / "shm")
    with pytest.raises(UserError, match=r"there is no .*/shm, .*num_workers=0"):
        check_shared_memory(1, KB, batches=1)


@linux
def test_too_little_memory_is_said_before_anything_is_decoded(monkeypatch, tmp_path, photo_tree):
    tree = photo_tree(
        tmp_path / "photos", {f"{split}/{name}": 2 for split in ("train", "val", "test") for name in "ab"}
    )
    _memory(monkeypatch, 64_000 * KB, 60 * KB)
    cache = tmp_path / "cache"
    data = StreetData(ImageFolder("photos", tree, cache), Augment(), (64, 64), 4, num_workers=1)
    with pytest.raises(UserError, match=r"/dev/shm.*num_workers=0"):
        data.setup()
    assert not list(cache.rglob("*.npy"))


def _no_room(tensor: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left on device (28)")


@linux
def test_a_batch_that_finds_no_room_ends_the_reading(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "share_memory_", _no_room)  # the workers are forked
    rows = CachedBatches("train", np.arange(8, dtype=np.uint64), {"images": np.zeros((8, 4, 4, 3), np.uint8)})
    batches = [[(0, row), (0, row + 1)] for row in range(0, 8, 2)]
    loader = DataLoader(
        rows, batch_sampler=batches, collate_fn=_as_it_is, num_workers=2, timeout=60, multiprocessing_context="fork"
    )
    reading: Any = iter(loader)
    try:
        with pytest.raises(
            SharedMemoryError, match=r"^num_workers: /dev/shm has .* no room .*num_workers=0 "
        ) as caught:
            next(reading)
    finally:
        reading._shutdown_workers()  # PyTorch's exception keeps them, and the garbage collector waits for each
    assert "\n" not in str(caught.value)


def test_drawing_goes_on_in_threads_where_processes_get_no_locks(monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parallel, "ProcessPoolExecutor", full)
    with parallel.process_pool() as pool:
        assert list(parallel.in_order(pool, str, range(5))) == ["0", "1", "2", "3", "4"]


@linux
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare here")
def test_a_training_in_a_small_shared_memory_ends(tmp_path, photo_tree):
    small = "mount -t tmpfs -o size=300k tmpfs /dev/shm"
    if subprocess.run(["unshare", "-m", "sh", "-c", small], capture_output=True, check=False).returncode:
        pytest.skip("no mount of one's own here")
    tree = photo_tree(
        tmp_path / "photos", {f"{split}/{name}": 8 for split in ("train", "val", "test") for name in "ab"}
    )
    words = f"dataset=image_folder dataset.root={tree} image_size=[128,128] batch_size=8 num_workers=2 trainer=cpu"
    network = "model=timm_classifier model.name=test_resnet"
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{small} && exec {sys.executable} -m streetlab train {words} {network}"],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 2
    line = ended.stderr.strip().splitlines()[-1]
    assert "/dev/shm has 0.307 MB" in line
    assert "num_workers=0" in line
    assert "decoding" not in ended.stderr
    assert not list(Path(tmp_path).rglob("*.npy"))
