"""Serious faults of accessibility on a page, as axe finds them."""

from __future__ import annotations

from importlib.resources import files

import pytest


def faults(page):
    """List axe-core's violations of serious or higher impact, as lines."""
    axe = pytest.importorskip("axe_playwright_python", reason="axe-core comes with streetlab[dev]")
    page.evaluate((files(axe) / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("async rules => (await axe.run(document, rules)).violations", RULES)
    return [
        f"{fault['id']}: {node['html'][:120]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
