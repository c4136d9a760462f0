"""Check the README, the ten examples and the tour of conf/."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from streetlab import cli
from streetlab.cli import COMMANDS
from streetlab.records.record import find_runs

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TRY = (ROOT / "docs" / "how-to" / "try.md").read_text().split("```")[1]
EXAMPLES = [line for line in TRY.splitlines() if line.startswith("streetlab ")]
SMALL = (
    "dataset.train=8",
    "dataset.val=6",
    "dataset.test=6",
    "dataset.size=[32,64]",
    "trainer.accelerator=cpu",
)


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_files_that_the_readme_links_to_exist():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_there_are_ten_examples():
    assert len(EXAMPLES) == 10


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_runs(example, tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(example, comments=True)[1:]
    cache = tmp_path_factory.getbasetemp() / "readme-cache"
    small = [*SMALL, f"dataset.cache_dir={cache}"]
    if not any(word.startswith("debug=") for word in words):
        small.append("debug=fast_dev_run")
    assert cli.run([*words, *small]) == 0
    records = find_runs(tmp_path / "outputs")
    assert len(records) == (4 if "-m" in words else 1)
    assert all(record.state == "completed" for record in records)


def test_every_command_is_in_the_table():
    table = README.split("## Commands")[1].split("##")[0]
    assert set(re.findall(r"`streetlab (\w+)", table)) >= set(COMMANDS)


def test_every_choice_is_in_the_tour():
    tour = (ROOT / "docs" / "reference" / "groups.md").read_text()
    conf = ROOT / "conf"
    named: dict[str, list[str]] = {}
    for group, cell in re.findall(r"^\| `(\w+)` \| (.*?) \|", tour, flags=re.MULTILINE):
        named.setdefault(group, []).extend(re.findall(r"`([\w*]+)`", cell))  # a group may have two lines
    for group, choices in named.items():
        there = {path.stem for path in (conf / group).glob("*.yaml")}
        for choice in choices:
            matching = {name for name in there if re.fullmatch(choice.replace("*", ".*"), name)}
            assert matching, f"{group}={choice} is in the tour but not in conf/"
            there -= matching
        assert not there, f"{group}: {', '.join(there)} missing in the tour"
