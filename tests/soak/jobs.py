"""The commands under test, each with small inputs, and the folder that each starts from."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE

from tests.support.segmentation_runs import SMALL, STREETS
from tests.support.tiny_runs import TINY, write_photos

ONE_EPOCH = ("regime=single", "regime.phases=[{name: train, epochs: 1, train: [all]}]")
TWO_PHASES = (
    "regime=frozen_then_unfrozen",
    "regime.phases=[{name: probe, epochs: 2, train: [head], scheduler: none},"
    "{name: tune, epochs: 3, train: [layer4, head], lr_scale: 0.1, start_from: best}]",
)
PHOTOS, CACHE = "dataset.root=photos", "dataset.cache_dir=cache"


@dataclass(frozen=True)
class Job:
    """A command that is disturbed.

    Attributes:
        name: in the log.
        words: of the command line; paths are relative to the working folder.
        needs: what the working folder holds before: `photos`, `classifier`, `segmenter`, `video`, `positions`.
        program: what is given the words.
    """

    name: str
    words: tuple[str, ...]
    needs: tuple[str, ...] = ("photos",)
    program: tuple[str, ...] = (sys.executable, "-m", "streetlab")

    @property
    def command(self) -> list[str]:
        """The whole command line."""
        return [*self.program, *self.words]


JOBS = (
    Job("train", ("train", *TINY, *TWO_PHASES, PHOTOS, CACHE, "output=results")),
    Job("train-masks", ("train", *STREETS, *SMALL, "regime.epochs=3", CACHE, "output=results"), ()),
    Job("sweep", ("train", "-m", *TINY, *ONE_EPOCH, PHOTOS, CACHE, "study=soak", "seed=0,1")),
    Job(
        "search",
        ("train", "-m", *TINY, *ONE_EPOCH, PHOTOS, CACHE, "sweep=optuna", "study=soak", "hydra.sweeper.n_trials=2"),
    ),
    Job("evaluate", ("evaluate", "run=classifier", CACHE), ("photos", "classifier")),
    Job("compare", ("compare", "runs=[classifier,other]", "output=results"), ("photos", "classifier", "other")),
    Job("audit", ("audit", "dataset=street_cleanliness", PHOTOS, CACHE, "output=results")),
    Job("predict", ("predict", "run=classifier", "source=photos", "output=results", "device=cpu", "batch_size=2"),
        ("photos", "classifier")),
    Job("predict-video", ("predict", "run=segmenter", "source=drive.mp4", "output=results", "device=cpu"),
        ("segmenter", "video")),
    Job("survey", ("survey", "run=classifier", "source=photos", "positions=positions.csv", "output=results",
                   "device=cpu"), ("photos", "classifier", "positions")),
    Job("explain", ("explain", "run=classifier", "output=results", CACHE), ("photos", "classifier")),
    Job("export", ("export", "run=classifier", "output=results"), ("photos", "classifier")),
    Job("app", ("results", "photos/test/litter/litter_0.png=classifier", "drive.mp4=segmenter", "--", "runs=classifier",
                "models=[segmenter]", "device=cpu"), ("photos", "classifier", "segmenter", "video"),
        (sys.executable, "-m", "tests.soak.visit")),
    Job("compress", ("compress", "run=classifier", "output=results", CACHE), ("photos", "classifier")),
)  # fmt: skip


def make_inputs(folder: Path, environment: dict[str, str]) -> None:
    """Make what the jobs start from, once: photos, two runs of each kind, a video."""
    from tests.support.videos import make_video

    folder.mkdir(parents=True)
    write_photos(folder / "photos", {"train": 6, "val": 4, "test": 4})
    lines = {
        "classifier": (*TINY, *ONE_EPOCH, PHOTOS),
        "other": (*TINY, *ONE_EPOCH, PHOTOS, "seed=1"),
        "segmenter": (*STREETS, *SMALL, "regime.epochs=1"),
    }
    runs = []
    for name, given in lines.items():
        command = Job(name, ("train", *given, f"dataset.cache_dir=caches/{name}", f"output={name}")).command
        runs.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=PIPE))
    for run in runs:
        _, lines_of_log = run.communicate()
        if run.returncode:
            raise RuntimeError(lines_of_log.decode()[-2000:])
    make_video(folder / "drive.mp4", frames=40)
    rows = [
        f"{path.relative_to(folder / 'photos')},52.0{n:02},4.35" for n, path in enumerate(_photos(folder / "photos"))
    ]
    (folder / "positions.csv").write_text("\n".join(["file,lat,lon", *rows]) + "\n")
    shutil.rmtree(folder / "caches")


def _photos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.png"))


def set_up(job: Job, inputs: Path, folder: Path) -> None:
    """Copy what a job starts from into its empty working folder."""
    for need in job.needs:
        source = inputs / {"video": "drive.mp4", "positions": "positions.csv"}.get(need, need)
        if source.is_dir():
            shutil.copytree(source, folder / source.name, copy_function=shutil.copy2)
        else:
            shutil.copy2(source, folder / source.name)
