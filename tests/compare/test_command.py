"""The comparison ranks what can be compared, says what it left out, and its page stands on its own."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from omegaconf import OmegaConf
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score

from streetlab.compare import command
from streetlab.compare.options import DEFAULTS, options_of, run_paths
from streetlab.datasets.labels import CAMVID
from streetlab.errors import UserError
from streetlab.io import files
from streetlab.metrics.segmentation import summarize_segmentation
from streetlab.plots.figure import png
from streetlab.plots.sheets import SheetPhoto, photo_sheet
from streetlab.records.record import RunRecord


@pytest.fixture
def three_groups(make_record, tmp_path):
    """Two resnet18 regimes with three seeds each and one other network; returns the folder of runs."""
    frozen = ["regime=frozen_then_unfrozen"]
    for seed in range(3):
        make_record(f"s/a{seed}", skill=3.2, seed=seed, overrides=frozen)
        phases = [{"name": "train", "epochs": 40, "train": ["all"]}]
        changes = {"regime.phases": phases}
        make_record(f"s/b{seed}", skill=1.6, seed=seed, overrides=["regime=from_scratch"], **changes)
    make_record("s/c", skill=2.4, overrides=[*frozen, "model=convnext"], **{"model.name": "convnext_atto"})
    return tmp_path / "outputs"


@pytest.fixture
def make_segmentation(make_record):
    """`make_segmentation(name, skill=…, split=…, resolution=…, **make_record's)` → a completed record."""

    def make(name, *, skill=0.7, split="test", resolution=(360, 480), n=233, seed=0, **changes) -> RunRecord:
        record = make_record(name, seed=seed, n=3, **{"dataset.name": "camvid", **changes})
        rng = np.random.default_rng(seed + int(1000 * skill))
        matrix = rng.integers(0, 10**5, (11, 11)) + np.diag([int(10**6 * skill)] * 11)
        matrix[7] = matrix[:, 7] = 0  # no fence anywhere
        summary = {"loss": 0.3, **summarize_segmentation(matrix, CAMVID, n)}
        if resolution is not None:
            summary["resolution"] = list(resolution)
        metrics = {key: value for key, value in record.metrics.items() if key not in ("val", "test")}
        record.write_metrics(
            metrics
            | {"task": "segmentation", "objective": {"metric": "miou", "mode": "max"}, "label_space": CAMVID.to_dict()}
            | {"eval_split": split, split: summary}
        )
        (record.path / "predictions.csv").unlink()
        return record

    return make


def _rows(folder):
    with (folder / "compare" / "leaderboard.csv").open(newline="") as file:
        return list(csv.DictReader(file))


class _Page(HTMLParser):
    """Addresses that a page loads, its links, and every tag with an event handler."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for key, value in attrs:
            if key.startswith("on"):
                self.handlers.append(key)
            if key in ("src", "srcset", "data", "poster") or (key == "href" and tag == "link"):
                self.loads.append(value or "")
            elif key == "href" and tag == "a":
                self.links.append(value or "")


def test_the_numbers_equal_scikit_learn_and_scipy(three_groups, capsys):
    command.run(OmegaConf.create({"runs": str(three_groups), "output": None}))
    page = three_groups / "compare" / "compare.html"
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    rows = _rows(three_groups)
    means = [float(row["test_macro_f1"]) for row in rows]
    assert means == sorted(means, reverse=True)
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    for row in rows:
        tests = [RunRecord(path).predictions("test") for path in row["records"].split(";")]
        scores = [f1_score(t.labels, t.predictions, average="macro") for t in tests]
        assert float(row["test_macro_f1"]) == pytest.approx(np.mean(scores), abs=1e-6)
        assert [float(v) for v in row["test_macro_f1_by_seed"].split(";")] == pytest.approx(scores, abs=1e-6)
        if len(tests) > 1:
            assert float(row["test_macro_f1_sd"]) == pytest.approx(np.std(scores, ddof=1), abs=1e-6)
            assert row["test_accuracy_low95"] == ""
        else:
            hits = round(114 * accuracy_score(tests[0].labels, tests[0].predictions))
            wilson = binomtest(hits, 114).proportion_ci(method="wilson")
            assert float(row["test_accuracy_low95"]) == pytest.approx(wilson.low, abs=1e-6)
            assert float(row["test_accuracy_high95"]) == pytest.approx(wilson.high, abs=1e-6)


