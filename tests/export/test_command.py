"""`streetlab export`: from a run's folder to one file that is the same network, and a report that says how much so."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from tests.support.export_stand_ins import swap_network

from streetlab import cli
from streetlab.inference.exported import ExportedNetwork
from streetlab.records.record import RunRecord


@pytest.fixture
def pointwise(segmenter: RunRecord) -> RunRecord:
    """The finished run on drawn streets with a network that is exported in no time."""
    return swap_network(segmenter, "Segmenter")


@pytest.fixture
def complain(capfd):
    """`complain(run, "key=value", ...)`: exports, expects a fault, returns its one line."""

    def export(run: RunRecord, *words: str) -> str:
        assert cli.run(["export", f"run={run.path}", *words]) == 2
        (message,) = capfd.readouterr().err.splitlines()
        return message

    return export


def export(run: RunRecord, *words: str) -> dict:
    """Export, and return the report."""
    assert cli.run(["export", f"run={run.path}", *words]) == 0
    (report,) = (run.path / "export").glob("report_*.json")
    return json.loads(report.read_text())


def contents(run: RunRecord) -> dict[str, bytes]:
    paths = [path for path in run.path.rglob("*") if path.is_file() and "export" not in path.parts]
    return {str(path.relative_to(run.path)): path.read_bytes() for path in paths}


def test_the_file_is_the_runs_classifier_with_its_numbers_and_the_record_stays_as_it_was(classifier, capfd):
    before = contents(classifier)
    report = export(classifier)
    assert contents(classifier) == before
    file = classifier.path / "export" / "model_fp32.onnx"
    out, err = capfd.readouterr()
    assert out.splitlines()[-1] == str(file)
    assert err == ""
    assert report["agreement"]["share"] == 1.0
    assert len(report["agreement"]["sizes"]) == 6
    assert report["agreement"]["of"] == "labels"
    tested = classifier.metrics["test"]
    for side in ("pytorch", "exported"):
        assert report["quality"][side]["accuracy"] == pytest.approx(tested["accuracy"], abs=1e-9)
        assert report["quality"][side]["loss"] == pytest.approx(tested["loss"], rel=1e-3)
    assert report["bytes"]["file"] == file.stat().st_size
    assert report["latency"]["threads"] == torch.get_num_threads()
    metadata = ExportedNetwork.open(file).metadata
    assert (metadata.name, metadata.precision, metadata.image_size) == (classifier.name, "fp32", (32, 32))
    assert list(metadata.label_space.names) == list(tested["per_class"])
    text = (classifier.path / "export" / "report_model_fp32.md").read_text()
    assert f"| accuracy, test (n = {tested['n']}) |" in text


def test_both_formats_give_every_pixel_the_class_that_the_run_gives_it(pointwise):
    report = export(pointwise, "split=val")
    assert report["agreement"]["share"] >= 0.999
    assert report["agreement"]["of"] == "pixels"
    assert report["quality"]["split"] == "val"
    assert report["quality"]["exported"]["miou"] == pytest.approx(report["quality"]["pytorch"]["miou"], abs=1e-3)
    assert cli.run(["export", f"run={pointwise.path}", "format=torch", "evaluate=false"]) == 0
    folder = pointwise.path / "export"
    files = [ExportedNetwork.open(folder / name) for name in ("model_fp32.onnx", "model_fp32.pt2")]
    photos = np.random.default_rng(0).integers(0, 256, (2, 45, 71, 3), dtype=np.uint8)
    onnx, torch_file = (file.pixels(photos) for file in files)
    assert onnx.shape == (2, 19, 45, 71)
    np.testing.assert_allclose(onnx, torch_file, rtol=1e-4, atol=1e-4)
    torch_report = json.loads((folder / "report_model_fp32_torch.json").read_text())
    assert torch_report["quality"] == {"skipped": "evaluate=false"}


def test_a_data_set_that_is_gone_costs_the_quality_alone(classifier, tmp_path, capfd):
    config = classifier.path / "config.yaml"
    root = dict(classifier.config)["dataset"]["root"]
    config.write_text(config.read_text().replace(str(root), str(tmp_path / "gone")))
    report = export(swap_network(classifier, "Classifier"), "format=torch")
    assert "gone" in report["quality"]["skipped"]
    assert report["agreement"]["share"] == 1.0
    assert "Quality was not compared: " in capfd.readouterr().out


def test_a_second_export_replaces_the_first_and_its_report(pointwise):
    first = export(pointwise, "format=torch", "evaluate=false")
    state = torch.load(pointwise.checkpoints / "best.ckpt", weights_only=True)
    state["epoch"] = 8
    torch.save(state, pointwise.checkpoints / "best.ckpt")
    second = export(pointwise, "format=torch", "evaluate=false")
    assert first["epoch"] != second["epoch"] == 9
    assert sorted(path.name for path in (pointwise.path / "export").iterdir()) == [
        "model_fp32.pt2", "report_model_fp32_torch.json", "report_model_fp32_torch.md"
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_fewer_bits_make_a_file_of_their_own_that_says_so(precision, classifier):
    report = export(classifier, f"precision={precision}", "calibration=3")
    file = classifier.path / "export" / f"model_{precision}.onnx"
    assert ExportedNetwork.open(file).metadata.precision == report["precision"] == precision
    assert file.stat().st_size < 0.6 * report["bytes"]["weights"]
    assert 0.5 < report["agreement"]["share"] <= 1.0
    tested = classifier.metrics["test"]
    assert report["quality"]["pytorch"]["accuracy"] == pytest.approx(tested["accuracy"], abs=1e-9)
    assert report["quality"]["exported"]["n"] == tested["n"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["format=onx"], "format: 'onx' is not one of onnx, torch; did you mean 'onnx'?"),
        (["precision=fp23"], "precision: 'fp23' is not one of fp32, fp16, int8; did you mean 'fp32'?"),
        (["format=torch", "precision=int8"], "precision: 'int8' is for format=onnx; format=torch is written in fp32"),
        (["calibration=0"], "calibration: '0' is not a whole number of 1 or more images"),
        (["evaluate=perhaps"], "evaluate: 'perhaps' is not true or false"),
        (["split=tset"], "split: 'tset' is not one of train, val, test or null"),
        (["checkpoint=lsat"], "no file lsat (allowed: best, last, or a file); did you mean 'last'?"),
        (["output=config.yaml"], "output: config.yaml is a file; give a folder with output=DIR"),
    ],
)
def test_bad_input_is_one_line_that_says_what_is_allowed(words, expected, segmenter, complain, monkeypatch):
    monkeypatch.chdir(segmenter.path)
    assert expected in complain(segmenter, *words)
    assert not (segmenter.path / "export").exists()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("undecided", "Segmenter cannot be exported: its layer further (Branch) cannot be traced"),
        ("untranslatable", "there is no ONNX for aten.linalg_qr.default in further.1 (Orthogonal)"),
    ],
)
def test_what_cannot_be_exported_is_named_and_leaves_an_earlier_file_alone(target, expected, segmenter, complain):
    kept = segmenter.path / "export" / "model_fp32.onnx"
    kept.parent.mkdir()
    kept.write_bytes(b"earlier")
    assert expected in complain(swap_network(segmenter, target), "evaluate=false")
    assert {path.name: path.read_bytes() for path in kept.parent.iterdir()} == {kept.name: b"earlier"}


def test_torch_refuses_a_network_whose_graph_does_not_take_the_size_that_it_was_trained_at(classifier, complain):
    line = complain(classifier, "format=torch", "evaluate=false")
    assert "the graph of ResNet does not take its own 32x32 pixels" in line
    assert "format=onnx may" in line
    assert not (classifier.path / "export").exists()


def test_a_missing_package_is_named_with_the_extra_that_has_it(segmenter, complain, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "format: onnx needs onnxscript: pip install 'streetlab[export]'" in complain(segmenter)


def test_int8_without_the_data_that_calibrates_it_is_refused(classifier, tmp_path, complain):
    config = classifier.path / "config.yaml"
    root = dict(classifier.config)["dataset"]["root"]
    config.write_text(config.read_text().replace(str(root), str(tmp_path / "gone")))
    assert "gone" in complain(classifier, "precision=int8", "evaluate=false")
    assert not (classifier.path / "export").exists()
