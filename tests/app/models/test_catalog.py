"""The catalog: which models the page offers, what it says of them, and which of them are in memory."""

from __future__ import annotations

import json
import shutil
import threading
import time
from typing import Any

import pytest
from tests.support.app_records import Columns, settings, write_record
from tests.support.exports import write_by_hand

from streetlab.app.models import catalog as catalog_module
from streetlab.app.models import entries
from streetlab.app.models.catalog import Catalog, UnknownModel
from streetlab.datasets.labels import CAMVID, CLEANLINESS
from streetlab.errors import UserError
from streetlab.inference import predictor as predictor_module

MEGABYTE = 1024**2


@pytest.fixture(autouse=True)
def _scans_at_once(monkeypatch):
    monkeypatch.setattr(catalog_module, "_RESCAN_SECONDS", -1.0)


@pytest.fixture
def loads(monkeypatch) -> list[str]:
    """The names of the runs whose networks were loaded, in order; no network is."""
    asked: list[str] = []

    class Counted(Columns):
        image_size = (64, 96)

        @classmethod
        def from_run(cls, run, checkpoint="best", **how: Any) -> Counted:
            asked.append(run.name)
            return cls()

        @classmethod
        def from_checkpoint(cls, path, **how: Any) -> Counted:
            asked.append(path.name)
            return cls()

        @classmethod
        def from_export(cls, path, **how: Any) -> Counted:
            assert "precision" not in how, "a file has its own"
            asked.append(path.name)
            return cls()

    monkeypatch.setattr(predictor_module, "Predictor", Counted)
    return asked


def test_finished_runs_are_listed_with_what_the_record_says(tmp_path):
    write_record(tmp_path / "runs" / "sweep" / "best", score=0.7, experiment="segmentation_hrnet_3_plus")
    write_record(tmp_path / "runs" / "second", score=0.4)
    resnet = {"_target_": "streetlab.networks.classifiers.timm_classifier", "name": "resnet18.tv_in1k"}
    write_record(tmp_path / "runs" / "labels", CLEANLINESS, score=0.9, network=resnet, temperature=1.5)
    write_record(tmp_path / "runs" / "going", state="running")
    write_record(tmp_path / "runs" / "without").checkpoints.joinpath("best.ckpt").unlink()
    listed = Catalog(settings(tmp_path)).models()
    assert [(entry["name"], entry["task"], entry["score"]) for entry in listed] == [
        ("labels", "classification", 0.9), ("best", "segmentation", 0.7), ("second", "segmentation", 0.4),
    ]  # fmt: skip
    labels, best, second = listed
    assert labels["title"] == "resnet18 on CamVid"
    assert (best["title"], best["variant"]) == ("HRNet 3+ on CamVid", "HRNet 3+")
    assert (second["title"], second["variant"]) == ("HRNetV2-W18 small on CamVid", None)
    assert best["metrics"] == {"miou": 0.7, "n": 5}, "only plain numbers"
    assert (best["split"], best["objective"], best["image_size"]) == ("test", "miou", [64, 96])
    assert (best["parameters"], best["gmacs"], best["images_per_second"]) == (7, 0.5, 3.0)
    assert best["classes"][3] == {"name": "road", "color": "#804080", "category": "flat", "criterion": None}
    assert (labels["calibrated"], labels["ordinal"], best["calibrated"]) == (True, True, False)
    assert (labels["activations"], best["activations"]) == (True, False)
    assert best["trained_on"] == best["data_set"] == "CamVid"
    assert labels["classes"][0]["criterion"] == CLEANLINESS.criteria[0]
    json.dumps(listed, allow_nan=False)


@pytest.mark.parametrize(
    ("experiment", "name"),
    [
        *[(f"segmentation_deeplabv3_{n}", f"DeepLabV3 {n}") for n in (1, 2, 3)],
        *[(f"segmentation_hrnet_{n}", f"HRNet {n}") for n in (1, 2, 3)],
        ("segmentation_deeplabv3_1_plus", "DeepLabV3 1+"),
        ("segmentation_deeplabv3_2_r101_plus", "DeepLabV3 2 ResNet-101+"),
        ("demo_segmentation", None),
        (None, None),
    ],
)
def test_the_variants_of_the_original_study_show_as_such(experiment, name):
    assert entries.variant_name(experiment) == name


def test_models_of_one_kind_are_told_apart(tmp_path):
    for seed in (0, 1):
        write_record(tmp_path / "runs" / f"seed{seed}", seed=seed, score=0.5 - seed / 10)
    write_record(tmp_path / "runs" / "seed1-again", seed=1, score=0.1)
    titles = [entry["title"] for entry in Catalog(settings(tmp_path)).models()]
    named = "HRNetV2-W18 small on CamVid"
    assert titles == [f"{named}, seed 0", f"{named}, seed1", f"{named}, seed1-again"]


