"""Check every link between the pages of the built site: its file is there, and in it the place that it names.

A broken link is a warning, and `make docs` takes warnings for errors. `make linkcheck` checks the links to other hosts,
which needs a network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.util import logging

log = logging.getLogger(__name__)
_LINKS = {"a": "href", "link": "href", "img": "src", "script": "src"}


@dataclass
class _Page(HTMLParser):
    """The links of one page, and the places in it that links may name."""

    links: set[str] = field(default_factory=set)
    places: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the link and the id of an element."""
        attributes = dict(attrs)
        if link := attributes.get(_LINKS.get(tag, "")):
            self.links.add(link)
        if place := attributes.get("id"):
            self.places.add(place)


def broken_links(site: Path) -> tuple[list[str], int]:
    """Return a line for each broken link of the pages below a folder, and how many links were checked."""
    pages: dict[Path, _Page] = {}
    for path in sorted(site.rglob("*.html")):
        pages[path] = _Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    broken, checked = [], 0
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            checked += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                broken.append(f"{path.relative_to(site)}: {link}: no such file")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                broken.append(f"{path.relative_to(site)}: {link}: no such place in that page")
    return broken, checked


def _check(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.name != "html":
        return
    broken, checked = broken_links(Path(app.outdir).resolve())
    for line in broken:
        log.warning("broken link: %s", line)
    print(f"links inside the site: {checked} checked, {len(broken)} broken")  # --quiet hides what is logged


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the check."""
    app.connect("build-finished", _check, priority=900)  # when all others have written their files
    return {"parallel_read_safe": True}
