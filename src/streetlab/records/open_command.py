"""`streetlab open`: open the newest page of results in the browser, or an index of all pages and runs."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pydantic
from omegaconf import DictConfig

from streetlab.config.options import CLOSED, Flag, OneOf, command_options
from streetlab.errors import UserError
from streetlab.io import files
from streetlab.io.filenames import one_line
from streetlab.plots.page import link, render
from streetlab.records.overview import overview
from streetlab.records.record import find_runs
from streetlab.records.runs_command import records_folder

KINDS = {
    "compare.html": "comparison",
    "summary.html": "summary of a sweep",
    "explain.html": "explanation",
    "audit.html": "audit",
    "survey.html": "survey",
}
"""The pages that commands write, by file name."""

INDEX = "results.html"
PAGES = ("newest", "index")


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Options:
    """The keys of conf/open.yaml, but for `runs`."""

    page: Annotated[str, OneOf(PAGES)] = "newest"
    open: Flag = True


def run(cfg: DictConfig) -> None:
    """Entry point of the command; `cfg` is conf/open.yaml.

    Raises:
        UserError: no such folder, nothing in it to show, or a value that a key does not take.
    """
    options = command_options(Options, cfg)
    page = choose_page(cfg.runs, options.page)
    print(one_line(str(page)))
    if options.open and not webbrowser.open(page.resolve().as_uri()):
        print("no browser was found here; open the page in one")


def choose_page(runs: str, page: str) -> Path:
    """Return the page to show: `runs` itself where it is one, else the newest below it, or its index.

    Raises:
        UserError: see `run`.
    """
    given = Path(str(runs)).expanduser()
    if given.is_file() and given.suffix == ".html":
        return given
    folder = records_folder(runs)
    pages = find_pages(folder)
    return pages[0] if pages and page == "newest" else write_index(folder, pages)


def find_pages(folder: Path) -> list[Path]:
    """Find the pages of results at or below a folder, hidden folders left out, the last written one first."""
    return sorted(_pages(folder), key=lambda path: path.stat().st_mtime, reverse=True)


def _pages(folder: Path) -> Iterator[Path]:
    for above, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        yield from (Path(above, name) for name in names if name in KINDS)


def write_index(folder: Path, pages: list[Path]) -> Path:
    """Write `results.html` into the folder: a link to every page and every run.

    Raises:
        UserError: there is neither a page nor a run, or the file cannot be written.
    """
    rows = [overview(record) for record in find_runs(folder)]
    if not rows and not pages:
        raise UserError(f"runs: {folder} holds no page of results and no run; streetlab train makes a run")
    html = render(
        "results.html",
        title=f"Results in {folder}",
        pages=[
            {
                "kind": KINDS[page.name],
                "path": page.parent.relative_to(folder).as_posix(),
                "link": link(page.relative_to(folder).as_posix()),
                "written": datetime.fromtimestamp(page.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M"),
            }
            for page in pages
        ],
        runs=[
            {
                "path": row.record.path.relative_to(folder).as_posix(),
                "link": link(row.record.path.relative_to(folder).as_posix() + "/"),
                "state": row.state,
                "task": row.task,
                "objective": row.objective,
                **row.numbers,
                "go_on": row.go_on,
            }
            for row in rows
        ],
    )
    return files.write_text(folder / INDEX, html)
