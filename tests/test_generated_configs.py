"""Generated configs, command lines and records: each is read, or refused in a line that names what is wrong.

A few examples of each reader run always; ten thousand of each are slow.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from hypothesis import strategies as st

from streetlab import cli
from streetlab.checkpoints.metadata import read_metadata
from streetlab.checkpoints.read import read_weights
from streetlab.compare.select import select
from streetlab.config.composition import composer
from streetlab.datasets.labels import CAMVID, CITYSCAPES, CLEANLINESS
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD
from streetlab.records.overview import overview
from tests.support.generated import each, refused
from tests.support.generated_configs import VALUES, CommandConfigs, TrainConfigs, changed, changes, read_presets
from tests.support.tiny_runs import write_photos

TEN_THOUSAND = pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])


@pytest.mark.parametrize("count", [10, TEN_THOUSAND])
def test_yaml_of_every_group_trains_or_is_refused_by_its_key(count: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos", {"train": 2, "val": 1, "test": 1})
    configs = TrainConfigs(tmp_path)
    each(changes(configs.names), configs.read, count)


@pytest.mark.parametrize("count", [50, TEN_THOUSAND])
def test_the_keys_of_every_command_are_taken_or_refused_by_name(count: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    configs = CommandConfigs(tmp_path)
    each(changes(configs.names), configs.read, count)


# command lines

KEYS = st.sampled_from(
    ["seed", "model", "optimizer.lr", "dataset.root", "image_size", "experiment", "output", "study", "loss.losses.x",
     "hydra.run.dir", "trainer.max_epochs", "regime.phases", "+x", "~model", "++seed", "nope", "-m", "--cfg", "debug"]
) | st.text(max_size=4)  # fmt: skip
TEXTS = st.text(max_size=8) | st.text("{}[]()'\"=,:$\\ ~+-#äß\n", max_size=8) | st.sampled_from(
    ["1", "null", "abc", "[1,2]", "{a:1}", "'", '"', "${seed}", "${nope}",
     "a=b", "1,2", "glob(*)", "résumé", "x" * 300]
)  # fmt: skip
WORDS = (
    st.builds(lambda key, sign, text: f"{key}{sign}{text}", KEYS, st.sampled_from(["=", "=", "=", ""]), TEXTS) | TEXTS
)
COMMAND_NAMES = st.sampled_from(["train"] * 6 + ["cache", "runs", "compare", "audit", "predict", "trian", "survey", ""])


@pytest.fixture
def ends_well_or_in_a_line(tmp_path: Path, monkeypatch, capsys) -> Iterator[Callable[[list[str]], str]]:
    """Run a command line, whose command does nothing; return the line that it ends in, or an empty one."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    module = ModuleType("stand_in")
    module.run = lambda cfg: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stand_in", module)
    for name, command in cli.COMMANDS.items():
        stand_in = cli.Command("stand_in", command.help, command.records, command.first)
        monkeypatch.setitem(cli.COMMANDS, name, stand_in)

    def check(words: list[str]) -> str:
        code = cli.run(words)
        captured = capsys.readouterr()
        assert code in (0, 2), captured.err
        assert "Traceback" not in captured.err
        for made in work.iterdir():
            shutil.rmtree(made) if made.is_dir() else made.unlink()
        if code == 0:
            return ""
        (message,) = captured.err.splitlines()
        assert message.startswith("streetlab: ")
        return message

    yield check
    logging.getLogger().setLevel(logging.WARNING)


@pytest.mark.parametrize("count", [8, TEN_THOUSAND])
def test_a_command_line_of_any_words_ends_in_a_code_and_a_line(count: int, ends_well_or_in_a_line) -> None:
    lines = st.tuples(COMMAND_NAMES, st.lists(WORDS, min_size=1, max_size=3))

    def check(line: tuple[str, list[str]]) -> None:
        ends_well_or_in_a_line([line[0], *line[1]])

    each(lines, check, count)


