"""An installed wheel is as good as a checkout; floors import downwards only."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def modules() -> dict[str, Path]:
    source = ROOT / "src" / "streetlab"
    return {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in source.rglob("*.py")
    }


def imports(path: Path) -> set[str]:
    """Modules of streetlab that a file imports at the top, whatever the form."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("streetlab"):
            module = node.module.removeprefix("streetlab").strip(".")
            parts = {f"{module}.{alias.name}".strip(".") for alias in node.names} & modules().keys()
            found |= parts or {module}
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("streetlab.") for alias in node.names if alias.name.startswith("streetlab.")
            }
    return found


def test_no_circular_imports():
    graph = {name: {target for target in imports(path) if target in modules()} for name, path in modules().items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' -> '.join((*trail[trail.index(name) :], name))}"
        if name not in done:
            for target in graph[name]:
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize(
    ("floor", "never"),
    [
        ("data.index", ("nets", "tasks", "training")),
        ("runs", ("nets", "tasks", "training", "data.datamodule")),
        ("viz", ("nets", "tasks", "training", "data.datamodule")),
        ("nets", ("tasks", "training", "runs")),
        ("data", ("nets", "tasks", "training")),
        ("tasks", ("training",)),
        ("training", ("inference", "explain", "app")),
        ("inference", ("explain", "export", "app")),
        ("app", ("nets", "tasks", "training", "explain")),
        ("audit", ("nets", "tasks", "training", "data.datamodule")),
    ],
)
def test_floors_import_downwards(floor, never):
    for name, path in modules().items():
        if name == floor or name.startswith(f"{floor}."):
            wrong = [target for target in imports(path) if target.startswith(never)]
            assert not wrong, f"{name} imports {wrong}"


@pytest.mark.parametrize(
    "module",
    ["streetlab.compare.command", "streetlab.datasets.scan", "streetlab.synthetic", "streetlab.app.server"],
)
def test_reading_records_and_serving_a_page_needs_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_module_outgrows_a_reader():
    long = {name: lines for name, path in modules().items() if (lines := len(path.read_text().splitlines())) > 400}
    assert not long


@pytest.mark.slow
def test_wheel_checks_and_trains_in_an_empty_folder(tmp_path):
    wheel, site, empty = tmp_path / "wheel", tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheel, ROOT], check=True)
    (built,) = wheel.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", site, built], check=True)
    environment = os.environ | {"PYTHONPATH": str(site)}
    small = (
        "dataset.train=12",
        "dataset.val=6",
        "dataset.test=6",
        "dataset.size=[32,64]",
        "debug=fast_dev_run",
    )

    def streetlab(*words: str) -> str:
        line = [sys.executable, "-m", "streetlab", *words]
        return subprocess.run(line, cwd=empty, env=environment, check=True, capture_output=True, text=True).stdout

    where = subprocess.run(
        [sys.executable, "-c", "import streetlab; print(streetlab.__file__)"],
        cwd=empty, env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert str(site) in where, "the checkout was imported, not the wheel"
    assert (site / "streetlab" / "app" / "static" / "index.html").is_file()
    streetlab("check")
    assert "test" in streetlab("train", *small)
    assert list(empty.glob("outputs/cleanliness/*/metrics.json"))
