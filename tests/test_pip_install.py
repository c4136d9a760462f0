"""`make` says how far installing is, passes pip's exit code on, and shows what pip said where it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "pip_install.py"
OUTPUT = """\
Obtaining file:///tmp/streetlab
Collecting torch==2.15.0 (from -c constraints.txt (line 2))
  Downloading torch-2.15.0-cp311-cp311-manylinux_2_28_x86_64.whl.metadata (30 kB)
Collecting rich
  Using cached rich-14.0-py3-none-any.whl (243 kB)
Processing ./wheels/numpy-2.4.6-cp311.whl (from torch)
Downloading torch-2.15.0-cp311-cp311-manylinux_2_28_x86_64.whl (1.5 GB)
Installing collected packages: numpy, torch, rich
"""


@pytest.fixture
def install(tmp_path: Path):
    """`install(code)`: the script over a pip that prints OUTPUT and ends with that code."""
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").touch()
    (tmp_path / "constraints.txt").write_text("# tested\nnumpy==2.4.6\nrich==14.0\ntorch==2.15.0\n")

    def run(code: int) -> subprocess.CompletedProcess[str]:
        text = f"import sys\nopen('words', 'w').write(' '.join(sys.argv[1:]))\nprint({OUTPUT!r})\nsys.exit({code})\n"
        (tmp_path / "pip" / "__main__.py").write_text(text)
        words = [sys.executable, SCRIPT, "--constraint", "constraints.txt", "--editable", ".[dev]"]
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_the_last_line_counts_packages_and_megabytes(install, tmp_path: Path) -> None:
    done = install(0)
    assert done.returncode == 0
    last = done.stdout.splitlines()[-1]
    assert last == "installing collected packages: 3 of about 3 found, 3 brought, 1,500 MB, 0:00 min"
    assert (
        tmp_path / "words"
    ).read_text() == "install --progress-bar off --constraint constraints.txt --editable .[dev]"


def test_where_pip_fails_its_own_words_and_code_come_through(install) -> None:
    done = install(3)
    assert done.returncode == 3
    assert OUTPUT in done.stdout