def test_the_terminal_shows_as_many_rows_as_are_tested_and_the_baseline(three_groups, capsys):
    command.run(OmegaConf.create({"runs": str(three_groups), "most_tested": 1, "baseline": "convnext"}))
    printed = capsys.readouterr().out
    names = {row.group.name: row.rank for row in command.compare([three_groups]).rows}
    assert len(names) == 3
    assert "1 more configurations are in leaderboard.md; most_tested=3 prints them too" in printed
    assert len(re.findall(r"^ ?[123]  \S", printed.split("best epoch")[0], re.MULTILINE)) == 2


def test_seeds_form_one_group_called_by_what_varies(three_groups):
    comparison = command.compare([three_groups])
    named = {row.group.name: row.group.seeds for row in comparison.rows}
    assert named == {
        "model=resnet18.tv_in1k · regime=frozen_then_unfrozen": (0, 1, 2),
        "model=resnet18.tv_in1k · regime=from_scratch": (0, 1, 2),
        "model=convnext · regime=frozen_then_unfrozen": (0,),
    }


def test_a_value_that_varies_within_a_choice_is_named_by_its_key(make_record, tmp_path):
    make_record("a", **{"optimizer.lr": 1e-3})
    make_record("b", **{"optimizer.lr": 3e-4})
    make_record("c", **{"optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1}})
    names = {row.group.name for row in command.compare([tmp_path / "outputs"]).rows}
    assert names == {
        "optimizer=Adam · optimizer.lr=0.001",
        "optimizer=Adam · optimizer.lr=0.0003",
        "optimizer=SGD",
    }


def test_a_preset_stands_for_all_it_changes(make_record, tmp_path):
    make_record("a", overrides=["experiment=pretrained"])
    make_record("b", overrides=["experiment=scratch"], **{"optimizer.lr": 0.01, "batch_size": 8})
    make_record("c", overrides=["experiment=scratch", "batch_size=16"], **{"optimizer.lr": 0.01, "batch_size": 16})
    names = {row.group.name for row in command.compare([tmp_path / "outputs"]).rows}
    assert names == {"pretrained", "scratch · batch_size=8", "scratch · batch_size=16"}


def test_where_a_run_was_written_and_on_what_it_ran_does_not_part_a_group(make_record, tmp_path):
    make_record("a", seed=0, **{"dataset.root": "/here/street_cleanliness", "num_workers": 0})
    make_record("b", seed=1, **{"dataset.root": "/there/street_cleanliness", "study": "other"})
    (row,) = command.compare([tmp_path / "outputs"]).rows
    assert row.group.seeds == (0, 1)


def test_a_repeated_seed_is_no_new_evidence(make_record, tmp_path):
    make_record("old").write_status(ended="2025-11-19")
    make_record("new").write_status(ended="2025-11-20")
    comparison = command.compare([tmp_path / "outputs"])
    assert [run.record.name for run in comparison.selection.runs] == ["new"]
    ((record, reason),) = comparison.selection.skipped
    assert record.name == "old"
    assert "same config and seed" in reason


def test_unfinished_and_damaged_records_are_listed_and_skipped(three_groups, make_record, capsys):
    RunRecord(three_groups / "s/failed").write_status(state="failed", error="loss is NaN")
    RunRecord(three_groups / "s/half").write_config({"seed": 0}, [])
    cut = make_record("s/cut")
    (cut.path / "metrics.json").write_text('{"task": "cla')
    bare = make_record("s/bare", seed=7)
    for name in ("model.json", "metrics.csv", "predictions.csv", "overrides.yaml"):
        (bare.path / name).unlink()
    command.run(OmegaConf.create({"runs": [str(three_groups)], "output": None}))
    out = capsys.readouterr().out.replace("\n", " ")
    page = (three_groups / "compare" / "compare.html").read_text()
    for name, reason in (("failed", "loss is NaN"), ("half", "half-written"), ("cut", "metrics.json")):
        assert re.search(rf"skipped \S*/s/\s*{name}:", out)
        assert reason in out
        assert f"/s/{name}</a>" in page
    assert "/s/bare" in page  # what is only missing shows as a dash


def test_nothing_to_compare_is_a_clear_error(tmp_path):
    with pytest.raises(UserError, match="no run record under"):
        command.compare([tmp_path])
    RunRecord(tmp_path / "a").write_status(state="interrupted")
    with pytest.raises(UserError, match=r"none of the 1 records .* is complete:\n .*a: interrupted"):
        command.compare([tmp_path])
    for number in range(40):
        RunRecord(tmp_path / f"b{number}").write_status(state="running")
    with pytest.raises(UserError, match="none of the 41 records") as caught:
        command.compare([tmp_path])
    assert str(caught.value).count("running") == 4
    assert "and 36 more" in str(caught.value)


def test_runs_tested_on_other_photos_are_refused(make_record, tmp_path):
    make_record("a")
    make_record("b", split_hash="ffff")
    with pytest.raises(UserError, match="split hash") as caught:
        command.compare([tmp_path / "outputs"])
    assert "ab12: 1 run" in str(caught.value)
    assert "different_splits=true" in str(caught.value)


def test_runs_of_two_tasks_are_refused(make_record, tmp_path):
    make_record("a")
    other = make_record("b")
    other.write_metrics(other.metrics | {"task": "segmentation"})
    with pytest.raises(UserError, match="the task is the same"):
        command.compare([tmp_path / "outputs"])


def test_debug_runs_do_not_stand_beside_whole_tests(make_record, tmp_path):
    make_record("a")
    make_record("debug", n=32, **{"trainer.limit_test_batches": 4})
    ((record, reason),) = command.compare([tmp_path / "outputs"]).selection.skipped
    assert record.name == "debug"
    assert "limit_test_batches=4" in reason


def test_the_page_loads_nothing_and_its_links_lead_to_the_records(three_groups):
    photo = SheetPhoto(np.zeros((40, 60, 3), np.uint8), ("true Clean", "x.png"), (1, 2, 3))
    files.write_bytes(three_groups / "s/c/figures/most_wrong.png", png(photo_sheet([photo]), 60))
    output = three_groups / "elsewhere" / "deep"
    path = command.write_comparison(command.compare([three_groups]), output)
    text = path.read_text()
    page = _Page(text)
    assert page.loads
    assert all(address.startswith("data:") for address in page.loads)
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    assert "script" not in page.tags
    assert page.tags.count("img") == 1
    assert len(page.links) == 7
    for address in page.links:
        assert (output / address / "status.json").exists()
    assert len(set(re.findall(r' id="([^"]*)"', text))) == len(re.findall(r' id="', text))


def test_a_hostile_name_is_text_everywhere(make_record, tmp_path):
    name = "<img src=x onerror=alert(1)> | `x` $a$ [red]"
    make_record(name, overrides=[f"model={name}"], **{"model.name": name})
    make_record("b")
    path = command.write_comparison(command.compare([tmp_path / "outputs"]), tmp_path / "out")
    page = _Page(path.read_text())
    assert "img" not in page.tags
    assert not page.handlers
    markdown = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "<img" not in markdown
    for section in markdown.split("\n## "):
        table = [line for line in section.splitlines() if line.startswith("| ")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1


def test_the_markdown_table_shows_n_spread_and_missing_numbers(three_groups):
    command.write_comparison(command.compare([three_groups]), three_groups / "compare")
    text = (three_groups / "compare" / "leaderboard.md").read_text()
    assert "n = 114 photos" in text
    assert "Fewer than five seeds" in text
    assert "3 (0, 1, 2)" in text
    assert "| 11.2 | 44.8 | 1.82 | – | 12.3 | 51 |" in text


def test_segmentation_runs_rank_by_miou_with_pixel_accuracy_and_class_ious(make_segmentation, tmp_path, capsys):
    root = tmp_path / "outputs"
    for seed in range(2):
        make_segmentation(f"a{seed}", skill=0.9, seed=seed, overrides=["model=hrnet"], **{"model.name": "hrnet"})
    other = make_segmentation("b", skill=0.4, overrides=["model=deeplab"], **{"model.name": "deeplab"})
    photo = SheetPhoto(np.zeros((40, 60, 3), np.uint8), ("x",), (1, 2, 3))
    files.write_bytes(other.figures / "best_median_worst.png", png(photo_sheet([photo]), 60))
    command.run(OmegaConf.create({"runs": str(root), "output": None}))
    out = capsys.readouterr().out
    assert "Ranked by mIoU on the test split, n = 233 images" in out
    assert "360 × 480" in out
    assert "Wilson" not in out
    rows = _rows(root)
    assert [row["name"] for row in rows] == ["model=hrnet", "model=deeplab"]
    for row in rows:
        numbers = [RunRecord(path).metrics["test"] for path in row["records"].split(";")]
        assert float(row["test_miou"]) == pytest.approx(np.mean([test["miou"] for test in numbers]))
        assert float(row["test_pixel_accuracy"]) == pytest.approx(np.mean([t["pixel_accuracy"] for t in numbers]))
        assert row["test_n"] == "233"
    assert not {"test_accuracy", "test_pixel_accuracy_low95"} & rows[0].keys()
    assert "| test mIoU | test pixel accuracy |" in (root / "compare" / "leaderboard.md").read_text()
    page = (root / "compare" / "compare.html").read_text()
    for text in ("IoU per class", "M pixels", "Best, median and worst images", "<th>test pixel accuracy</th>"):
        assert text in page
    for text in ("Most wrong", "Wilson", "F1 per class"):
        assert text not in page
    assert _Page(page).tags.count("img") == 1


def test_numbers_of_the_val_split_are_called_so(make_segmentation, tmp_path):
    make_segmentation("a", split="val")
    make_segmentation("debug", split="val", **{"trainer.limit_val_batches": 4})
    comparison = command.compare([tmp_path / "outputs"])
    page = command.write_comparison(comparison, tmp_path / "outputs" / "compare").read_text()
    (row,) = _rows(tmp_path / "outputs")
    assert {"val_n", "val_miou", "val_pixel_accuracy"} <= row.keys()
    assert not [column for column in row if column.startswith("test_")]
    assert "on the val split" in page
    assert "<th>val mIoU" in page
    ((record, reason),) = comparison.selection.skipped
    assert record.name == "debug"
    assert "limit_val_batches=4" in reason


def test_runs_tested_at_other_resolutions_are_refused(make_segmentation, tmp_path):
    make_segmentation("a")
    make_segmentation("old", resolution=None, seed=1)
    assert len(command.compare([tmp_path / "outputs"]).selection.runs) == 2
    make_segmentation("b", resolution=(720, 960), seed=2)
    with pytest.raises(UserError, match="resolution of the test is the same") as caught:
        command.compare([tmp_path / "outputs"])
    assert "360x480: 1 run, such as" in str(caught.value)
    assert "720x960: 1 run, such as" in str(caught.value)


def test_runs_that_tested_other_counts_of_images_are_refused(make_segmentation, tmp_path):
    make_segmentation("a")
    make_segmentation("b", n=500, seed=1)
    with pytest.raises(UserError, match="number of tested images is the same"):
        command.compare([tmp_path / "outputs"])


def test_the_config_composes_with_hydra():
    from pathlib import Path

    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        cfg = compose("compare", overrides=["runs=[a,b]"], return_hydra_config=True)
    assert run_paths({"runs": list(cfg.runs)})[1].name == "b"
    assert options_of(OmegaConf.to_container(cfg)) == DEFAULTS
    assert set(cfg) == {"runs", "output", "hydra", *DEFAULTS.__dataclass_fields__}
    assert cfg.hydra.job_logging is None or "handlers" not in cfg.hydra.job_logging
    assert cfg.hydra.output_subdir is None
