"""How long a visitor waits for the page, for a photo, and for each thing that is moved over it.

    python benchmarks/page_latency.py RUNS [--size 1024 2048] [--times 20]

Starts `streetlab app` over a folder of runs and opens it in Debian's Chromium, headless. A change is timed in the page:
from the event until two frames have been drawn after it, beside two frames without a change, and with the number of
requests that it made.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from running_app import running_app

from streetlab.synthetic import draw_scene

_TIMED = """async ([selector, change, times]) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const changes = {
    nothing: () => {},
    click: (e) => e.click(),
    slide: (e, n) => { e.value = 10 + 3 * (n % 25); e.dispatchEvent(new Event("input", {bubbles: true})); },
  };
  const element = selector ? document.querySelector(selector) : null, taken = [];
  for (let n = 0; n < times; n += 1) {
    await frame();
    const before = performance.now();
    changes[change](element, n);
    await frame(); await frame();
    taken.push(performance.now() - before);
  }
  return taken;
}"""

CHANGES = {
    "two frames, nothing changed": ("", "nothing"),
    "a class is shown or hidden": (".legend li:first-child input[type=checkbox]", "click"),
    "opacity is moved": ("input[name=alpha]", "slide"),
    "confidence is moved": ("input[name=threshold]", "slide"),
    "outlines are switched": ("input[name=outlines]", "click"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="a folder of finished runs, one of them of segmentation")
    parser.add_argument("--size", type=int, nargs=2, default=[1024, 2048], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--screenshot", type=Path, help="a PNG of the page with the photo")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("no chromium here")
    height, width = options.size
    with tempfile.TemporaryDirectory() as folder, running_app(options.runs) as app, sync_playwright() as driver:
        photo = Path(folder) / "street.png"
        Image.fromarray(draw_scene(0, height, width).image).save(photo)
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1360, "height": 850})
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        print("| what | median, ms | most, ms | requests |\n|---|---|---|---|")
        row("command to a server that answers", [1e3 * app.ready])
        row("opening the page, until its models are there", [opened(page, app.address)], len(requests))
        for what in ("first photo, until it is painted", "second photo, the network being loaded"):
            row(f"{what} ({width}x{height})", [uploaded(page, photo)])
        if options.screenshot:
            page.screenshot(path=options.screenshot)
        for what, (selector, change) in CHANGES.items():
            before = len(requests)
            taken = page.evaluate(_TIMED, [selector, change, options.times])
            row(f"{what} ({width}x{height})", taken, len(requests) - before)
        browser.close()


def opened(page: Page, address: str) -> float:
    began = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("#models:not([disabled])", timeout=120_000)
    return 1e3 * (time.perf_counter() - began)


def uploaded(page: Page, photo: Path) -> float:
    """Milliseconds until one more photo of the list is done and painted."""
    done = page.locator(".jobs .job").count()
    began = time.perf_counter()
    page.set_input_files("#more-files", photo)
    page.wait_for_function(
        "n => document.querySelectorAll('.jobs .job[data-state=done]').length > n"
        " && document.querySelector('canvas.overlay')?.width > 0",
        arg=done,
        timeout=300_000,
    )
    return 1e3 * (time.perf_counter() - began)


def row(what: str, taken: list[float], requests: Any = "") -> None:
    print(f"| {what} | {statistics.median(taken):.0f} | {max(taken):.0f} | {requests} |", flush=True)


if __name__ == "__main__":
    main()
