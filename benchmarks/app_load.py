"""How soon the page is there, how it serves many visitors at once, and what its packages take on the disk.

python benchmarks/app_load.py RUNS [--visitors 20] [--seconds 60] [--side 1024]
python benchmarks/app_load.py --sizes

Starts `streetlab app` on a free port over a folder of runs. Then each visitor uploads a drawn street of its own again
and again, waits for the answer and fetches the mask, which must have the size of that visitor's photo.
"""

from __future__ import annotations

import argparse
import io
import re
import statistics
import sys
import threading
import time
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import httpx
from packaging.requirements import Requirement
from PIL import Image
from running_app import running_app

from streetlab.synthetic import draw_scene

ENDED = ("done", "partial", "failed", "cancelled")
PATIENCE = 300.0


@dataclass
class Tally:
    """What all visitors met with."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    refused: int = 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="?", type=Path, help="a folder of finished runs")
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--side", type=int, default=1024, help="width of the photos; half of it is their height")
    parser.add_argument("--sizes", action="store_true", help="print what the packages of each extra take")
    asked = parser.parse_args()
    if asked.sizes:
        print_sizes()
    elif asked.runs is None:
        parser.error("RUNS or --sizes")
    else:
        load(asked.runs, asked.visitors, asked.seconds, asked.side)


def load(runs: Path, visitors: int, seconds: float, side: int) -> None:
    """Start the server, send the visitors, print the table."""
    with running_app(runs) as app:
        with httpx.Client(base_url=app.address, timeout=PATIENCE) as client:
            client.get("/").raise_for_status()
            page = time.perf_counter() - app.started
            models = client.get("/api/models").raise_for_status().json()["models"]
            listed = time.perf_counter() - app.started
            model = next((entry for entry in models if entry["task"] == "segmentation"), models[0])
            warm, tally = Tally(), Tally()
            visit(client, model["id"], photo(0, side), side, warm)
            if warm.errors:
                raise SystemExit(warm.errors[0])
        began = time.perf_counter()
        threads = [
            threading.Thread(target=visit_often, args=(app.address, model["id"], number, side, began + seconds, tally))
            for number in range(visitors)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - began
        memory = peak_memory(app.pid)
    for error in sorted(set(tally.errors)):
        print(f"error: {error}", file=sys.stderr)
    p50, p95 = statistics.median(tally.seconds), statistics.quantiles(tally.seconds, n=20)[-1]
    print(f"{model['title']}, photos of about {side}x{side // 2}; first answer after {warm.seconds[0]:.1f} s")
    print()
    print(
        "| page, s | models listed, s | visitors | photos | errors | 429s | p50, s | p95, s | photos/s | memory, MiB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {page:.1f} | {listed:.1f} ({len(models)}) | {visitors} | {len(tally.seconds)} | {len(tally.errors)} "
        f"| {tally.refused} | {p50:.2f} | {p95:.2f} | {len(tally.seconds) / took:.1f} | {memory} |"
    )


def photo(number: int, side: int) -> bytes:
    """A JPEG of a street of its own, `number` pixels wider than `side`."""
    image = Image.fromarray(draw_scene(number, side // 4, side // 2).image).resize((side + number, side // 2))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def visit_often(address: str, model: str, number: int, side: int, until: float, tally: Tally) -> None:
    """One visitor; lists take appends from all threads."""
    mine = photo(number, side)
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        while time.perf_counter() < until:
            visit(client, model, mine, side + number, tally)


def visit(client: httpx.Client, model: str, mine: bytes, width: int, tally: Tally) -> None:
    """Upload, wait, fetch the mask."""
    began = time.perf_counter()
    try:
        accepted = client.post("/api/predict", params={"model": model, "name": f"{width}.jpg"}, content=mine)
        if accepted.status_code == 429:
            tally.refused += 1
            time.sleep(float(accepted.headers["Retry-After"]))
            return
        address = accepted.raise_for_status().json()["url"]
        while (job := client.get(address).raise_for_status().json())["state"] not in ENDED:
            time.sleep(0.05)
        if job["state"] != "done":
            tally.errors.append(f"{job['state']}: {job['error']}")
            return
        files = job["result"]["files"]
        answer = client.get(files.get("ids", files["photo"])).raise_for_status().content
        tally.seconds.append(time.perf_counter() - began)
        found = Image.open(io.BytesIO(answer)).width
        if found != width:
            tally.errors.append(f"a mask {found} pixels wide for a photo of {width}")
        client.delete(address)
    except httpx.HTTPError as error:
        tally.errors.append(f"{type(error).__name__}: {error}")


def peak_memory(pid: int) -> str:
    """The most that a process had resident, in MiB; a dash where the system does not tell."""
    try:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        found = None
    return f"{int(found[1]) // 1024}" if found else "–"


def print_sizes() -> None:
    """For each extra the distributions that the base does not bring, and what their files take."""
    project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
    base = closure(project["dependencies"])
    print("| extra | packages of its own | MB |")
    print("|---|---|---|")
    print(f"| (base) | {len(base)} | {sum(map(size, base.values())) / 1e6:.0f} |")
    for extra, wanted in project["optional-dependencies"].items():
        own = {name: found for name, found in closure(wanted).items() if name not in base and name != "streetlab"}
        largest = sorted(own, key=lambda name: -size(own[name]))
        print(f"| {extra} | {', '.join(largest) or '–'} | {sum(map(size, own.values())) / 1e6:.1f} |")


def closure(wanted: Iterable[str]) -> dict[str, Distribution]:
    """The installed distributions that requirements lead to, by their normalised names."""
    found: dict[str, Distribution] = {}
    waiting = [(Requirement(text), "") for text in wanted]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, for_extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": for_extra}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        try:
            found[name] = distribution(requirement.name)
        except PackageNotFoundError:
            continue
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [(Requirement(text), extra) for text in found[name].requires or ()]
    return found


def size(installed: Distribution) -> int:
    """Bytes of the files that a distribution brought."""
    paths = (Path(str(file.locate())) for file in installed.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file())


if __name__ == "__main__":
    main()
