"""Assign one GPU to each worker process of a sweep: the first that no other worker of this user here has."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

_claimed: tuple[str, int] | None = None
"""This process's device and the descriptor that keeps its claim."""


def take_device() -> str | None:
    """Restrict this process to one visible GPU by `CUDA_VISIBLE_DEVICES`; the same one when called again.

    To be called before CUDA starts. Where there is no GPU nothing happens: joblib has divided the cores then.

    Returns:
        the device as `CUDA_VISIBLE_DEVICES` names it, None without a GPU.
    """
    global _claimed
    if _claimed is None:
        devices = visible_devices()
        if not devices:
            return None
        _claimed = _claim(devices, Path(tempfile.gettempdir()) / f"streetlab-devices-{os.getuid()}")
        os.environ["CUDA_VISIBLE_DEVICES"] = _claimed[0]
    return _claimed[0]


def visible_devices() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them: numbers or UUIDs."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        names = (name.strip() for name in listed.split(","))
        return list(itertools.takewhile(re.compile(r"\d+$|GPU-|MIG-").match, names))  # CUDA stops at the first other
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]  # asks NVML, which does not start CUDA


def _claim(devices: Sequence[str], folder: Path) -> tuple[str, int]:
    """Lock the first free device; where none is, the first that one other process has, and so on.

    A lock ends with its process, however that dies, and other sweeps of the machine see it.
    """
    import fcntl

    folder.mkdir(mode=0o700, exist_ok=True)
    for others in itertools.count():
        for device in devices:
            file = folder / f"{device.replace('/', '_')}.{others}"
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                return device, descriptor
    raise AssertionError("a free place is always found")