# half a second each
@pytest.mark.parametrize("count", [4, pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_presets_are_composed_or_refused_by_their_file_or_key(
    count: int, tmp_path: Path, ends_well_or_in_a_line
) -> None:
    mine, presets = tmp_path / "presets", read_presets()
    for name in presets:
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
    (mine / "experiment" / "of_recipe.yaml").write_text("# @package _global_\ndefaults: [/recipe/mine]\n")
    words_of = {"recipe": ["experiment=of_recipe"], "sweep": ["-m", "sweep=mine"]}

    def check(change: tuple[str, str, float, Any]) -> None:
        name, kind, where, value = change
        node, words = changed(presets[name], kind, where, value)
        group = name.partition("/")[0]
        (mine / group / "mine.yaml").write_text(f"# @package _global_\n{yaml.safe_dump(node)}")
        line = ends_well_or_in_a_line(["train", "--config-dir", str(mine), *words_of.get(group, [f"{group}=mine"])])
        names = " ".join(("mine", *words)).replace("/", " ").split()  # `override /loss` is about the loss
        assert not line or any(name in line for name in names), line

    check(("sweep/segmentation_variants", "nested", 0.0, None))  # its error's causes go round in a ring
    check(("sweep/cleanliness_regimes", "listed", 0.0, None))  # its error's text has no key
    check(("sweep/cleanliness_regimes", "replaced", 0.875, False))  # nor has this one's, of a job that it runs over
    check(("sweep/cleanliness_regimes", "replaced", 0.5, None))  # a sweep without a sweeper
    check(("experiment/realtime_efficientnet_lite0", "replaced", 0.5, "???"))  # a choice that is left open
    each(changes(list(presets)), check, count)


# what records and checkpoints hold

SPACES = {space.name: space.to_dict() for space in (CLEANLINESS, CITYSCAPES, CAMVID)}
METADATA = {
    "config": {"model": {"_target_": "x"}, "trainer": {"precision": "32-true"}, "dataset": {"name": "photos"}},
    "label_space": SPACES["cleanliness"], "image_size": [64, 64],
    "normalization": {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)},
}  # fmt: skip


@pytest.mark.parametrize("count", [30, TEN_THOUSAND])
def test_a_label_space_and_all_that_a_checkpoint_says_is_read_or_refused(count: int, tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"

    def check(change: tuple[str, str, float, Any]) -> None:
        name, kind, where, value = change
        metadata, _ = changed(METADATA | {"label_space": SPACES[name]}, kind, where, value)
        torch.save(write_contents(metadata), path)
        if refused(lambda: read_metadata(read_weights(path)), "best.ckpt"):
            return
        space = read_metadata(read_weights(path)).label_space
        assert all(isinstance(name, str) for name in space.names)
        assert len(space.palette) == len(space)

    each(changes(list(SPACES)), check, count)


def write_contents(metadata: Any) -> dict[str, Any]:
    state = {"network.weight": torch.zeros(2)}
    return {"epoch": 0, "global_step": 1, "state_dict": state, "streetlab": metadata}


@pytest.mark.parametrize("count", [30, TEN_THOUSAND])
def test_a_checkpoint_cut_or_changed_at_any_byte_is_read_or_refused(count: int, tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    torch.save(write_contents(METADATA), path)
    whole = path.read_bytes()

    def check(damage: tuple[float, list[tuple[float, int]]]) -> None:
        end, bytes_ = damage
        content = bytearray(whole)
        for where, value in bytes_:
            content[int(where * len(content))] = value
        path.write_bytes(content[: int(end * len(content))])
        refused(lambda: read_metadata(read_weights(path)), "best.ckpt")

    share = st.floats(0, 1, exclude_max=True)
    each(st.tuples(share | st.just(1.0), st.lists(st.tuples(share, st.integers(0, 255)), max_size=4)), check, count)


@pytest.mark.parametrize("count", [10, TEN_THOUSAND])
def test_records_cut_anywhere_or_with_another_value_are_compared_or_named(count: int, make_record) -> None:
    whole, damaged = make_record("whole"), make_record("damaged", seed=1)
    contents = {file.name: file.read_bytes() for file in damaged.path.iterdir() if file.is_file()}

    def check(damage: tuple[str, str, float, Any]) -> None:
        name, kind, where, value = damage
        for file, content in contents.items():
            (damaged.path / file).write_bytes(content)
        content = contents[name]
        if name.endswith(".json") and kind != "cut":
            node, _ = changed(json.loads(content), kind, where, value)
            (damaged.path / name).write_text(json.dumps(node))
        else:
            (damaged.path / name).write_bytes(content[: int(where * len(content))])
        refused(lambda: overview(damaged), "damaged")
        refused(lambda: select([whole.path.parent]), "damaged")

    kinds = st.sampled_from(["cut", "cut", "replaced", "replaced", "deleted", "nested"])
    where = st.floats(0, 1, exclude_max=True)
    each(st.tuples(st.sampled_from(sorted(contents)), kinds, where, VALUES), check, count)


def test_the_groups_of_the_generated_configs_are_all_that_train_has(tmp_path: Path) -> None:
    configs = TrainConfigs(tmp_path)
    with composer() as compose:
        chosen = {f"{group}/{choice}" for group in compose.groups() for choice in compose.choices(group)}
        of_train = set(compose.defaults("train")) - {"experiment", "debug", "sweep", "metrics"}
    assert {name for name in chosen if name.partition("/")[0] in of_train} == set(configs.files)
