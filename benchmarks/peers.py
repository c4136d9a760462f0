"""streetlab beside its peers: the same work, in turns, each side as a process of its own with one thread.

    python benchmarks/peers.py
    python benchmarks/peers.py training prediction --photos data/street_cleanliness --camvid data/camvid
    python benchmarks/peers.py audit --packages FOLDER      # imagededup and cleanvision, by `pip install --target`

Peers are scripts in side_by_side/peers/, written as their own documentation has it. What one needs and is not
installed, a package or ffmpeg, leaves a row that says so. Ratios compare measurements of the same round.
"""

from __future__ import annotations

import importlib
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from side_by_side.processes import Asked, working_folder
from tables import Table, arguments, publish

QUESTIONS = {
    "training": ("training", "ask", "How fast does a classifier train, and how far does it come?"),
    "training_masks": ("training", "ask_masks", "How fast does a segmenter train, and how far does it come?"),
    "prediction": ("prediction", "ask", "How long do many photos take, if each gets a class?"),
    "prediction_masks": ("prediction", "ask_masks", "How long do many photos take, if each gets a mask?"),
    "video": ("video", "ask", "How long does a video take, end to end?"),
    "audit": ("audit", "ask", "Which copies are found, and how soon?"),
    "compare": ("compare", "ask", "Are the numbers of a leaderboard those of pandas and scipy?"),
}
"""The file in side_by_side/ and its function."""
TITLE = "How does streetlab compare with its peers?"
PACKAGES = ("timm", "segmentation_models_pytorch", "torchvision", "onnxruntime", "torchmetrics", "pandas", "scipy")


def main(words: list[str] | None = None) -> int:
    parser = arguments(__doc__)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=f"of {', '.join(QUESTIONS)} (default: all)")
    parser.add_argument("--photos", type=Path, help="labelled photos, {train,val,test}/<class>/; default: drawn ones")
    parser.add_argument("--camvid", type=Path, help="CamVid's tree; default: drawn streets")
    parser.add_argument("--packages", type=Path, help="folder of packages that peers alone may import")
    parser.add_argument("--peer-python", type=Path, help="interpreter of the peers' scripts (default: this one)")
    parser.add_argument("--workers", type=int, default=1, help="processes in which peers decode (default 1)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor on the numbers of photos and frames (default 1)"
    )
    parser.add_argument("--keep", type=Path, help="work in this folder and leave what was made")
    options = parser.parse_intermixed_args(words)
    if unknown := [name for name in options.questions if name not in QUESTIONS]:
        parser.error(f"no question {unknown[0]!r}; there are {', '.join(QUESTIONS)}")
    if options.quick:
        options.rounds = 1
    for key in ("photos", "camvid", "packages", "keep"):
        if path := getattr(options, key):
            setattr(options, key, path.resolve())
    started = time.perf_counter()
    tables: list[Table] = []
    numbers: dict[str, Any] = {"versions": versions()}
    failed = []
    with working_folder(options) as folder:
        for name in options.questions or QUESTIONS:
            file, function, question = QUESTIONS[name]
            print(f"\n{name}: {question}", flush=True)
            try:
                asked: Asked = getattr(importlib.import_module(f"side_by_side.{file}"), function)(
                    options, folder / name
                )
            except Exception as error:  # the other questions are still asked
                failed.append(name)
                print(f"{name}: failed: {error}", file=sys.stderr, flush=True)
                continue
            tables += asked.tables
            numbers[name] = asked.numbers
            # after every question: what was measured is kept, whatever becomes of the next
            publish("peers", TITLE, tables, numbers, options.output, time.perf_counter() - started)
    return 1 if failed else 0


def versions() -> dict[str, str]:
    """Of the peers' packages in this environment."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


if __name__ == "__main__":
    sys.exit(main())
