"""Faults of masks: found once, named, and kept for the next audit."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from streetlab import cli
from streetlab.audit import masks
from streetlab.synthetic import draw_scene


@pytest.fixture
def streets(tmp_path):
    """Eight pairs of three classes: a mask of another size, one of an unknown value, an empty and a broken one."""
    root = tmp_path / "data"
    for number in range(8):
        split = "train" if number < 6 else "val"
        mask = np.zeros((32, 48), np.uint8)
        mask[:8] = 1
        if number == 1:
            mask = mask[:, :40]
        elif number == 2:
            mask[0, :3] = 9
        elif number == 3:
            mask[:] = 255
        elif number == 5:
            mask[:16] = 2
        for folder, pixels in (("images", draw_scene(number, 32, 48).image), ("masks", mask)):
            path = root / folder / split / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    broken = root / "masks" / "train" / "4.png"
    broken.write_bytes(broken.read_bytes()[:60])
    return root


def audit(root, output):
    words = [f"dataset.root={root}", "dataset.classes=[road,sky,car]", f"dataset.cache_dir={output.parent / 'cache'}"]
    assert cli.run(["audit", "dataset=mask_folder", *words, f"output={output}", "folds=null"]) == 0
    with (output / "findings.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_fault_is_named_and_the_good_masks_are_counted(streets, tmp_path):
    rows = audit(streets, tmp_path / "found")
    of = {
        row["id"]: row
        for row in rows
        if row["kind"] in ("corrupt_mask", "mask_mismatch", "unknown_values", "empty_mask")
    }
    assert {name: row["kind"] for name, row in of.items()} == {
        "train/1.png": "mask_mismatch",
        "train/2.png": "unknown_values",
        "train/3.png": "empty_mask",
        "train/4.png": "corrupt_mask",
    }
    assert of["train/1.png"]["detail"] == "its mask is 40x32, the image 48x32"
    assert "value 9 stands for no class" in of["train/2.png"]["detail"]
    # masks 0, 6 and 7 are a quarter sky; 5 is half car
    shares = {row["label"]: float(row["score"]) for row in rows if row["kind"] == "class_frequency"}
    assert shares == pytest.approx({"road": (3 * 0.75 + 0.5) / 4, "sky": 3 * 0.25 / 4, "car": 0.5 / 4}, abs=1e-4)
    missing = [(row["split"], row["label"]) for row in rows if row["kind"] == "missing_class"]
    assert missing == [("val", "car")]


def test_a_second_audit_reads_only_the_mask_that_changed(streets, tmp_path, monkeypatch):
    first = audit(streets, tmp_path / "found")
    read = []
    original = masks.read_mask
    monkeypatch.setattr(masks, "read_mask", lambda path: read.append(path.name) or original(path))
    assert audit(streets, tmp_path / "found") == first
    assert read == []
    mended = streets / "masks" / "train" / "3.png"
    Image.fromarray(np.ones((32, 48), np.uint8)).save(mended)
    rows = audit(streets, tmp_path / "found")
    assert read == ["3.png"]
    assert not [row for row in rows if row["kind"] == "empty_mask"]


def test_a_damaged_cache_is_read_anew(streets, tmp_path):
    first = audit(streets, tmp_path / "found")
    (kept,) = (tmp_path / "cache" / "audit").glob("masks-*.json")
    assert len(json.loads(kept.read_text())["masks"]) == 8
    kept.write_text('{"format": "str')
    assert audit(streets, tmp_path / "found") == first


def test_the_page_shows_how_frequent_classes_are(streets, tmp_path, open_page):
    audit(streets, tmp_path / "found")
    opened = open_page(tmp_path / "found" / "audit.html")
    assert opened.requests == []
    assert opened.errors == []
    text = opened.page.locator(".frequencies").inner_text()
    assert "road" in text
    assert "68.75%" in text
    opened.page.click("button[data-kind=empty_mask]")
    assert opened.page.locator(".item:visible").count() == 1