def test_a_bookmarked_model_is_the_same_after_a_restart(tmp_path):
    write_record(tmp_path / "runs" / "one")
    write_record(tmp_path / "runs" / "two", score=0.1)
    before = [entry["id"] for entry in Catalog(settings(tmp_path)).models()]
    assert before == [entry["id"] for entry in Catalog(settings(tmp_path)).models()]
    assert len(set(before)) == 2
    assert all(id_.isalnum() and len(id_) == 16 for id_ in before)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.json", "{"),
        ("metrics.json", "{}"),
        ("metrics.json", '{"objective": 3, "label_space": {"names": 5}}'),
        ("config.yaml", "[1"),
        ("config.yaml", "model: 3\ndataset: {name: x}\nimage_size: [1, 2]\n"),
        ("status.json", "not json"),
    ],
)
def test_a_damaged_record_is_left_out_and_named_once(tmp_path, caplog, file, content):
    write_record(tmp_path / "runs" / "good")
    bad = write_record(tmp_path / "runs" / "bad")
    (bad.path / file).write_text(content)
    catalog = Catalog(settings(tmp_path))
    for _ in range(3):
        assert [entry["name"] for entry in catalog.models()] == ["good"]
    said = [entry.message for entry in caplog.records if "bad" in entry.message]
    assert len(said) == (file != "status.json"), "a run whose status cannot be read may just be beginning"


def test_a_run_appears_when_it_is_finished_and_goes_when_it_is_deleted(tmp_path):
    catalog = Catalog(settings(tmp_path))
    assert catalog.models() == []
    record = write_record(tmp_path / "runs" / "new", state="running")
    assert catalog.models() == []
    record.write_status(state="completed")
    (entry,) = catalog.models()
    assert catalog.entry(entry["id"]) == entry
    shutil.rmtree(record.path)
    assert catalog.models() == []
    with pytest.raises(UnknownModel, match="no such model"):
        catalog.entry(entry["id"])
    with pytest.raises(UnknownModel):
        catalog.predictor(entry["id"])


def test_further_runs_and_checkpoints_are_listed_once_each(tmp_path, loads):
    inside = write_record(tmp_path / "runs" / "one")
    write_record(tmp_path / "elsewhere" / "two", score=0.1)
    alone = tmp_path / "alone.ckpt"
    alone.write_bytes(b"weights")
    more = (inside.path, inside.checkpoints / "best.ckpt", tmp_path / "elsewhere", alone, tmp_path / "gone")
    listed = Catalog(settings(tmp_path, models=more)).models()
    assert [(entry["name"], entry["score"]) for entry in listed] == [("one", 0.5), ("two", 0.1), ("columns", None)]
    assert listed[-1]["classes"][0]["name"] == CAMVID.names[0]
    assert loads == ["alone.ckpt"]


def test_what_was_exported_of_a_run_is_a_model_of_its_own(tmp_path, loads):
    run = write_record(tmp_path / "runs" / "one", score=0.7)
    export = run.path / "export"
    write_by_hand(export / "model_fp32.onnx")
    write_by_hand(export / "model_int8.onnx", precision="int8")
    write_by_hand(export / "model_fp16.onnx", precision="fp16")
    (export / ".model_int8.onnx").write_bytes(b"half-written")
    tested = {"split": "val", "exported": {"miou": 0.6, "per_class": {}}}
    (export / "report_model_int8.json").write_text(json.dumps({"quality": tested}))
    (export / "report_model_fp16.json").write_text(json.dumps({"quality": {"skipped": "evaluate=false"}}))
    catalog = Catalog(settings(tmp_path, precision="bf16-mixed"))
    listed = {entry["title"].removeprefix("HRNetV2-W18 small on CamVid"): entry for entry in catalog.models()}
    told = {title: (entry["score"], entry["split"], entry["metrics"]) for title, entry in listed.items()}
    assert told == {
        "": (0.7, "test", {"miou": 0.7, "n": 5}),
        " · FP32 ONNX": (0.7, "test", {"miou": 0.7, "n": 5}),
        " · INT8 ONNX": (0.6, "val", {"miou": 0.6}),
        " · FP16 ONNX": (None, None, {}),
    }
    int8 = listed[" · INT8 ONNX"]
    assert (int8["data_set"], int8["parameters"], int8["images_per_second"]) == ("CamVid", 7, None)
    assert int8["checkpoint_bytes"] == (export / "model_int8.onnx").stat().st_size
    assert [entry["name"] for entry in int8["classes"]] == ["red", "green", "blue"], "those of the file"
    assert loads == [], "a file is listed from its metadata"
    catalog.predictor(int8["id"])
    assert loads == ["model_int8.onnx"]
    (export / "report_model_int8.json").write_text(json.dumps({"quality": tested | {"exported": {"miou": 0.65}}}))
    assert catalog.models()[2]["score"] == 0.65, "tested again"


def test_an_exported_file_named_alone_is_listed_by_its_card_or_as_its_runs(tmp_path, loads, caplog):
    run = write_record(tmp_path / "elsewhere" / "one")
    inside = write_by_hand(run.path / "export" / "model_fp32.onnx")
    alone = write_by_hand(tmp_path / "alone.onnx", precision="int8", temperature=2.0)
    damaged = tmp_path / "damaged.pt2"
    damaged.write_bytes(b"PK")
    listed = Catalog(settings(tmp_path, models=(inside, alone, damaged))).models()
    assert [(entry["title"], entry["score"]) for entry in listed] == [
        ("HRNetV2-W18 small on CamVid · FP32 ONNX", 0.5),
        ("crafted · INT8 ONNX", None),
    ]
    assert (listed[1]["calibrated"], listed[1]["activations"]) == (True, False)
    assert [entry.message.split(":")[0] for entry in caplog.records] == ["left out"]
    assert loads == []


