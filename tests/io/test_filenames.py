"""Names of any bytes: written as text that comes back, hashed, tabled, paged, and shown in one line."""

from __future__ import annotations

import csv
import json
import os
import re
import sqlite3
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streetlab.audit.findings import Finding, write_findings
from streetlab.audit.measures import measure
from streetlab.audit.store import Store
from streetlab.cli import run
from streetlab.datasets.image_folder import ImageFolder
from streetlab.datasets.labels import LabelSpace, categorical_palette
from streetlab.datasets.splits import split_hash
from streetlab.inference.journal import Journal
from streetlab.inference.outputs import Names, write_tables
from streetlab.inference.sources import Item, find_items
from streetlab.io.filenames import ERRORS, as_text, encodable, fold, from_text, one_line
from streetlab.io.files import write_json
from streetlab.loading.sampler import sample_keys
from streetlab.metrics.predictions import Predictions, read_predictions, write_predictions
from streetlab.plots.figure import new_figure, svg
from streetlab.plots.page import render

NFD = unicodedata.normalize("NFD", "Straße ü")
NASTY = {
    "not UTF-8": os.fsdecode(b"caf\xe9.jpg"),
    "looks like that": r"caf\xe9.jpg",
    "NFD": f"{NFD}.jpg",
    "NFC": f"{unicodedata.normalize('NFC', NFD)}.jpg",
    "carriage return": "cr\r.jpg",
    "line feed": "line\nfeed.jpg",
    "tab": "tab\t.jpg",
    "other line ends": "vt\x0bff\x0cfs\x1cnel\x85ls\u2028.jpg",
    "quotes": "quote\"'.jpg",
    "comma": "comma,;.jpg",
    "dash": "-dash.jpg",
    "equals": "=1+1.jpg",
    "emoji": "👩‍👩‍👧.jpg",
    "long": "x" * 240 + ".jpg",
    "markup": "<b class='a'>&amp;{{ 7 }} $x$.jpg",
    "escape": "\x1b[31mred.jpg",
    "upper": "A.jpg",
    "lower": "a.jpg",
}
each_name = pytest.mark.parametrize("name", NASTY.values(), ids=NASTY.keys())


def test_text_gives_every_name_back_and_no_two_names_share_one() -> None:
    parts = ["\\", "x", "e9", "\udce9", "80", "\udcff", "\n"]
    names = ["".join(chosen) for n in range(5) for chosen in product(parts, repeat=n)]
    texts = {name: as_text(name) for name in names}
    assert all(from_text(text) == name for name, text in texts.items())
    assert len(set(texts.values())) == len(texts)
    assert all(text.encode() for text in texts.values() if text)


def test_only_bytes_that_are_no_utf_8_and_what_reads_like_them_are_written_otherwise() -> None:
    changed = {name for name in NASTY.values() if as_text(name) != name}
    assert changed == {NASTY["not UTF-8"], NASTY["looks like that"]}
    assert as_text(r"C:\photos\a.jpg") == r"C:\photos\a.jpg"
    assert as_text(NASTY["not UTF-8"]) == r"caf\xe9.jpg"
    assert as_text(NASTY["looks like that"]) == r"caf\\xe9.jpg"


@each_name
def test_a_line_of_a_terminal_stays_one_line(name: str) -> None:
    shown = one_line(name)
    shown.encode()
    assert shown.isprintable()
    assert len(shown.splitlines()) == 1


@each_name
def test_any_name_is_hashed_and_apart_from_others(name: str) -> None:
    assert split_hash([("train", name, "a")]) != split_hash([("train", f"{name}2", "a")])
    assert len({*sample_keys([name, f"{name}2"]).tolist()}) == 2


def test_the_split_hash_of_ordinary_names_is_what_it_was_before_names_were_text() -> None:
    # computed by the version before
    assert split_hash([("train", "a/1.jpg", "a"), ("val", "b/Müll ü.jpg", "b")]) == "3543301d6989cac7"


