"""Run every snippet of docs/how-to/own-parts.md: the files that it shows, and the command of each section."""

from __future__ import annotations

import csv
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.support.tiny_runs import CLASSES, TINY, write_photos

from streetlab import cli
from streetlab.training import schedules

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "own-parts.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
SMALL = (*TINY, "regime=single", "regime.phases=[{name: train, epochs: 1, train: [all]}]", "output=run")


def fences(language: str, text: str = PAGE) -> list[str]:
    return [body for name, body in FENCE.findall(text) if name == language]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `mine/` as the page shows it, and photos with a table."""
    root = tmp_path_factory.mktemp("page")
    for body in fences("yaml") + fences("python"):
        path = re.match(r"# (mine/\S+)\n", body)[1]
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        with (root / path).open("a") as file:
            file.write(body)
    write_photos(root / "photos", {"train": 5, "val": 2, "test": 2})
    with (root / "photos" / "photos.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["split", "file", "label"])
        for path in sorted((root / "photos").glob("*/*/*.png")):
            table.writerow([path.parts[-3], path.relative_to(root / "photos"), CLASSES.index(path.parts[-2])])
    yield root
    sys.modules.pop("my_parts", None)


def evidence(section: str, root: Path) -> bool:
    """Check that the part has taken part in the run."""
    run = root / "run"
    columns = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    test = json.loads((run / "metrics.json").read_text())["test"]
    weights = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    config = (run / "config.yaml").read_text()
    return {
        "Logger": lambda: len(list(root.glob("logs/lightning_logs/*/metrics.csv"))) == 1,
        "Callback": lambda: "train/gradient_norm" in columns,
        "Early stopping": lambda: "EarlyStopping" in config and "NanGuard" in config,
        "Scheduler": lambda: "CosineAnnealingLR" in config,
        "Transform": lambda: "my_parts.Rain" in config and "GaussianBlur" in config,
        "Metric": lambda: 0 <= test["auroc"] <= 1 and 1 / 3 < test["confidence"] < 1 and "val/auroc" in columns,
        "Loss": lambda: torch.equal(weights["loss.weight"], torch.tensor([1.0, 1.0, 2.0])),
        "Network": lambda: weights["network.head.weight"].shape == (3, 32),
        "Data set": lambda: test["n"] == 6 and "my_parts.Listed" in config,
    }[section]()


@pytest.mark.parametrize("section", SECTIONS)
def test_the_command_of_a_section_runs_with_the_files_of_the_page(section, place, tmp_path, monkeypatch):
    if section == "Scheduler" and not hasattr(schedules, "build_schedule"):
        pytest.skip("schedulers of torch's own are not taken yet")
    for folder in ("mine", "photos"):
        (tmp_path / folder).symlink_to(place / folder)
    monkeypatch.chdir(tmp_path)
    (command,) = fences("shell", SECTIONS[section])
    words = shlex.split(command)[1:]
    chosen = {word.partition("=")[0] for word in words}
    small = [word for word in SMALL if word.partition("=")[0] not in chosen]
    if "model" in chosen:
        small = [word for word in small if not word.startswith("model.")]
    assert cli.run([*words, *small, "dataset.root=photos"]) == 0
    assert evidence(section, tmp_path)


def test_each_section_names_all_of_its_files():
    files = [re.match(r"# mine/(\w+)/(\w+)\.yaml\n", body) for body in fences("yaml")]
    commands = " ".join(fences("shell"))
    for match in files:
        assert re.search(rf"\b{match[1]}=[\w\[,]*\b{match[2]}\b", commands), f"{match[0]} is in no command"
