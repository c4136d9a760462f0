"""The other benchmarks run through, on networks and pictures too small to tell anything."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow


def test_three_ways_to_train_are_compared_for_both_tasks(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script("photo_files"), "STREET_SIZE", (64, 128))
    words = ["--size", "32", "64", "--batch-size", "2", "--batches", "1", "--rounds", "2", "--workers", "1"]
    script("training_speed").main(["--networks", "resnet18", "deeplabv3_1", *words, "--output", str(tmp_path)])
    numbers = json.loads((tmp_path / "training_speed.json").read_text())["numbers"]
    assert list(numbers) == ["resnet18", "deeplabv3_1"]
    for case in numbers.values():
        assert len(case["images_per_second"]) == 3
        assert all(len(values) == 2 and min(values) > 0 for values in case["images_per_second"].values())
    page = (tmp_path / "training_speed.md").read_text()
    assert "ResNet-18, 64×32, batch 2" in page
    assert "Six variants" not in page  # only where all six were measured


def test_memory_is_measured_in_processes_of_their_own_and_what_does_not_fit_has_a_row(script, tmp_path):
    words = ["--networks", "resnet18", "--size", "32", "32", "--batch-sizes", "2", "0", "--output", str(tmp_path)]
    script("peak_memory").main(words)
    numbers = json.loads((tmp_path / "peak_memory.json").read_text())["numbers"]
    by_case = {(one["task"], one["batch_size"]): one for one in numbers}
    training, inference = by_case["training", 2], by_case["inference", 2]
    # weights, gradients and Adam's two averages
    assert training["peak"] >= 4 * training["parameters"] > 0
    assert training["peak"] > inference["peak"] > inference["parameters"]
    assert by_case["training", 0]["error"]
    assert "none: " in (tmp_path / "peak_memory.md").read_text()


def test_a_command_that_does_not_start_has_a_row_and_a_bad_exit_code(script, tmp_path, monkeypatch):
    start_up = script("start_up")
    monkeypatch.setattr(start_up, "COMMANDS", ["check", "chekc"])
    with pytest.raises(SystemExit):
        start_up.main(["--rounds", "1", "--output", str(tmp_path)])
    numbers = json.loads((tmp_path / "start_up.json").read_text())["numbers"]
    assert "no command 'chekc'" in numbers["failed"]["chekc --help"]
    assert set(numbers["failed"]) == {"chekc --help", "chekc --cfg=job"}
    assert numbers["seconds"]["check --cfg=job"][0] > 0


def test_a_step_before_and_now_is_measured_in_every_layout(script, tmp_path):
    words = ["--networks", "linknet", "lite0", "--size", "32", "64", "--batch-size", "2", "--rounds", "1"]
    script("segmentation_step").main([*words, "--output", str(tmp_path)])
    numbers = json.loads((tmp_path / "segmentation_step.json").read_text())["numbers"]
    assert list(numbers) == ["linknet", "lite0"]
    assert all(len(ways) == 6 and min(values) > 0 for ways in numbers.values() for values in ways.values())


def test_copies_are_sought_in_vain_among_random_images(script, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["audit_speed.py", "60"])
    script("audit_speed").main()
    assert capsys.readouterr().out.splitlines()[-1].startswith("| 60 | 0 |")
