"""`streetlab explain`: from a run's folder to panels, raw maps, the list of what is wrong, scores and the page."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.support.short_runs import train_each_task
from tests.support.tiny_runs import write_photos

from streetlab import cli
from streetlab.records.record import RunRecord

HOSTILE = "<img src=x onerror=alert(1)> 'a' & \"b\".png"
FEW = ("scored_photos=6", "cells=4")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each task, by its name."""
    folder = tmp_path_factory.mktemp("explained")
    photos = write_photos(folder / "photos", {"train": 6, "val": 2, "test": 4})
    (photos / "test" / "clean" / "clean_0.png").rename(photos / "test" / "clean" / HOSTILE)
    return train_each_task(folder, photos, ["optimizer.lr=1e-5"])  # so slow that much is wrong


@pytest.fixture
def complain(capfd):
    """`complain(run, "key=value", ...)`: explains, expects a fault, returns its one line."""

    def explain(run: RunRecord, *words: str) -> str:
        assert cli.run(["explain", f"run={run.path}", *words]) == 2
        (message,) = capfd.readouterr().err.splitlines()
        return message

    return explain


def explain(run: RunRecord, *words: str) -> None:
    assert cli.run(["explain", f"run={run.path}", *words]) == 0


def contents(run: RunRecord) -> dict[str, bytes]:
    """Every file of the run's own."""
    paths = [path for path in run.path.rglob("*") if path.is_file() and "explain" not in path.parts]
    return {str(path.relative_to(run.path)): path.read_bytes() for path in paths}


