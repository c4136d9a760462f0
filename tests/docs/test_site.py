"""The built site in a browser: search finds pages, no network is asked, axe finds no serious fault."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.axe import faults

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(_chromium: Any) -> Any:
    return _chromium


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sphinx", reason="the site is built with the extra [docs]")
    target = tmp_path_factory.mktemp("site")
    words = ["--quiet", "--fail-on-warning", "--keep-going", "--builder", "html", str(ROOT / "docs"), str(target)]
    built = subprocess.run([sys.executable, "-m", "sphinx", *words], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return target


def test_search_finds_a_page(site, browser):
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(f"{(site / 'search.html').as_uri()}?q=temperature")
    page.wait_for_selector("ul.search li a")
    assert "Calibration" in page.locator("ul.search li a").all_inner_texts()
    context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
@pytest.mark.parametrize(
    "name",
    [
        "index",
        "start/study",
        "concepts/intervals",
        "notebooks/my_data",
        "reference/config",
        "studies/regimes",
        "gallery",
    ],
)
def test_pages_are_read_by_all(site, browser, name, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / f"{name}.html").as_uri())
    assert not faults(page)
    assert all(address.startswith(("file:", "data:")) for address in asked)
    assert page.locator("article img:not([alt])").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
        "the page is wider than the screen"
    )
    context.close()