def test_predictions_of_any_names_come_back_row_by_row(tmp_path: Path) -> None:
    ids = [as_text(name) for name in NASTY.values()]
    classes = ("Müll\r", NASTY["comma"])
    labels = np.arange(len(ids)) % 2
    written = Predictions(ids, ids, labels, labels, np.full((len(ids), 2), 0.5), classes)
    back = read_predictions(write_predictions(tmp_path / "predictions.csv", {"test": written}), "test")
    assert list(back.ids) == ids
    assert list(back.groups) == ids
    assert back.names == classes
    assert [from_text(name) for name in back.ids] == list(NASTY.values())


def test_findings_of_any_names_come_back_row_by_row(tmp_path: Path) -> None:
    findings = [Finding("blurry", as_text(name), "train", "a", "", 1.0, f"sharp as {name}") for name in NASTY.values()]
    write_findings(tmp_path / "findings.csv", findings)
    with (tmp_path / "findings.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [from_text(row["id"]) for row in rows] == list(NASTY.values())
    assert [row["detail"] for row in rows] == [encodable(finding.detail) for finding in findings]


def test_json_of_any_names_is_utf_8_and_gives_them_back(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"names": list(NASTY.values()), NASTY["not UTF-8"]: Path(NASTY["comma"])})
    read = json.loads(path.read_bytes().decode())
    assert read["names"] == [encodable(name) for name in NASTY.values()]
    assert read[r"caf\xe9.jpg"] == NASTY["comma"]


@each_name
def test_the_store_of_an_audit_keeps_an_image_of_any_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "photos" / "train" / "a"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"no photo")
    for place in ("train/b", "val/a", "val/b", "test/a", "test/b"):
        (tmp_path / "photos" / place).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / place / "1.png")
    source = ImageFolder("photos", tmp_path / "photos", tmp_path / "cache")
    (sample,) = (one for one in source.samples("train") if one.label == 0)
    assert from_text(sample.id) == f"train/a/{name}"
    key, measured = source.fingerprint(sample), measure(source, sample)
    measured = replace(measured, error=f"{folder / name}: {measured.error}")
    with Store(tmp_path / "store") as store:
        store.write(key, measured)
        kept = store.read([key])
    assert kept == {key: replace(measured, error=encodable(str(measured.error)))}
    (tables,) = sqlite3.connect(store.path).execute("SELECT count(*) FROM images").fetchone()
    assert tables == 1


def test_the_journal_and_the_table_of_predictions_hold_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in NASTY.values():
        Image.new("RGB", (8, 8)).save(folder / name, format="JPEG")
    items = find_items([str(folder)], tmp_path / "out").items
    assert sorted(item.file for item in items) == sorted(NASTY.values())
    made_with = {"model": NASTY["not UTF-8"], "checkpoint": "1", "settings": {"run": NASTY["not UTF-8"]}}
    space = LabelSpace("s", "classification", ("a\r", "b"), categorical_palette(2))
    result = {"prediction": "a\r", "confidence": 1.0, "probabilities": {"a\r": 1.0, "b": 0.0}}
    names = Names((), [item.file for item in items])
    stems = {item.file: names.stem(item.file) for item in items}
    with Journal(tmp_path / "out", made_with) as journal:
        for item in items:
            journal.record(item, stems[item.file], (), result)
        journal.compact()
    assert len(set(map(fold, stems.values()))) == len(stems)  # no two where a file system takes them for one
    (tmp_path / "out" / "predictions.jsonl").read_bytes().decode()
    with Journal(tmp_path / "out", made_with) as journal:
        assert [line["file"] for line in journal.lines.values()] == [item.file for item in items]
        assert all(journal.is_done(item) for item in items)
        (table,) = write_tables(tmp_path / "out", journal.lines.values(), space)
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [from_text(row["file"]) for row in rows] == sorted(NASTY.values())
    assert {row["p_a\r"] for row in rows} == {"1.0"}


