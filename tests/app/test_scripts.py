"""The page's scripts use each other, and the browser, as their types say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tests" / "app" / "js"
SCRIPTS = ("src/streetlab/app/static/js", "src/streetlab/survey/static/js")

pytestmark = pytest.mark.skipif(
    not (TOOLS / "node_modules").is_dir(), reason="the tools of `make lint-js` are not installed"
)


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = TOOLS / "node_modules" / ".bin" / tool
    return subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_types_fit():
    checked = run("tsc", "--project", str(TOOLS))
    assert checked.returncode == 0, checked.stdout


def test_eslint_finds_nothing():
    checked = run("eslint", "--config", str(TOOLS / "eslint.config.js"), *SCRIPTS)
    assert checked.returncode == 0, checked.stdout