def numbers(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def panels(folder: Path, *kinds: str) -> list[str]:
    return sorted(path.name for kind in kinds for path in (folder / kind).glob("*"))


def test_every_photo_has_a_panel_a_raw_map_and_a_card_and_the_record_stays_as_it_was(classifier, open_page, capfd):
    before, folder = contents(classifier), classifier.path / "explain"
    explain(classifier)
    assert contents(classifier) == before
    said = capfd.readouterr().out.splitlines()
    assert said[-1] == str(folder / "explain.html")
    predictions = classifier.predictions("test")
    wrong = {predictions.ids[i] for i in np.flatnonzero(predictions.labels != predictions.predictions)}
    with (folder / "wrong.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert {row["id"] for row in listed} == wrong
    for row in listed:
        i = list(predictions.ids).index(row["id"])
        assert float(row["p_true"]) == pytest.approx(predictions.probabilities[i, predictions.labels[i]])
    assert len(panels(folder, "wrong")) == len(wrong)
    assert len(panels(folder, "correct")) == 12 - len(wrong)
    with np.load(folder / "maps.npz") as kept:
        assert sorted(kept["ids"]) == sorted(predictions.ids)
        assert kept["maps"].shape == (12, 3, 32, 32)
        assert np.isfinite(kept["maps"]).all()
        assert kept["maps"].max() > 0
    found = numbers(folder)
    assert (found["state"], found["n"], found["shown"]) == ("completed", 12, 12)
    assert found["explained"]["layer"] == "layer4"
    assert found["explained"]["sha256"]
    assert sum(pair["n"] for pair in found["pairs"]) == 12
    opened = open_page(folder / "explain.html")
    names = [text.strip() for text in opened.page.locator(".card .file").all_text_contents()]
    assert sorted(names) == sorted(predictions.ids)
    assert f"test/clean/{HOSTILE}" in names
    opened.page.select_option("select[name=outcome]", "wrong")
    assert opened.page.locator(".card:visible").count() == len(wrong)
    assert (opened.requests, opened.errors) == ([], [])


def test_the_maps_are_scored_and_the_scores_are_said(classifier, capfd):
    explain(classifier, *FEW, f"output={classifier.path.parent / 'answer'}")
    folder = classifier.path.parent / "answer"
    scores = numbers(folder)["scores"]
    assert scores["faithfulness"]["n"] == 6
    assert scores["faithfulness"]["cells"] == 4
    for kind in ("deletion", "insertion"):
        assert set(scores["faithfulness"][kind]["curves"]) == {"cam", "random", "center"}
    assert scores["localization"] is None, "nobody knows where the evidence in these photos lies"
    assert "passes" in scores["sanity"]
    page, said = (folder / "explain.html").read_text(), capfd.readouterr().out
    assert "Do the maps tell the truth?" in page
    for word in ("random order", "Reset"):
        assert word in page
        assert word in said


def test_another_question_has_a_folder_of_its_own_and_the_same_one_replaces_its_answer(classifier):
    def ask(n: int) -> Path:
        before = set((classifier.path / "explain").glob("*"))
        words = (f"n={n}", "classes=[litter]", "method=layer_cam", "scores=false", "image_size=[48,48]")
        explain(classifier, *words)
        (new,) = set((classifier.path / "explain").glob("*")) - before or {None}
        return new

    folder = ask(2)
    assert folder.name.startswith("classes_litter-image_size_48x48-method_layer_cam-n_2-scores_false-")
    found = numbers(folder)
    assert found["image_size"] == [48, 48]
    assert found["scores"] == {}
    assert found["shown"] == sum(min(2, pair["n"]) for pair in found["pairs"])
    assert len(panels(folder, "correct", "wrong")) == found["shown"]
    with np.load(folder / "maps.npz") as kept:
        litter = kept["classes"].tolist().index("Litter")
        assert np.isfinite(kept["maps"][:, litter]).all()
    (folder / "wrong" / "true-Old-predicted-Older-001.jpg").parent.mkdir(exist_ok=True)
    (folder / "wrong" / "true-Old-predicted-Older-001.jpg").write_bytes(b"of an earlier answer")
    (folder / "wrong" / "mine.txt").write_text("notes")
    assert ask(2) is None
    assert "true-Old-predicted-Older-001.jpg" not in panels(folder, "wrong")
    assert "mine.txt" in panels(folder, "wrong")
    assert ask(1) != folder


def test_an_interrupted_explanation_leaves_no_page_and_the_next_one_completes(classifier, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    explain(classifier, "scores=false", "n=1")
    (folder,) = (classifier.path / "explain").iterdir()
    with monkeypatch.context() as patched:
        patched.setattr("streetlab.explain.classification.draw_panel", stop)
        assert cli.run(["explain", f"run={classifier.path}", "scores=false", "n=1"]) == 130
    assert not (folder / "explain.html").exists()
    assert numbers(folder)["state"] == "running"
    explain(classifier, "scores=false", "n=1")
    assert (folder / "explain.html").is_file()
    assert numbers(folder)["state"] == "completed"


def test_images_with_masks_are_explained_class_by_class(segmenter, open_page):
    before = contents(segmenter)
    explain(segmenter, "n=1", "classes=[road,sky]")
    assert contents(segmenter) == before
    (folder,) = (segmenter.path / "explain").iterdir()
    assert panels(folder, "worst") == panels(folder, "best") == ["001.jpg"]
    found = numbers(folder)
    assert found["classes"] == ["road", "sky"]
    worst, best = found["images"]
    assert worst["miou"] <= best["miou"]
    with np.load(folder / "maps.npz") as kept:
        assert set(kept["classes"]) <= {"road", "sky"}
        assert kept["maps"].shape[2:] == (43, 64), "64 x 96 pixels, reduced"
    opened = open_page(folder / "explain.html")
    assert opened.page.locator(".card").count() == 2
    assert opened.page.locator(".card").first.locator(".thumb").count() >= 2
    assert (opened.requests, opened.errors) == ([], [])


def test_a_run_without_predictions_is_one_line_and_leaves_nothing(classifier, complain):
    (classifier.path / "predictions.csv").unlink()
    assert "predictions.csv: no such file; only a completed classification run has one" in complain(classifier)
    assert not (classifier.path / "explain").exists()


def test_photos_that_are_gone_are_counted(classifier, complain, tmp_path):
    text = (classifier.path / "predictions.csv").read_text()
    (classifier.path / "predictions.csv").write_text(text.replace("test/litter/", "test/elsewhere/"))
    said = complain(classifier)
    assert "4 of 12 photos of test are not in the data set, such as test/elsewhere/litter_0.png" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("layer=layr4", "layer4"),
        ("method=gradcam", "method: 'gradcam' is not one of grad_cam, "),
        ("classes=[7]", "classes: 7 is not one of 0..2 (Clean, Medium, Litter)"),
        ("classes=[Liter]", "did you mean 'Litter'?"),
        ("split=tset", "did you mean 'test'?"),
        ("n=0", "n: '0' is not a whole number of 1 or more, or null"),
        ("cells=99", "cells: '99' is not a whole number of 2 to 32"),
        ("scores=maybe", "scores: 'maybe' is not true or false"),
        ("optimizer.lr=1", "optimizer.lr: has no part in an explanation; what has: dataset, model, image_size"),
        ("metod=layer_cam", "did you mean 'method'?"),
        ("run=nowhere", "run: no folder nowhere"),
    ],
)
def test_what_cannot_be_explained_is_one_line(classifier, complain, words, said):
    assert said in complain(classifier, *words.split())
    assert not (classifier.path / "explain").exists()


def test_nothing_else_is_overwritten(classifier, complain, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "explain.html").write_text("my own page")
    assert "mine holds other things (explain.html)" in complain(classifier, f"output={tmp_path / 'mine'}")
    assert "photos holds other things" in complain(classifier, f"output={classifier.path}")
    assert (tmp_path / "mine" / "explain.html").read_text() == "my own page"


def test_all_photos_of_a_tree_from_elsewhere_are_explained(classifier, tmp_path):
    root = write_photos(tmp_path / "new", {"": 2})
    shutil.rmtree(root / "litter")
    words = ("dataset=image_folder", f"dataset.root={root}", "scores=false", f"output={tmp_path / 'found'}")
    assert cli.run(["explain", f"run={classifier.path}", *words]) == 0
    assert json.loads((tmp_path / "found" / "metrics.json").read_text())["n"] == 4
