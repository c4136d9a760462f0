"""`streetlab doctor`: say what is installed and on what hardware, and train one step on it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

import streetlab
from streetlab.errors import first_line
from streetlab.io.filenames import one_line

if TYPE_CHECKING:
    from omegaconf import DictConfig

PURPOSES = {
    "app": "streetlab app, the page in the browser",
    "docs": "make docs, the documentation site",
    "export": "streetlab export and compress",
    "mlflow": "records in MLflow",
    "pandas": "records as data frames",
    "photos": "HEIC photos of phones",
    "slurm": "jobs of a sweep on a SLURM cluster",
    "survey": "streets and districts from photos with places",
    "sweep": "searches with Optuna, and jobs of a sweep in several processes",
    "tensorboard": "logger=tensorboard",
    "video": "videos in predict and app",
    "weights": "ImageNet weights without a download",
}
"""What each extra is for. The extra dev holds all of them and the tools of developers; it is left out."""

STEP = (
    "dataset.train=8",
    "dataset.val=6",
    "dataset.test=6",
    "dataset.size=[32,64]",
    "model=timm_classifier",
    "model.name=test_resnet",
    "model.weights=none",
    "debug=fast_dev_run",
)
"""Words of a training of one batch, of a network and photos that need no download."""

_PATIENCE = 600


def run(cfg: DictConfig) -> None:
    """Entry point of the command: prints a line for each fact, and exits with 1 where something needed is broken."""
    faults = []
    for line, broken in _examination():
        print(one_line(line), flush=True)
        if broken:
            faults.append(line)
    if faults:
        print(f"\nbroken: {len(faults)}; the lines above that say BROKEN tell what to do")
        raise SystemExit(1)
    print("\neverything needed works")


def _examination() -> Iterator[tuple[str, bool]]:
    """Yield each line, and True with it where what it tells is needed and broken."""
    yield f"streetlab     {streetlab.__version__} in {Path(streetlab.__file__).parent}", False
    yield f"python        {platform.python_version()} in {sys.executable}", False
    yield from packages(_requirements())
    yield from _hardware()
    yield from training_step()


def _requirements() -> list[Requirement]:
    try:
        return [Requirement(line) for line in distribution("streetlab").requires or ()]
    except PackageNotFoundError:
        return []


def packages(requirements: Iterable[Requirement]) -> Iterator[tuple[str, bool]]:
    """Yield a line for the needed packages, one for each that is broken, and one for each extra.

    Args:
        requirements: of streetlab, those of extras with the marker `extra == "name"`.
    """
    needed: list[Requirement] = []
    extras: dict[str, list[Requirement]] = {}
    for requirement in requirements:
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed.append(requirement)
        for name in PURPOSES:
            if requirement.marker is not None and requirement.marker.evaluate({"extra": name}):
                extras.setdefault(name, []).append(requirement)
    if not needed:
        yield "packages      not known: streetlab runs from its source and was not installed by pip", False
        return
    faults = {requirement.name: fault for requirement in needed if (fault := _fault(requirement))}
    for name, fault in faults.items():
        yield f"packages      BROKEN {name}: {fault}; pip install --upgrade '{name}'", True
    yield f"packages      {len(needed) - len(faults)} of {len(needed)} needed ones are installed", False
    for name, wanted in sorted(extras.items()):
        missing = [requirement.name for requirement in wanted if _fault(requirement)]
        state = f"lacks {', '.join(missing)}: pip install 'streetlab[{name}]'" if missing else "installed"
        yield f"  [{name}]".ljust(18) + f"{state} (for {PURPOSES[name]})", False


def _fault(requirement: Requirement) -> str:
    """Say what is wrong with a package; an empty text where it is installed in a version that fits."""
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return "not installed"
    if not requirement.specifier.contains(installed, prereleases=True):
        return f"version {installed} is installed, and {requirement.specifier} is needed"
    return ""


def _hardware() -> Iterator[tuple[str, bool]]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield f"cores         {cores} of {os.cpu_count()} for this process", False
    yield f"memory        {_gigabytes(memory_bytes())}", False
    yield f"disk          {_gigabytes(shutil.disk_usage(Path.cwd()).free)} free in {Path.cwd()}", False
    try:
        import torch

        from streetlab.training.precision import resolve_precision
    except Exception as error:  # whatever a broken package raises
        yield (
            f"torch         BROKEN {type(error).__name__}: {first_line(error)}; install it anew",
            True,
        )
        return
    yield f"torch         {torch.__version__}", False
    names = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    for number, gpu in enumerate(names):
        yield f"GPU {number}         {gpu.name}, {_gigabytes(gpu.total_memory)}", False
    if not names:
        yield "GPU           none; networks train and predict on the processor", False
    fast = resolve_precision("auto", "gpu" if names else "cpu")
    has = "yes" if fast == "bf16-mixed" else "not in this hardware"
    yield f"bf16          {has}; trainer.precision=auto trains in {fast}", False


def memory_bytes(group: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Return the memory that this process may use: the machine's, or the limit of its container."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(group.read_text()))
    except (OSError, ValueError):  # no such file, or `max`
        return whole


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def training_step() -> Iterator[tuple[str, bool]]:
    """Train one step in a process of its own, in a temporary folder, and yield how that went.

    What kills the process, such as instructions that the processor lacks, is thus a line and no crash.
    """
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="streetlab-doctor-") as folder:
        command = [sys.executable, "-m", "streetlab", "train", *STEP]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=_PATIENCE
            )
        except subprocess.TimeoutExpired:
            yield f"training      BROKEN: one step has not ended after {_PATIENCE} s", True
            return
    if done.returncode == 0:
        yield f"training      one step works, {time.perf_counter() - began:.0f} s from start to record", False
        return
    last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), f"exit code {done.returncode}")
    yield f"training      BROKEN {last.removeprefix('streetlab: ')}; streetlab train {' '.join(STEP)}", True
