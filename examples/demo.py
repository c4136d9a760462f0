"""Run `make demo`: train three small networks on drawn streets, explain and compare them, and link it all in one page.

    python examples/demo.py

What is there already is not made again.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

# before torch is loaded: threads that spin while they wait take the cores from whatever else runs
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from streetlab import cli
from streetlab.plots.page import render

ROOT = Path("outputs/demo")
CLASSIFIERS, STREETS = ROOT / "cleanliness", ROOT / "streets"
SCENES = ("dataset.train=600", "dataset.val=120", "dataset.test=300")
STREET_SCENES = ("dataset.train=800", "dataset.val=60", "dataset.test=120")


@dataclass(frozen=True)
class Stage:
    """One command of the demo.

    Attributes:
        title: what it does, for the terminal.
        words: of the command line; a function where they depend on what earlier stages made.
        made: the file that it writes; null for trainings, which know by themselves what is complete.
        seconds: what it took on two cores, for the time left.
    """

    title: str
    words: Callable[[], list[str]]
    seconds: int
    made: Callable[[], Path] | None = None


def run_of(experiment: str, folder: Path) -> Path:
    """The newest run of an experiment in a folder."""
    return max(folder.glob(f"{experiment}*/metrics.json"), key=lambda path: path.stat().st_mtime).parent


def pretrained() -> Path:
    """The run from ImageNet weights."""
    return run_of("demo_pretrained", CLASSIFIERS)


STAGES = (
    Stage(
        "how clean is this street? a network that has seen ImageNet",
        lambda: ["train", "-m", "experiment=demo_pretrained", *SCENES, f"output={CLASSIFIERS}"],
        50,
    ),
    Stage(
        "the same network from random weights",
        lambda: ["train", "-m", "experiment=demo_from_scratch", *SCENES, f"output={CLASSIFIERS}"],
        35,
    ),
    Stage(
        "what is where? a segmentation network",
        lambda: ["train", "-m", "experiment=demo_segmentation", *STREET_SCENES, f"output={STREETS}"],
        85,
    ),
    Stage(
        "what the first network looks at",
        lambda: ["explain", f"run={pretrained()}", f"output={pretrained() / 'explain'}", "n=4", "scored_photos=16"],
        15,
        lambda: pretrained() / "explain" / "explain.html",
    ),
    Stage(
        "the two networks compared",
        lambda: ["compare", f"runs={CLASSIFIERS}"],
        5,
        lambda: CLASSIFIERS / "compare" / "compare.html",
    ),
)


def main() -> int:
    """Run all stages and write the page; returns the exit code."""
    begun, planned = time.perf_counter(), 0
    for number, stage in enumerate(STAGES, 1):
        spent, left = time.perf_counter() - begun, sum(later.seconds for later in STAGES[number - 1 :])
        if planned:
            left = round(left * spent / planned)
        print(f"\n[{number}/{len(STAGES)}] {stage.title} (about {left // 60}:{left % 60:02d} min left)", flush=True)
        if stage.made is not None and is_newer(stage.made(), ROOT.glob("*/demo_*/metrics.json")):
            print(f"{stage.made()} is there", flush=True)
        elif code := cli.run(stage.words()):
            print("the demo stopped here; `make demo` goes on from what is complete", file=sys.stderr)
            return code
        planned += stage.seconds
    page = ROOT / "index.html"
    page.write_text(page_text(), encoding="utf-8")
    print(f"\neverything that was made, in one page: {page}")
    print("all of these models on your own photos and videos: streetlab app")
    return 0


def is_newer(made: Path, sources: Iterable[Path]) -> bool:
    """True if the file is there and no source has changed since."""
    return made.is_file() and all(made.stat().st_mtime >= source.stat().st_mtime for source in sources)


def page_text() -> str:
    """The page as HTML, with relative links."""
    scratch, streets = run_of("demo_from_scratch", CLASSIFIERS), run_of("demo_segmentation", STREETS)
    rows = []
    for title, run, metric, name in (
        ("How clean, from ImageNet weights", pretrained(), "macro_f1", "macro-F1"),
        ("How clean, from random weights", scratch, "macro_f1", "macro-F1"),
        ("What is where, from ImageNet weights", streets, "miou", "mIoU"),
    ):
        test = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test"]
        score = f"{name} {test[metric]:.3f}"
        rows.append({"title": title, "score": score, "n": test["n"], "place": run.relative_to(ROOT).as_posix()})
    links = {
        "gallery": pretrained() / "explain" / "explain.html",
        "masks": streets / "figures" / "best_median_worst.png",
        "compared": CLASSIFIERS / "compare" / "compare.html",
    }
    addresses = {name: path.relative_to(ROOT).as_posix() for name, path in links.items()}
    return render("demo.html", title="What make demo made", rows=rows, run=str(pretrained()), **addresses)


if __name__ == "__main__":
    sys.exit(main())
