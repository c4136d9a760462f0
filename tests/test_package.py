"""An installed wheel is as good as a checkout; floors import downwards only."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@cache
def modules() -> dict[str, Path]:
    source = ROOT / "src" / "streetlab"
    return {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in source.rglob("*.py")
    }


def imports(path: Path) -> set[str]:
    """Modules of streetlab that a file imports, at the top or inside a function, whatever the form."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "streetlab":
            module = node.module.removeprefix("streetlab").strip(".")
            parts = {f"{module}.{alias.name}".strip(".") for alias in node.names} & modules().keys()
            found |= parts or {module}
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("streetlab.") for alias in node.names if alias.name.startswith("streetlab.")
            }
    return found


def floors() -> list[str]:
    """The folders and files of the package from the top down, as README lists them."""
    (listing,) = re.findall(r"^src/streetlab/\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    names = [re.match(r"  (\S+)", line) for line in listing.splitlines()]
    return [match[1].strip("/").removesuffix(".py") for match in names if match]


def upward_imports(graph: dict[str, set[str]], order: list[str]) -> list[str]:
    """A line for each import of a folder that stands higher in the list, or is not in it."""
    place = {name: number for number, name in enumerate(order)}
    return [
        f"{name} imports {target}"
        for name, targets in sorted(graph.items())
        for target in sorted(targets)
        if (here := name.split(".")[0]) != (there := target.split(".")[0])
        and place.get(there, -1) <= place.get(here, -1)
    ]


@cache
def import_graph() -> dict[str, set[str]]:
    own = {"__init__", "__main__"}
    return {name: imports(path) & modules().keys() for name, path in modules().items() if name not in own}


def test_no_circular_imports():
    graph = import_graph()
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' -> '.join((*trail[trail.index(name) :], name))}"
        if name not in done:
            for target in graph[name]:
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_folders_import_downwards_in_the_order_of_the_readme():
    order = floors()
    assert {name.split(".")[0] for name in import_graph()} == set(order)
    assert upward_imports(import_graph(), order) == []


def test_an_upward_import_is_found_wherever_it_stands(tmp_path):
    planted = tmp_path / "files.py"
    planted.write_text("def late():\n    from streetlab.records import record\n")
    graph = import_graph() | {"io.files": imports(planted)}
    assert upward_imports(graph, floors()) == ["io.files imports records.record"]


@pytest.mark.parametrize(
    "module",
    ["streetlab.compare.command", "streetlab.datasets.scan", "streetlab.synthetic", "streetlab.app.server"],
)
def test_reading_records_and_serving_a_page_needs_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_predicting_with_an_exported_file_waits_neither_for_lightning_nor_for_timm():
    code = (
        "import sys, streetlab.inference.command; print({'pytorch_lightning', 'timm', 'torchvision'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


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
    assert (site / "streetlab" / "py.typed").is_file(), "type checkers would ignore the annotations"
    streetlab("check")
    assert "test" in streetlab("train", *small)
    assert list(empty.glob("outputs/cleanliness/*/metrics.json"))
