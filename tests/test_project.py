"""What the files around the package promise to contributors holds: workflow, hooks, guides, metadata."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import streetlab

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.MULTILINE))
CI = [
    word
    for line in (ROOT / ".ci" / "run").read_text().splitlines()
    if line.startswith("make ")
    for word in shlex.split(line)[1:]
]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PYTHONS = [line.split(" :: ")[-1] for line in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", line)]


def workflow() -> dict[Any, Any]:
    """The hosted workflow; YAML 1.1 takes its key `on` for true."""
    return yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())


def commands_of_make(target: str) -> list[str]:
    (recipe,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]


def test_the_workflow_runs_what_every_machine_runs():
    runs = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in workflow()["jobs"].items()}
    assert runs == {"ci": [".ci/run"], "page": ["make lint-js"]}
    assert "lint-js" in TARGETS
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100, "the workflow cannot start .ci/run"
    assert set(CI) <= TARGETS
    assert {"lint", "typecheck", "test"} <= set(CI)


def test_the_workflow_tests_every_python_that_the_package_names():
    job = workflow()["jobs"]["ci"]
    assert job["strategy"]["matrix"]["python"] == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    assert "${{ matrix.python }}" in job["container"]["image"]


def test_hooks_check_what_make_checks():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local", "a hook would be downloaded"
    entries = [hook["entry"] for hook in local["hooks"]]
    assert all(entry.startswith(".venv/bin/") for entry in entries)
    for target in ("lint", "typecheck"):
        for command in commands_of_make(target):
            tool, *words = command.split()[:2]
            verb = [word for word in words if word.isalpha()]
            assert any(entry.split()[: 1 + len(verb)] == [tool, *verb] for entry in entries), command


def test_the_guide_names_files_that_are_there():
    written = re.findall(r"`([\w./-]+/[\w./-]*)`", CONTRIBUTING)
    paths = {path for path in written if path.startswith(("src/", "conf/", "tests/", "docs/", ".github/", ".ci/"))}
    assert len(paths) > 20
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_the_guide_names_commands_that_are_there():
    targets = set(re.findall(r"^make ([a-z][\w-]*)", CONTRIBUTING, re.MULTILINE))
    assert targets <= TARGETS
    assert targets >= set(CI)


@pytest.mark.parametrize("group", ["model", "dataset", "loss", "scheduler", "augment", "regime"])
def test_the_guide_says_where_a_choice_of_each_group_goes(group):
    assert f"`conf/{group}/`" in CONTRIBUTING


def test_version_and_licence_are_the_same_wherever_they_stand():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] == streetlab.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]
    assert citation["keywords"] == PROJECT["keywords"]
    assert PROJECT["version"] in (ROOT / "CHANGELOG.md").read_text()
