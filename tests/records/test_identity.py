"""A finished run is taken for the one that is asked for only where it saw the same photos; records of before count."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.support.tiny_runs import TINY, write_photos

from streetlab import cli
from streetlab.config.composition import composer
from streetlab.config.run_names import run_name
from streetlab.records.record import RunRecord, find_runs
from streetlab.training.phases import PhaseSchedule

SHORT = ("regime=single", "regime.phases=[{name: train, epochs: 2, train: [all]}]")


def words(root: object = "photos", *further: str) -> list[str]:
    return ["train", *TINY, *SHORT, f"dataset.root={root}", *further]


def forget_what_later_versions_write(record: RunRecord) -> None:
    """Make the record one of commit 23878a2."""
    (record.path / "samples.csv").unlink()
    status = record.status
    for key in ("data_hash", "photos_hash", "contents", "working_directory"):
        del status[key]
    (record.path / "status.json").write_text(json.dumps(status))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    write_photos(folder / "photos", {"train": 6, "val": 3, "test": 3})
    monkeypatch.chdir(folder)
    return folder


def interrupt_second_epoch(monkeypatch: pytest.MonkeyPatch, line: list[str]) -> None:
    original = PhaseSchedule.on_train_epoch_start

    def stop(self: PhaseSchedule, trainer, pl_module) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt
        original(self, trainer, pl_module)

    with monkeypatch.context() as patch:
        patch.setattr(PhaseSchedule, "on_train_epoch_start", stop)
        assert cli.run(line) == 130


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (
            ["dataset=image_folder", "dataset.root=A/site1/photos"],
            "image_folder-timm_classifier-batch_size_4-root_photos-image_size_64x64-name_test_resnet-epo-9028a060",
        ),
        (
            ["experiment=cleanliness_from_scratch", "data=A/d1", "seed=3"],
            "cleanliness_from_scratch-timm_classifier-batch_size_4-image_size_64x64-name_test_resnet-epo-57e1e244",
        ),
    ],
)
def test_a_folder_is_called_what_commit_23878a2_called_it(asked: list[str], name: str) -> None:
    common = ["image_size=[64,64]", "batch_size=4", "model=timm_classifier", "model.name=test_resnet", "trainer=cpu"]
    common += ["regime.epochs=2", "dataset.cache_dir=cache"]
    with composer() as compose:
        assert run_name([*asked, *common], compose.compose("train", [*asked, *common])) == name


def test_a_record_of_before_is_found_and_not_taken_for_one_of_other_photos(
    project: Path, capsys: pytest.CaptureFixture
) -> None:
    assert cli.run(words()) == 0
    (record,) = find_runs("outputs")
    forget_what_later_versions_write(record)
    capsys.readouterr()
    assert cli.run(words()) == 0
    assert f"already completed, skipped: {project / record.path}" in capsys.readouterr().out
    shutil.move("photos/train/clean/clean_0.png", "photos/train/litter/litter_99.png")
    assert cli.run(words()) == 0
    assert f"{record.status['split_hash']} then, " in capsys.readouterr().err
    assert len(find_runs("outputs")) == 2


def test_an_interrupted_record_of_before_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    interrupt_second_epoch(monkeypatch, words())
    (record,) = find_runs("outputs")
    forget_what_later_versions_write(record)
    assert cli.run(words()) == 0
    assert "resuming after epoch 1" in capsys.readouterr().err
    assert record.state == "completed"
    assert record.status["data_hash"]


def test_resuming_on_other_photos_names_both_hashes_and_counts_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    interrupt_second_epoch(monkeypatch, words())
    (record,) = find_runs("outputs")
    before = {path: path.read_bytes() for path in record.path.rglob("*") if path.is_file()}
    shutil.move("photos/train/clean/clean_0.png", "photos/train/clean/other.png")
    Path("photos/val/clean/clean_1.png").unlink()
    capsys.readouterr()
    assert cli.run(words()) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "1 photo came, 2 went; " in line
    assert f"data hash {record.status['data_hash']} then, " in line
    assert "resume=never" in line
    assert {path: path.read_bytes() for path in record.path.rglob("*") if path.is_file()} == before

    assert cli.run(words("photos", "resume=never")) == 0  # the way that the line names
    capsys.readouterr()
    assert cli.run(words()) == 0
    assert "already completed, skipped" in capsys.readouterr().out


def test_a_checkpoint_of_a_run_on_other_photos_is_not_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    interrupt_second_epoch(monkeypatch, words("photos", "output=first"))
    Path("photos/val/clean/clean_1.png").unlink()
    assert cli.run(words("photos", "output=second", "resume=first/checkpoints/last.ckpt")) == 2
    assert "saw other photos: 1 photo went" in capsys.readouterr().err
    assert not Path("second/config.yaml").exists()


def test_a_run_that_failed_before_its_first_epoch_gives_its_folder_to_other_photos(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("photos/train/clean/broken.png").write_bytes(b"no image")
    assert cli.run(words()) == 2
    (record,) = find_runs("outputs")
    assert record.state == "failed"
    Path("photos/train/clean/broken.png").unlink()
    assert cli.run(words()) == 0
    (record,) = find_runs("outputs")
    assert record.state == "completed"


def test_a_chosen_folder_is_never_given_to_other_photos(capsys: pytest.CaptureFixture) -> None:
    assert cli.run(words("photos", "output=mine")) == 0
    status = (Path("mine") / "status.json").read_bytes()
    Path("photos/test/clean/clean_1.png").unlink()
    assert cli.run(words("photos", "output=mine")) == 2
    assert "mine holds a run of other photos or weights: 1 photo went; " in capsys.readouterr().err
    assert (Path("mine") / "status.json").read_bytes() == status


def test_a_relative_root_leads_from_where_the_run_was_recorded(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert cli.run(words("photos", "output=mine")) == 0
    elsewhere = tmp_path / "elsewhere"
    write_photos(elsewhere / "photos", {"train": 5, "val": 2, "test": 1})
    monkeypatch.chdir(elsewhere)
    capsys.readouterr()
    assert cli.run(["evaluate", f"run={project / 'mine'}"]) == 0
    printed = capsys.readouterr()
    answer = RunRecord(printed.out.strip().splitlines()[-1])
    assert answer.metrics["test"]["n"] == 9
    assert "these photos are not those" not in printed.out

    # where nothing lies there any longer, the photos here are looked at, and said to be others
    (project / "photos").rename(project / "gone")
    assert cli.run(["evaluate", f"run={project / 'mine'}"]) == 0
    printed = capsys.readouterr()
    other = RunRecord(printed.out.strip().splitlines()[-1])
    assert "these photos are not those of" in printed.out
    assert (other.metrics["test"]["n"], answer.metrics["test"]["n"]) == (3, 9)
    assert other.path != answer.path


def test_runs_on_photos_of_equal_names_and_other_contents_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert cli.run(words("photos", "output=runs/one")) == 0
    pixels = Path("photos/test/clean/clean_0.png").read_bytes()
    Path("photos/test/clean/clean_0.png").write_bytes(Path("photos/test/clean/clean_1.png").read_bytes())
    Path("photos/test/clean/clean_1.png").write_bytes(pixels)
    assert cli.run(words("photos", "output=runs/two")) == 0
    assert RunRecord("runs/one").status["split_hash"] == RunRecord("runs/two").status["split_hash"]
    capsys.readouterr()
    assert cli.run(["compare", "runs=runs"]) == 2
    assert "contents of the photos (data hash)" in capsys.readouterr().err
    assert cli.run(["compare", "runs=runs", "different_splits=true"]) == 0
    assert "Tested on 2 different splits" in Path("runs/compare/leaderboard.md").read_text()


@pytest.mark.slow
def test_jobs_that_differ_in_what_changes_no_result_are_all_run() -> None:
    line = [word for word in words() if not word.startswith("train")]
    assert cli.run(["train", "-m", *line, "num_workers=0,1"]) == 0
    assert [record.state for record in find_runs("outputs")] == ["completed"] * 2
