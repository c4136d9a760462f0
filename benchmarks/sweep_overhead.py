"""What does a sweep cost beside its jobs? Wall time of the command over the sum of the jobs' own times.

Eight short runs on synthetic streets in one command, then the same command again, which has nothing left to do. A
job's own time is what its record says: from opening the record to the last file.

    python benchmarks/sweep_overhead.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from streetlab.records.record import find_runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        places = [f"output={folder}/sweep", f"dataset.cache_dir={folder}/cache"]
        size = [f"regime.epochs={options.epochs}", "image_size=[64,64]", "logger=none"]
        # the first run draws and decodes the data set, which is no part of a sweep's cost
        call(["train", *size, "debug=fast_dev_run", f"output={folder}/first", places[1]])
        sweep = ["train", "-m", *size, *places, "seed=" + ",".join(map(str, range(options.jobs)))]
        wall = call(sweep)
        jobs = [record.status["seconds"] for record in find_runs(Path(folder) / "sweep")]
        again = call(sweep)
    total = sum(jobs)
    print("| jobs | wall, s | sum of the jobs, s | wall / sum | besides, s per job | the same command again, s |")
    print("|---|---|---|---|---|---|")
    besides = (wall - total) / len(jobs)
    print(f"| {len(jobs)} | {wall:.1f} | {total:.1f} | {wall / total:.3f} | {besides:.2f} | {again:.1f} |")


def call(words: list[str]) -> float:
    """Seconds that the command takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "streetlab", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
