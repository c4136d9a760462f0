"""Run `make demo`: train three small networks on drawn streets, explain and compare them, and link it all in one page.

    python examples/demo.py

What is there already is not made again.
"""

from __future__ import annotations

import html
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
    rows = ""
    for title, run, metric, name in (
        ("How clean, from ImageNet weights", pretrained(), "macro_f1", "macro-F1"),
        ("How clean, from random weights", scratch, "macro_f1", "macro-F1"),
        ("What is where, from ImageNet weights", streets, "miou", "mIoU"),
    ):
        test = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test"]
        place = html.escape(run.relative_to(ROOT).as_posix())
        rows += f"<tr><td>{title}</td><td>{name} {test[metric]:.3f}</td><td>{test['n']}</td>"
        rows += f'<td><a href="{place}/">{place}</a></td></tr>\n'
    links = {
        "gallery": pretrained() / "explain" / "explain.html",
        "masks": streets / "figures" / "best_median_worst.png",
        "compared": CLASSIFIERS / "compare" / "compare.html",
    }
    addresses = {name: html.escape(path.relative_to(ROOT).as_posix()) for name, path in links.items()}
    return PAGE.format(rows=rows, run=html.escape(str(pretrained())), **addresses)


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>What make demo made</title>
<style>
:root {{ --ink: #1d2329; --muted: #5f6973; --rule: #d9dee3; --paper: #fff; --accent: #2458c0; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e8ecf0; --muted: #98a2ad; --rule: #333b44; --paper: #14181c; --accent: #7aa7ff; }}
}}
body {{ margin: 0 auto; padding: 2.5rem 1.2rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums; }}
h1 {{ font-size: 1.6rem; margin: 0 0 .4rem; }} h2 {{ font-size: 1.1rem; margin: 2.2rem 0 .5rem; }}
p {{ margin: .3rem 0; max-width: 70ch; }} a {{ color: var(--accent); overflow-wrap: anywhere; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }}
th {{ color: var(--muted); font-weight: 500; font-size: .85rem; }}
img {{ max-width: 100%; height: auto; }} pre {{ overflow-x: auto; }} .quiet {{ color: var(--muted); font-size: .9rem; }}
</style>
</head>
<body>
<main>
<h1>What <code>make demo</code> made</h1>
<p class="quiet">Three networks, trained here on drawn streets. They have seen no photo of a real street: what they say
of one proves nothing.</p>
<h2>The networks and their records</h2>
<table>
<thead><tr><th>network</th><th>on the test scenes</th><th>n</th><th>record: config, numbers, ...</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
<p class="quiet">One seed each, a few epochs: enough to try everything, too little to compare methods.</p>
<h2>Does it help to have seen ImageNet?</h2>
<p><a href="{compared}">The comparison</a>: both networks on the same test scenes, with intervals and a test.</p>
<h2>What does the network look at?</h2>
<p><a href="{gallery}">The explanation</a>: maps of evidence for right and wrong answers, and whether to trust them.</p>
<h2>What is where?</h2>
<a href="{masks}"><img src="{masks}" alt="Test scenes of best, median and worst masks: photo, truth, prediction"></a>
<h2>What to type next</h2>
<pre tabindex="0">source .venv/bin/activate
streetlab app                                             # these networks on your photos, in the browser
streetlab train dataset=image_folder dataset.root=~/photos model=efficientnet_lite0 model.weights=imagenet
streetlab predict run={run} source=~/photos
streetlab audit dataset=image_folder dataset.root=~/photos</pre>
</main>
</body>
</html>
"""

if __name__ == "__main__":
    sys.exit(main())
