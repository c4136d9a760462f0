"""No reader ends at a page, picture or place that is not there: in the site, and in the files as they lie here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from tests.support.site_extensions import load_extension

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "docs", ROOT / "experiments")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(path for folder in FOLDERS for path in folder.rglob("*.md"))]
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", page.read_text(encoding="utf-8"))):
        parts = urlsplit(link)
        if not parts.scheme:
            yield link


def headings(page: Path) -> set[str]:
    """The anchors that GitHub and MyST give a page's headings."""
    lines = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_of_a_text_resolves(page: Path) -> None:
    for link in links(page):
        parts = urlsplit(link)
        target = page.parent / unquote(parts.path) if parts.path else page
        assert target.exists(), link
        if parts.fragment:
            assert unquote(parts.fragment) in headings(target), link


def test_texts_have_links_to_check() -> None:
    assert sum(len(list(links(page))) for page in PAGES) > 50


@pytest.fixture(scope="module")
def internal_links() -> Any:
    return load_extension("internal_links")


def test_broken_links_of_a_built_site_are_listed(internal_links: Any, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "picture 1.png").touch()
    (tmp_path / "index.html").write_text(
        '<h1 id="top">T</h1><a href="sub/page.html#here">1</a><a href="#top">2</a><img src="picture%201.png">'
        '<a href="mailto:a@b">3</a><a href="sub/page.html#gone">4</a><a href="#end">5</a><img src="no.png">'
    )
    (tmp_path / "sub" / "page.html").write_text('<p id="here"><a href="../index.html">6</a><a href="index.html">7</a>')
    assert internal_links.broken_links(tmp_path) == (
        [
            "index.html: #end: no such place in that page",
            "index.html: no.png: no such file",
            "index.html: sub/page.html#gone: no such place in that page",
            "sub/page.html: index.html: no such file",
        ],
        8,
    )
