"""Every package that the code imports is one that pyproject.toml names."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS_OF_FOLDERS = {
    "streetlab/app/": "app",
    "streetlab/export/": "export",
    "streetlab/inference/video/": "video",
    "streetlab/survey/": "survey",
    "streetlab/sweeps/": "sweep",
    "hydra_plugins/": "sweep",
}
"""Folders that are imported only where an extra is installed."""


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


CORE = names(PROJECT["dependencies"])
EXTRAS = {extra: names(lines) for extra, lines in PROJECT["optional-dependencies"].items() if extra != "dev"}


def imported(tree: ast.AST, late: bool = False) -> Iterator[tuple[str, bool]]:
    """Names of the packages that a file imports, and for each if it does so late: in a function, or for types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0], late
        guarded = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        yield from imported(node, late or guarded)


def undeclared(source: Path) -> list[str]:
    """A line for each import that the package, or the extra of its folder, does not bring."""
    distributions = packages_distributions()
    faults = set()
    for path in source.rglob("*.py"):
        place = path.relative_to(source).as_posix()
        brought = CORE.union(
            *(EXTRAS[extra] for folder, extra in EXTRAS_OF_FOLDERS.items() if place.startswith(folder))
        )
        for package, late in imported(ast.parse(path.read_text())):
            if package in sys.stdlib_module_names or package in ("streetlab", "hydra_plugins"):
                continue
            candidates = {canonicalize_name(name) for name in distributions.get(package, [package])}
            if not candidates & (brought.union(*EXTRAS.values()) if late else brought):
                faults.add(f"{place} imports {package}")
    return sorted(faults)


def test_what_is_imported_is_declared():
    assert undeclared(ROOT / "src") == []


@pytest.mark.parametrize(
    ("line", "place", "complaint"),
    [
        ("import sklearn", "streetlab/plots/a.py", ["streetlab/plots/a.py imports sklearn"]),
        ("import fastapi", "streetlab/plots/a.py", ["streetlab/plots/a.py imports fastapi"]),
        ("def late():\n    import statsmodels", "streetlab/plots/a.py", ["streetlab/plots/a.py imports statsmodels"]),
        ("import fastapi", "streetlab/app/a.py", []),
        ("def late():\n    import onnx", "streetlab/plots/a.py", []),
    ],
)
def test_an_import_is_held_against_its_folder_and_its_guard(tmp_path, line, place, complaint):
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n")
    assert undeclared(tmp_path) == complaint


def test_nothing_is_installed_that_is_not_imported():
    distributions = packages_distributions()
    source = [path.read_text() for path in (ROOT / "src").rglob("*.py")]
    packages = {package for text in source for package, _ in imported(ast.parse(text))}
    assert {canonicalize_name(name) for package in packages for name in distributions.get(package, ())} >= CORE


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_releases_of_lightning_that_were_tampered_with_are_never_installed(version: str) -> None:
    (lightning,) = (Requirement(line) for line in PROJECT["dependencies"] if line.startswith("pytorch-lightning"))
    assert not lightning.specifier.contains(version)
    (tested,) = re.findall(r"^pytorch-lightning==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert lightning.specifier.contains(tested)