def test_a_thousand_records_are_listed_in_seconds_and_then_from_memory(tmp_path, monkeypatch):
    first = write_record(tmp_path / "runs" / "run0000")
    for number in range(1, 1000):
        shutil.copytree(first.path, tmp_path / "runs" / f"run{number:04d}")
    catalog = Catalog(settings(tmp_path))
    began = time.perf_counter()
    assert len(catalog.models()) == 1000
    assert time.perf_counter() - began < 15, "it is about a second"
    monkeypatch.setattr(catalog_module, "run_entry", lambda *arguments: pytest.fail("read again"))
    assert len(catalog.models()) == 1000


def test_a_network_is_loaded_once_and_the_least_recently_used_goes(tmp_path, loads):
    for number, score in enumerate((0.9, 0.8, 0.7)):
        write_record(tmp_path / "runs" / f"m{number}", score=score)
    catalog = Catalog(settings(tmp_path, memory_bytes=250))
    first, second, third = (entry["id"] for entry in catalog.models())
    kept = catalog.predictor(first)
    assert catalog.predictor(first) is kept
    catalog.predictor(second)
    catalog.predictor(first)
    catalog.predictor(third)
    assert catalog.loaded() == [first, third]
    assert catalog.predictor(first) is kept
    catalog.predictor(second)
    assert loads == ["m0", "m1", "m2", "m1"]
    assert kept.predict([]) == [], "what a job has in hand outlives its place in the catalog"


def test_one_network_is_kept_however_little_memory_there_may_be(tmp_path, loads):
    write_record(tmp_path / "runs" / "a")
    write_record(tmp_path / "runs" / "b", score=0.1)
    catalog = Catalog(settings(tmp_path, memory_bytes=1))
    one, other = (entry["id"] for entry in catalog.models())
    for asked in (one, one, other):
        catalog.predictor(asked)
        assert catalog.loaded() == [asked]
    assert loads == ["a", "b"]


def test_a_network_trained_anew_is_loaded_anew(tmp_path, loads):
    record = write_record(tmp_path / "runs" / "a")
    catalog = Catalog(settings(tmp_path))
    (entry,) = catalog.models()
    catalog.predictor(entry["id"])
    (record.checkpoints / "best.ckpt").write_bytes(b"other weights")
    catalog.predictor(entry["id"])
    assert loads == ["a", "a"]


def test_many_threads_load_a_network_once_and_another_one_meanwhile(tmp_path, monkeypatch):
    write_record(tmp_path / "runs" / "slow")
    write_record(tmp_path / "runs" / "quick", score=0.1)
    loads, may_end, begun = [], threading.Event(), threading.Event()

    class Waits(Columns):
        @classmethod
        def from_run(cls, run, checkpoint="best", **how):
            loads.append(run.name)
            if run.name == "slow":
                begun.set()
                assert may_end.wait(60)
            return cls()

    monkeypatch.setattr(predictor_module, "Predictor", Waits)
    catalog = Catalog(settings(tmp_path))
    slow, quick = (entry["id"] for entry in catalog.models())
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.append(catalog.predictor(slow))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    assert catalog.predictor(quick) is not None, "it does not wait for the slow one"
    may_end.set()
    for thread in threads:
        thread.join(60)
    assert loads == ["slow", "quick"]
    assert len({id(predictor) for predictor in got}) == 1
    assert len(got) == 4


@pytest.mark.parametrize("damage", ["text", "a folder's name"])
def test_a_network_that_does_not_load_is_one_line_without_our_folders(tmp_path, damage):
    record = write_record(tmp_path / "runs" / "a")
    (record.checkpoints / "best.ckpt").write_bytes(damage.encode())
    catalog = Catalog(settings(tmp_path))
    (entry,) = catalog.models()
    with pytest.raises(UserError) as raised:
        catalog.predictor(entry["id"])
    (line,) = str(raised.value).splitlines()
    assert line.startswith("model: HRNetV2-W18 small on CamVid does not load (")
    assert str(tmp_path) not in line
    assert catalog.loaded() == []


def test_faults_of_our_own_are_one_line_too(tmp_path, monkeypatch, caplog):
    write_record(tmp_path / "runs" / "a")

    class Breaks:
        @classmethod
        def from_run(cls, run, **how):
            raise RuntimeError(f"cuDNN says no to {run.path}\nand more")

    monkeypatch.setattr(predictor_module, "Predictor", Breaks)
    catalog = Catalog(settings(tmp_path))
    (entry,) = catalog.models()
    with pytest.raises(UserError) as raised:
        catalog.predictor(entry["id"])
    assert str(raised.value) == "model: HRNetV2-W18 small on CamVid does not load (cuDNN says no to a)"
    assert "Traceback" in caplog.text