def test_a_journal_of_an_earlier_version_keeps_its_names(tmp_path: Path) -> None:
    photo = tmp_path / NASTY["not UTF-8"]
    Image.new("RGB", (8, 8)).save(photo, format="JPEG")
    made_with = {"model": "m", "checkpoint": "1", "settings": {}}
    status = photo.stat()
    item = Item(photo, photo.name, "photo", status.st_size, status.st_mtime_ns)
    with Journal(tmp_path / "out", made_with) as journal:
        journal.record(item, photo.stem, (), {})
    line = {"file": photo.name, "path": str(photo), "kind": "photo", "bytes": status.st_size,
            "modified": status.st_mtime_ns, "stem": photo.stem, "outputs": []}  # fmt: skip
    text = json.dumps(line, ensure_ascii=False)
    (tmp_path / "out" / "predictions.jsonl").write_bytes(text.encode(errors="surrogateescape") + b"\n")
    with Journal(tmp_path / "out", made_with) as journal:
        assert journal.is_done(item)


class _Attributes(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts += [value or "" for name, value in attrs if name == "data-name"]


@each_name
def test_a_page_holds_a_name_as_text_and_no_control(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "streetlab.plots.page.PackageLoader", lambda *_: _loader('<p data-name="{{ name }}">{{ name }}</p>')
    )
    page = render("any.html", name=name)
    page.encode()
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028]", page)
    reader = _Attributes()
    reader.feed(page)
    assert reader.texts == [one_line(name)]


def _loader(text: str) -> object:
    from jinja2 import DictLoader

    return DictLoader({"any.html": text})


@each_name
def test_a_figure_holds_a_name_in_its_title_and_at_its_axis(name: str) -> None:
    figure = new_figure(24, 4)
    axes = figure.subplots()
    axes.set_title(name, parse_math=False)
    axes.set_yticks([0], [name], parse_math=False)
    svg(figure, "any").encode()


def test_two_names_that_a_terminal_cannot_write_are_escaped() -> None:
    assert "\udce9 ü".encode("ascii", ERRORS) == rb"\xe9 \xfc"
    assert "\ud800".encode(errors=ERRORS) == rb"\ud800"


@pytest.mark.slow
def test_a_tree_of_all_names_is_trained_evaluated_audited_predicted_and_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for split, form in (("train", "NFC"), ("val", "NFD"), ("test", "NFC")):
        for folder in (unicodedata.normalize(form, "Müll"), os.fsdecode(b"so\xdf\r")):
            (tmp_path / "tree" / split / folder).mkdir(parents=True)
            for name in NASTY.values():
                pixels = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "tree" / split / folder / name, format="JPEG")
    there = {path.relative_to("tree").as_posix() for path in Path("tree").rglob("*.jpg")}
    data = ["dataset=image_folder", "dataset.root=tree"]
    tiny = ["image_size=[64,64]", "batch_size=16", "model=timm_classifier", "model.name=test_resnet"]
    assert run(["train", *data, *tiny, "regime.max_epochs=1", "output=run"]) == 0
    assert run(["evaluate", "run=run", "output=again"]) == 0
    assert run(["audit", *data, "output=audit"]) == 0
    assert run(["predict", "run=run", "source=tree", "output=predicted"]) == 0
    assert run(["explain", "run=run", "scores=false", "n=1", "output=explained"]) == 0
    assert "\r" not in capsys.readouterr().out
    rows = 0
    for path in [*Path().glob("[!t]*/*.csv"), *Path().glob("[!t]*/*.json"), *Path().glob("[!t]*/*.html")]:
        text = path.read_bytes().decode()
        if path.suffix == ".json":
            json.loads(text)
        elif path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                table = list(csv.DictReader(file))
            assert not any(None in row or None in row.values() for row in table), path
            named = {from_text(row.get("id") or row.get("file") or "") for row in table} - {""}
            assert named <= there, path
            rows += len(named)
    assert rows >= 2 * 2 * 2 * len(NASTY) + len(there)
