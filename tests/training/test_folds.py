"""Runs with folds and split files: every photo is tested once, by its group, and the record says by which file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.support.tiny_runs import TINY

from streetlab import cli
from streetlab.compare.grouping import differing_keys, read_finished
from streetlab.compare.select import select
from streetlab.datasets.splits import write_split
from streetlab.io.files import file_sha256
from streetlab.records.record import RunRecord, find_runs

SHORT = ("regime=single", "regime.phases=[{name: train, epochs: 1, train: [all]}]")


@pytest.fixture
def split_file(photos: Path, tmp_path: Path) -> Path:
    """A split by pairs of photos, without folds: those are drawn of its groups."""
    entries = {}
    for number, path in enumerate(sorted(photos.rglob("*.png"), key=lambda path: (path.parent.name, path.name))):
        split = ("train", "train", "val", "test")[number // 2 % 4]
        entries[file_sha256(path)] = {"split": split, "group": f"pair {number // 2}"}
    write_split(tmp_path / "split.json", entries, 0)
    return tmp_path / "split.json"


@pytest.mark.slow
@pytest.mark.parametrize("folds", [3, 5])
def test_the_folds_of_a_preset_test_each_photo_once_and_are_joined_by_groups(
    folds, photos, split_file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    line = [
        "train", "-m", "experiment=cleanliness_from_scratch", *TINY, *SHORT, "model.weights=none",
        f"dataset.root={photos}", f"dataset.split_file={split_file}",
        f"dataset.folds={folds}", f"dataset.fold=range({folds})",
    ]  # fmt: skip
    assert cli.run(line) == 0
    records = find_runs(tmp_path / "outputs")
    assert len(records) == folds
    entries = json.loads(split_file.read_text())["photos"]
    tested = {}
    for record in records:
        assert record.status["split_file"]["sha256"] == hashlib.sha256(split_file.read_bytes()).hexdigest()
        for split in ("val", "test"):
            found = record.predictions(split)
            assert set(found.labels) == {0, 1, 2}
            for photo, group in zip(found.ids, found.groups, strict=True):
                assert group == entries[file_sha256(photos / photo)]["group"]
                if split == "test":
                    assert tested.setdefault(photo, record.name) == record.name, "tested in two folds"
    assert tested.keys() == {path.relative_to(photos).as_posix() for path in photos.rglob("*.png")}
    groups_of = {record.name: set(record.predictions("test").groups) for record in records}
    assert sum(len(groups) for groups in groups_of.values()) == len(set.union(*groups_of.values())) == 26
    (joined,) = select([tmp_path / "outputs"]).runs
    assert len(set(joined.results().groups)) == 26


def test_a_new_split_under_the_old_name_is_another_run_and_the_old_one_elsewhere_is_the_same(
    photos, split_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)

    def train(file: Path, *words: str, code: int = 0) -> list[RunRecord]:
        line = ["train", *TINY, *SHORT, "debug=fast_dev_run", f"dataset.root={photos}", f"dataset.split_file={file}"]
        assert cli.run([*line, *words]) == code
        return find_runs(tmp_path / "outputs")

    (first,) = train(split_file)
    assert first.status["split_file"] == {"name": "split.json", "sha256": file_sha256(split_file)}
    moved = tmp_path / "elsewhere" / "split.json"
    moved.parent.mkdir()
    split_file.rename(moved)
    assert len(train(moved)) == 1
    assert "already completed, skipped" in capsys.readouterr().out
    plain = json.loads(moved.read_text())
    plain["photos"][next(iter(plain["photos"]))]["split"] = None
    moved.write_text(json.dumps(plain))
    assert len(train(moved)) == 2
    runs = [read_finished(record) for record in find_runs(tmp_path / "outputs")]
    assert differing_keys(runs) == ["dataset.split_file"], "compare takes the second for a repetition of the first"
    train(moved, f"output={first.path}", code=2)
    assert "holds a run of other photos or weights" in capsys.readouterr().err


def test_an_evaluation_says_which_split_file_it_used(train, photos, split_file):
    record = train(*SHORT, "debug=fast_dev_run")
    assert record.status["split_file"] is None
    assert cli.run(["evaluate", f"run={record.path}", f"dataset.split_file={split_file}"]) == 0
    (answer,) = find_runs(record.path / "evaluate")
    assert answer.status["split_file"] == {"name": "split.json", "sha256": file_sha256(split_file)}
    assert answer.status["split_hash"] != record.status["split_hash"]
    assert all(group.startswith("pair ") for group in answer.predictions("test").groups)


def test_folds_without_a_fold_are_one_line_before_anything_is_trained(train, capsys):
    train("dataset.folds=5", code=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert "dataset.folds: 5 folds, but which one tests?" in line
