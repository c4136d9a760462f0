"""Every question of speed in turn, each by a script of its own; what they find lies together in one folder.

    python benchmarks/bench.py --quick

`--quick` takes about two minutes for each question on two idle cores. Every script writes `<name>.md` and
`<name>.json`; README.md holds all their tables. A question that fails does not keep the others from being asked, and
the exit code is then 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from tables import OUTPUT

from streetlab.io import files

QUESTIONS = (
    "training_speed",
    "step_breakdown",
    "segmentation_step",
    "inference_latency",
    "video_speed",
    "start_up",
    "peak_memory",
    "peers",
)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about fifteen minutes on two cores")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=QUESTIONS, metavar="NAME",
                        help=f"of {', '.join(QUESTIONS)}")  # fmt: skip
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"folder of the reports (default {OUTPUT})")
    options = parser.parse_args(words)
    passed_on = ["--output", str(options.output), *(["--quick"] if options.quick else [])]
    sections, failed = [], []
    for name in options.only:
        print(f"\n{name}:", flush=True)
        started = time.perf_counter()
        report = options.output / f"{name}.md"
        report.unlink(missing_ok=True)  # an older one is no answer to this question
        code = subprocess.run([sys.executable, str(script_of(name)), *passed_on]).returncode
        minutes = f"{(time.perf_counter() - started) / 60:.1f} minutes"
        sections.append(report.read_text() if report.is_file() else f"## {name}\n\nNo answer (exit code {code}).\n")
        if code:
            failed.append(name)
        print(f"{name}: {f'failed with exit code {code}' if code else 'done'} after {minutes}", flush=True)
    command = " ".join(["python benchmarks/bench.py", *sys.argv[1:]])
    page = files.write_text(options.output / "README.md", "\n".join([f"# As measured by `{command}`\n", *sections]))
    print(f"\n{page}")
    if failed:
        print(f"bench: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def script_of(question: str) -> Path:
    """Beside this one."""
    return Path(__file__).with_name(f"{question}.py")


if __name__ == "__main__":
    sys.exit(main())
