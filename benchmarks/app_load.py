"""How soon the page is there, how it serves many visitors at once, and what its packages take on the disk.

python benchmarks/app_load.py RUNS [--visitors 20] [--seconds 60] [--side 1024] [--videos 0.2] [--bomb] [--words ...]
python benchmarks/app_load.py --sizes

Starts `streetlab app` on a free port over a folder of runs. Then each visitor uploads a drawn street of its own again
and again, waits for the answer as the page does, and fetches the mask, which must have the size of its own photo. A
share of the visitors sends a video instead. With `--bomb` one visitor more sends, in the second half of the time, a
small video of many huge frames again and again; the table then says how much later the others had their answers.
"""

from __future__ import annotations

import argparse
import io
import re
import statistics
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import httpx
import numpy as np
from packaging.requirements import Requirement
from PIL import Image
from running_app import running_app

from streetlab.synthetic import draw_scene

ENDED = ("done", "partial", "failed", "cancelled")
PATIENCE = 300.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0
"""Seconds between two looks at a job, as of the page."""
WARM_UP = 0.25
"""Share of the time that the slope of memory leaves out."""
BOMB_SIDE, BOMB_FRAMES = 2992, 600
"""Just below the default `frame_pixels`."""
VIDEO_FRAMES = 48
CALM = 60.0
"""Seconds after the last visitor until memory is looked at once more."""


