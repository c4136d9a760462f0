"""`streetlab audit`: whatever is wrong with a data set is found and shown, and nothing of it stops the command."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter, defaultdict

import pytest
from PIL import Image
from tests.support import planted

from streetlab import cli
from streetlab.audit.findings import KINDS
from streetlab.datasets.image_folder import ImageFolder
from streetlab.io.files import file_sha256
from streetlab.synthetic import draw_scene

HOSTILE = "\"><script>alert('x')</script>&.png"


def run(*words):
    return cli.run(["audit", *words])


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """(what was planted, the folder of its audit): with a hostile file name and a conflict across splits."""
    folder = tmp_path_factory.mktemp("audit")
    made = planted.plant(folder / "data", scenes=20, seed=0, split_folders=True)
    original = made.root / made.pairs[0][1]
    (made.root / "val" / "Litter" / HOSTILE.replace("/", "_")).write_bytes(original.read_bytes())
    night = Image.new("RGB", (64, 900), (3, 3, 3))
    night.putpixel((5, 5), (200, 200, 200))
    night.save(made.root / "train" / "Clean" / "night.png")
    words = ["dataset=street_cleanliness", f"dataset.root={made.root}", f"dataset.cache_dir={folder / 'cache'}"]
    assert run(*words, f"output={folder / 'found'}", "folds=3") == 0
    return made, folder / "found"


def rows(output):
    with (output / "findings.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def ids(output, kind):
    return {row["id"] for row in rows(output) if row["kind"] == kind}


def test_every_planted_fault_is_a_row(faulty):
    made, output = faulty
    assert list(rows(output)[0]) == ["kind", "id", "split", "label", "group", "score", "detail"]
    assert ids(output, "corrupt") == set(made.broken)
    exact = ids(output, "exact_duplicate")
    for kind, one, other in made.pairs:
        if kind in ("bytes", "pixels"):
            assert {one, other} <= exact, kind
        elif kind in ("jpeg", "resize", "brightness"):
            assert other in ids(output, "near_duplicate"), kind
    conflicts = ids(output, "label_conflict")
    for pair in made.conflicts:
        assert set(pair) <= conflicts
    assert "train/Clean/night.png" in ids(output, "dark") & ids(output, "odd_size")
    assert all(row["detail"] and row["kind"] in KINDS for row in rows(output))
    order = list(KINDS)
    found = [order.index(row["kind"]) for row in rows(output)]
    assert found == sorted(found)


def test_the_rows_of_a_copy_name_the_other_file_and_where_it_lies(faulty):
    made, output = faulty
    one, other = made.conflicts[0]
    row = next(row for row in rows(output) if row["kind"] == "label_conflict" and row["id"] == other)
    assert row["split"] == "val"
    assert row["score"] == "1"
    assert "exact copy of" in row["detail"]
    assert "which is labelled" in row["detail"]
    group = {r["group"] for r in rows(output) if r["id"] == one and r["kind"] == "exact_duplicate"}
    assert group == {row["group"]}


def test_the_summary_counts_what_the_rows_say(faulty):
    made, output = faulty
    summary = json.loads((output / "summary.json").read_text())
    counts = defaultdict(int)
    for row in rows(output):
        counts[row["kind"]] += 1
    assert summary["findings"] == counts
    everything = summary["copies"]["all"]
    across = [row["group"] for row in rows(output) if row["kind"] == "duplicate_across_splits"]
    assert everything["across_splits"] == len(set(across)) == sum(everything["across"].values())
    by_bytes = defaultdict(set)
    for path in made.root.rglob("*.*"):
        by_bytes[file_sha256(path)].add(path)
    copied = [paths for paths in by_bytes.values() if len(paths) > 1]
    assert summary["copies"]["byte_identical"]["groups"] == len(copied)
    assert summary["copies"]["byte_identical"]["images"] == sum(map(len, copied))
    assert f"{len(copied)} groups of byte-identical files" in summary["headline"]
    votes = defaultdict(Counter)
    for row in rows(output):
        if row["kind"] == "label_conflict":
            votes[row["group"]][row["label"]] += 1
    outvoted = sum(found.total() - max(found.values()) for found in votes.values())
    assert outvoted > 0
    assert summary["accuracy_ceiling"] == pytest.approx(1 - outvoted / summary["images"])
    assert f"{summary['accuracy_ceiling']:.1%} of all images" in summary["headline"]


def test_the_split_keeps_groups_together_and_a_data_set_uses_it(faulty, tmp_path):
    made, output = faulty
    written = json.loads((output / "split.json").read_text())
    entries = written["photos"]
    splits, folds = defaultdict(set), defaultdict(set)
    for entry in entries.values():
        if entry["split"] is not None:
            splits[entry["group"]].add(entry["split"])
            folds[entry["group"]].add(entry["fold"])
    assert {"train", "val", "test"} == set().union(*splits.values())
    assert all(len(found) == 1 for found in [*splits.values(), *folds.values()])
    for kind, one, other in made.pairs:
        if kind in ("bytes", "pixels", "jpeg", "resize", "brightness"):
            first, second = (entries[file_sha256(made.root / name)] for name in (one, other))
            assert first["group"] == second["group"], kind
    for name in [*made.broken, *(name for pair in made.conflicts for name in pair)]:
        assert entries[file_sha256(made.root / name)]["split"] is None, name

    source = ImageFolder("x", made.root, tmp_path, labels="cleanliness", split_file=output / "split.json")
    used = [sample for split in ("train", "val", "test") for sample in source.samples(split)]
    there = sum(1 for path in made.root.rglob("*.*") if entries[file_sha256(path)]["split"] is not None)
    assert len(used) == there > 50
    assert all(sample.group == entries[file_sha256(sample.path)]["group"] for sample in used)


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(faulty, tmp_path):
    made, output = faulty
    words = ["dataset=street_cleanliness", f"dataset.root={made.root}", f"dataset.cache_dir={output.parent / 'cache'}"]
    assert run(*words, f"output={tmp_path / 'again'}", "folds=3") == 0
    assert run(*words, f"output={tmp_path / 'other'}", "folds=3", "seed=1") == 0
    before = (output / "split.json").read_bytes()
    assert (tmp_path / "again" / "split.json").read_bytes() == before
    assert (tmp_path / "other" / "split.json").read_bytes() != before


def test_the_page_opens_offline_shows_names_as_text_and_filters(faulty, open_page):
    made, output = faulty
    opened = open_page(output / "audit.html")
    page = opened.page
    assert opened.requests == []
    assert opened.errors == []
    assert "alert" in page.locator(".group", has_text="script").first.inner_text()
    assert page.locator(".group script").count() == 0

    def visible():
        return page.locator(".item:visible")

    everything = visible().count()
    page.click("button[data-kind=label_conflict]")
    groups = {row["group"] for row in rows(output) if row["kind"] == "label_conflict"}
    assert visible().count() == len(groups) < everything
    assert page.locator("section:visible h2").first.inner_text() == "Copies"
    page.click("button[data-kind=corrupt]")
    assert set(visible().locator("td:first-child").all_inner_texts()) == set(made.broken)
    page.click("button[data-kind='']")
    page.select_option("#splits", "train test")
    splits = [element.get_attribute("data-splits").split() for element in visible().all()]
    assert splits
    assert all({"train", "test"} <= set(there) for there in splits)
    page.select_option("#splits", "")
    page.fill("#text", "<SCRIPT>")
    assert visible().count() == 1
    page.fill("#text", "")
    page.select_option("#label", "2")
    assert 0 < visible().count() < everything
    assert page.locator("#shown").inner_text() == f"{visible().count()} of {everything} shown"
    assert (output / "audit.html").stat().st_size < 15_000_000


def test_the_command_needs_no_torch(photo_tree, tmp_path):
    photo_tree(tmp_path / "data", {"a": 4, "b": 4})
    words = ["audit", "dataset=image_folder", f"dataset.root={tmp_path / 'data'}", "folds=null"]
    code = f"import sys; from streetlab import cli; code = cli.run({words!r}); print(code, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.endswith("outputs/audit/image_folder/audit.html\n0 False\n"), done.stderr
    split = json.loads((tmp_path / "outputs/audit/image_folder/split.json").read_text())
    assert "folds" not in split
    assert all("fold" not in entry for entry in split["photos"].values())


def test_drawn_images_are_audited_but_leave_no_split(tmp_path, capsys):
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "split.json").write_text("of an earlier audit")
    sizes = ["dataset.train=8", "dataset.val=6", "dataset.test=6", "dataset.size=[32,64]"]
    assert (
        run(*sizes, "dataset=synthetic_streets", f"dataset.cache_dir={tmp_path}", f"output={tmp_path / 'found'}") == 0
    )
    assert "No split.json: the images are drawn" in capsys.readouterr().out
    assert not (tmp_path / "found" / "split.json").exists()
    assert {row["kind"] for row in rows(tmp_path / "found")} >= {"class_frequency"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "which data set? Give dataset=NAME"),
        (["dataset=image_folder", "dataset.root=none", "conflicts=mayority"], "did you mean 'majority'?"),
        (["dataset=image_folder", "dataset.root=none", "shares=[0.7,0.2,0.2]"], "sum to 1.1"),
        (
            ["dataset=image_folder", "dataset.root=none", "shares=[0.7,0.3]"],
            "shares: '[0.7, 0.3]' is not three numbers above 0, of train, val, test",
        ),
        (
            ["dataset=image_folder", "dataset.root=none", "folds=1"],
            "folds: '1' is not a whole number of 3 or more, or null",
        ),
        (
            ["dataset=image_folder", "dataset.root=none", "thresholds.blurry=-1"],
            "thresholds.blurry: '-1' is not a number above 0, or null",
        ),
        (["dataset=image_folder", "dataset.root=none", "thresholds.odd_size=0.5"], "a factor above 1"),
        (["dataset=image_folder", "dataset.root=none", "most=1"], "most: '1' is not a whole number of 2 or more"),
        (["dataset=image_folder"], "dataset.root is missing: give dataset.root=..."),
        (["dataset=image_folder", "dataset.root=none"], "dataset.root: no folder none"),
        (["dataset=image_foldre"], "did you mean 'image_folder'?"),
        (["dataset=image_folder", "dataset.rot=x"], "did you mean 'dataset.root'?"),
        (["thresholds.blury=0.2", "dataset=camvid"], "did you mean 'thresholds.blurry'?"),
    ],
)
def test_a_mistake_is_one_line(words, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_more_folds_than_groups_costs_the_folds_alone(photo_tree, tmp_path, capsys):
    photo_tree(tmp_path / "data", {"a": 9, "b": 4})
    words = ["dataset=image_folder", f"dataset.root={tmp_path / 'data'}", f"dataset.cache_dir={tmp_path / 'cache'}"]
    assert run(*words, f"output={tmp_path / 'found'}") == 0
    assert "split.json holds no folds: class b has 4 groups of photos" in capsys.readouterr().out
    assert json.loads((tmp_path / "found" / "split.json").read_text())["photos"]


@pytest.mark.slow
def test_the_real_photos(shared_data, tmp_path):
    root = shared_data("street_cleanliness")
    words = ["dataset=street_cleanliness", f"dataset.root={root}", f"dataset.cache_dir={tmp_path / 'cache'}"]
    assert run(*words, f"output={tmp_path / 'found'}") == 0
    summary = json.loads((tmp_path / "found" / "summary.json").read_text())
    by_bytes = defaultdict(list)
    for path in root.rglob("*.png"):
        by_bytes[file_sha256(path)].append(path)
    copied = [paths for paths in by_bytes.values() if len(paths) > 1]
    found = summary["copies"]["byte_identical"]
    assert found["groups"] == len(copied) == 53
    assert found["images"] == 117
    assert found["across_splits"] == sum(len({path.relative_to(root).parts[0] for path in c}) > 1 for c in copied) == 30
    assert found["conflicting"] == sum(len({path.parent.name for path in c}) > 1 for c in copied) == 3
    for name, splits in summary["split"]["classes"].items():
        for split, target in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
            assert splits[split]["share"] == pytest.approx(target, abs=0.02), (name, split)
    assert (tmp_path / "found" / "audit.html").stat().st_size < 15_000_000


@pytest.mark.usefixtures("no_heif")
def test_any_layout_is_audited_and_files_that_are_not_taken_are_counted(tmp_path, photo_tree):
    root = photo_tree(tmp_path / "photos", {"test/a": 1, "test/b": 2})
    (root / "test" / "a" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(60))
    few = photo_tree(tmp_path / "few", {"a": 1, "b": 2, "c": 0})
    for folder, sentence in (
        (root, "1 file was not taken: 1 in a format that needs an extra"),
        (few, "No split of the"),
    ):
        output = tmp_path / f"found_{folder.name}"
        words = ["dataset=image_folder", f"dataset.root={folder}", f"dataset.cache_dir={tmp_path / 'cache'}"]
        assert run(*words, f"output={output}", "folds=null") == 0
        summary = json.loads((output / "summary.json").read_text())
        assert (summary["images"], summary["splits"]["test"]) == (3, 3)
        assert any(note.startswith(sentence) for note in summary["notes"])
    assert [(row["split"], row["label"]) for row in rows(output) if row["kind"] == "missing_class"] == [("test", "c")]


def test_a_photo_of_high_dynamic_range_is_listed_once(tmp_path, photo_tree):
    pytest.importorskip("pillow_heif").register_heif_opener()
    root = photo_tree(tmp_path / "photos", {"train/a": 3, "test/b": 3})
    street = Image.fromarray(draw_scene(1, 120, 200).image)
    for name, transfer in (("sdr", 13), ("hdr", 18)):
        numbers = {"color_primaries": 9, "transfer_characteristics": transfer, "matrix_coefficients": 9}
        street.save(root / "train" / "a" / f"{name}.heic", "HEIF", full_range_flag=1, **numbers)
    words = ["dataset=image_folder", f"dataset.root={root}", f"dataset.cache_dir={tmp_path / 'cache'}"]
    assert run(*words, f"output={tmp_path / 'found'}", "folds=null") == 0
    (row,) = [row for row in rows(tmp_path / "found") if row["kind"] == "high_range"]
    assert row["id"].endswith("hdr.heic")
    assert "follow the curve HLG" in row["detail"]


def test_photos_of_phones_are_audited_and_their_copies_found(tmp_path, photo_tree):
    pytest.importorskip("pillow_heif").register_heif_opener()
    root = photo_tree(tmp_path / "photos", {"train/a": 3, "test/b": 3})
    street = Image.fromarray(draw_scene(1, 120, 200).image)
    street.save(root / "train" / "a" / "street.png")
    street.save(root / "test" / "b" / "IMG_1.HEIC", "HEIF", quality=95)
    output = tmp_path / "found"
    words = ["dataset=image_folder", f"dataset.root={root}", f"dataset.cache_dir={tmp_path / 'cache'}"]
    assert run(*words, f"output={output}", "folds=null") == 0
    assert json.loads((output / "summary.json").read_text())["images"] == 8
    kinds = {row["kind"] for row in rows(output) if "IMG_1.HEIC" in row["id"]}
    assert "near_duplicate" in kinds
    assert not kinds & {"corrupt", "wrong_extension"}
