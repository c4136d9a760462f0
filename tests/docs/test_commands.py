"""Every command line of README and docs composes: its keys and choices exist, and its values have the right types."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from streetlab import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(?:sh|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands() -> Iterator[tuple[str, str]]:
    """Each line that starts streetlab, with the page that it stands on; lines that end in a backslash go on."""
    for page in PAGES:
        for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                if re.match(r"(torchrun .*-m )?streetlab ", line):
                    yield page.relative_to(ROOT).as_posix(), re.sub(r"^torchrun .*-m ", "", line)


def test_all_pages_are_read():
    assert len(PAGES) > 25
    assert len(list(commands())) > 50


@pytest.mark.slow
@pytest.mark.parametrize(("page", "line"), list(dict.fromkeys(commands())))
def test_the_command_composes(page, line, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        word for word in shlex.split(line, comments=True)[1:] if not re.match(r"-m$|--help$|sweep=optuna|hydra", word)
    ]
    words = [word.replace("glob(segmentation_*,exclude=*_lite0)", "segmentation_hrnet_1") for word in words]
    words = [re.sub(r"^([\w.@]+=)([\w.-]+),.*", r"\1\2", word) for word in words]  # the first of several jobs
    fixed = [word for word in words if not re.search(r"\b(range|interval|choice)\(", word)]
    code = cli.run([*fixed, "--cfg", "job"])
    assert code == 0, f"{page}: {line}\n{capfd.readouterr().err}"