@dataclass
class Tally:
    """What all visitors met with: moment and seconds of each answer, errors, refusals."""

    answers: list[tuple[float, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    refused: int = 0

    def row(self, what: str, began: float, ended: float) -> str:
        """A line of the table about the answers between two moments."""
        seconds = [took for moment, took in self.answers if began <= moment < ended]
        if len(seconds) < 2:
            return f"| {what} | {len(seconds)} | – | – | – | – |"
        p95 = statistics.quantiles(seconds, n=20)[-1]
        rate, middle = len(seconds) / (ended - began), statistics.median(seconds)
        return f"| {what} | {len(seconds)} | {middle:.2f} | {p95:.2f} | {max(seconds):.2f} | {rate:.2f} |"


@dataclass
class Memory:
    """What the server has resident, in MiB, at moments of `perf_counter`."""

    pid: int
    samples: list[tuple[float, float]] = field(default_factory=list)

    def watch(self, over: threading.Event, every: float = 2.0) -> None:
        """Take a sample every so many seconds until `over` is set."""
        while True:
            self.samples.append((time.perf_counter(), resident(self.pid)))
            if over.wait(every):
                return

    def peak(self) -> float:
        """The largest sample; what lies between two of them is not seen."""
        return max(size for _, size in self.samples)

    def slope(self) -> float:
        """MiB a minute after the warm-up, by least squares."""
        kept = self.samples[int(len(self.samples) * WARM_UP) :]
        moments, sizes = np.array(kept).T
        return 60 * float(np.polyfit(moments, sizes, 1)[0])

    def tenths(self) -> str:
        """The mean of each tenth of the time."""
        return ", ".join(f"{part[:, 1].mean():.0f}" for part in np.array_split(np.array(self.samples), 10) if len(part))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="?", type=Path, help="a folder of finished runs")
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--side", type=int, default=1024, help="width of the photos; half of it is their height")
    parser.add_argument("--videos", type=float, default=0.0, help="share of the visitors that send videos")
    parser.add_argument(
        "--bomb", action="store_true", help="one visitor more sends many huge frames, in the second half"
    )
    parser.add_argument("--words", nargs="*", default=[], help="further keys of streetlab app")
    parser.add_argument("--sizes", action="store_true", help="print what the packages of each extra take")
    asked = parser.parse_args()
    if asked.sizes:
        print_sizes()
    elif asked.runs is None:
        parser.error("RUNS or --sizes")
    else:
        load(asked)


def load(asked: argparse.Namespace) -> None:
    """Start the server, send the visitors, print the tables."""
    side, seconds = asked.side, asked.seconds
    movers = round(asked.visitors * asked.videos)
    with tempfile.TemporaryDirectory() as folder, running_app(asked.runs, *asked.words) as app:
        bomb = black_video(Path(folder) / "bomb.mp4", BOMB_SIDE, BOMB_FRAMES) if asked.bomb else None
        with httpx.Client(base_url=app.address, timeout=PATIENCE) as client:
            client.get("/").raise_for_status()
            page = time.perf_counter() - app.started
            models = client.get("/api/models").raise_for_status().json()["models"]
            listed = time.perf_counter() - app.started
            model = next((entry for entry in models if entry["task"] == "segmentation"), models[0])
            warm, photos, videos, bombs = Tally(), Tally(), Tally(), Tally()
            visit(client, model["id"], photo(0, side), side, warm)
            if warm.errors:
                raise SystemExit(warm.errors[0])
        moving = street_video(Path(folder) / "street.mp4", side // 4) if movers else b""
        over, memory = threading.Event(), Memory(app.pid)
        watching = threading.Thread(target=memory.watch, args=(over,))
        began = time.perf_counter()
        middle, ended = began + seconds / 2, began + seconds
        visits = [
            (videos, moving, None) if number < movers else (photos, photo(number, side), side + number)
            for number in range(asked.visitors)
        ]
        threads = [
            threading.Thread(target=visit_often, args=(app.address, model["id"], content, width, began, ended, tally))
            for tally, content, width in visits
        ]
        if bomb is not None:
            arguments = (app.address, model["id"], bomb, None, middle, ended, bombs)
            threads.append(threading.Thread(target=visit_often, args=arguments))
        for thread in (watching, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        over.set()
        watching.join()
        time.sleep(CALM)
        calm = resident(app.pid)
    tallies = {"photos": photos, "videos": videos, "bomb": bombs}
    for error in sorted({error for tally in tallies.values() for error in tally.errors}):
        print(f"error: {error}", file=sys.stderr)
    print(f"{model['title']}, photos of about {side}x{side // 2}; first answer after {warm.answers[0][1]:.1f} s; page")
    print(
        f"after {page:.1f} s, {len(models)} models listed after {listed:.1f} s; {asked.visitors} visitors, {movers} of"
    )
    print(f"them with a video of {VIDEO_FRAMES} frames of {side // 4}x{side // 8}; {seconds:g} s")
    print()
    print("| answers | number | p50, s | p95, s | most, s | per second |")
    print("|---|---|---|---|---|---|")
    halves = (
        {"": (began, ended)} if bomb is None else {", no bomb": (began, middle), ", with the bomb": (middle, ended)}
    )
    for name in ("photos", "videos") if movers else ("photos",):
        for half, (since, until) in halves.items():
            print(tallies[name].row(name + half, since, until))
    if bomb is not None:
        what = f"bomb of {len(bomb) / 1e3:.0f} kB, {BOMB_FRAMES} frames of {BOMB_SIDE}x{BOMB_SIDE}"
        print(bombs.row(what, middle, float("inf")))
    print()
    errors, refused = (
        sum(values) for values in zip(*((len(t.errors), t.refused) for t in tallies.values()), strict=True)
    )
    slope = "slope after the first quarter, MiB/min"
    print(f"| errors | 429s | peak memory, MiB | {slope} | mean of each tenth, MiB | {CALM:.0f} s after, MiB |")
    print("|---|---|---|---|---|---|")
    print(f"| {errors} | {refused} | {memory.peak():.0f} | {memory.slope():+.2f} | {memory.tenths()} | {calm:.0f} |")


def photo(number: int, side: int) -> bytes:
    """A JPEG of a street of its own, `number` pixels wider than `side`."""
    image = Image.fromarray(draw_scene(number, side // 4, side // 2).image).resize((side + number, side // 2))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def street_video(path: Path, width: int) -> bytes:
    """A drawn street that moves to the side, `width` by half of it."""
    from streetlab.inference.video.writer import VideoWriter

    street = draw_scene(7, width // 2, 2 * width).image
    writer = VideoWriter(path, (width // 2, width), Fraction(24), Fraction(1, 24))
    for number in range(VIDEO_FRAMES):
        left = number * width // VIDEO_FRAMES
        writer.write(np.ascontiguousarray(street[:, left : left + width]), number, 1)
    writer.close()
    return path.read_bytes()


def black_video(path: Path, side: int, frames: int) -> bytes:
    """A video of black squares, which takes next to nothing as a file."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "1000"})
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame(side, side, "yuv420p")
        for plane, value in zip(frame.planes, (16, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        for number in range(frames):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def visit_often(
    address: str, model: str, mine: bytes, width: int | None, begin: float, until: float, tally: Tally
) -> None:
    """One visitor from one moment to another; lists take appends from all threads."""
    time.sleep(max(0.0, begin - time.perf_counter()))
    # the server closes connections that idle for 5 s; browsers repeat a request that meets that, httpx does not
    limits = httpx.Limits(keepalive_expiry=2.5)
    with httpx.Client(base_url=address, timeout=PATIENCE, limits=limits) as client:
        client.get("/").raise_for_status()  # gives it a name of its own
        while time.perf_counter() < until:
            visit(client, model, mine, width, tally, until)


def visit(
    client: httpx.Client, model: str, mine: bytes, width: int | None, tally: Tally, until: float = float("inf")
) -> None:
    """Upload, wait, fetch the mask; give up, and cancel the job, where the time is over."""
    began = time.perf_counter()
    try:
        name = f"{width}.jpg" if width else "street.mp4"
        accepted = client.post("/api/predict", params={"model": model, "name": name}, content=mine)
        if accepted.status_code == 429:
            tally.refused += 1
            time.sleep(float(accepted.headers["Retry-After"]))
            return
        address, pause = accepted.raise_for_status().json()["url"], FIRST_PAUSE
        while (job := client.get(address).raise_for_status().json())["state"] not in ENDED:
            if time.perf_counter() > until:
                client.delete(address)
                return
            pause = FIRST_PAUSE * (1 + job["position"]) if job["position"] else 1.3 * pause
            time.sleep(min(LONGEST_PAUSE, pause))
        if job["state"] != "done":
            tally.errors.append(f"{job['state']}: {job['error']}")
            return
        files = job["result"]["files"]
        answer = client.get(files.get("ids", files["photo"])).raise_for_status().content
        tally.answers.append((time.perf_counter(), time.perf_counter() - began))
        shown = Image.open(io.BytesIO(answer)).width if width else None
        if shown != width:
            tally.errors.append(f"a mask {shown} pixels wide for a photo of {width}")
        client.delete(address)
    except httpx.HTTPError as error:
        tally.errors.append(f"{type(error).__name__}: {error}")


def resident(pid: int) -> float:
    """What a process and its worker processes have resident, in MiB; not a number where the system does not tell."""
    listed = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return _status(pid, "VmRSS") + sum(_status(int(child), "VmRSS") for child in listed.split())


def _status(pid: int, key: str) -> float:
    try:
        match = re.search(rf"{key}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        match = None
    return int(match[1]) / 1024 if match else float("nan")


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
