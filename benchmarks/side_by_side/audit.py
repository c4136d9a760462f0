"""Audit: which copies each side finds among planted ones and among real photos, how soon, in how much memory."""

from __future__ import annotations

import argparse
import csv
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps
from tables import Table

from side_by_side.pictures import PHOTO_SIZE
from side_by_side.processes import (
    Asked,
    Measured,
    Way,
    as_numbers,
    measure,
    ours,
    peer,
    shown,
    table,
    take_turns,
)
from streetlab.progress import track
from streetlab.synthetic import draw_scene

STREETLAB = "streetlab audit"
Pair = frozenset[str]


def _resized(photo: Image.Image) -> Image.Image:
    return photo.resize((photo.width // 2, photo.height // 2), Image.Resampling.LANCZOS)


def _cropped(photo: Image.Image, left: float, top: float, kept: float) -> Image.Image:
    width, height = photo.size
    x, y = round(left * width), round(top * height)
    return photo.crop((x, y, x + round(kept * width), y + round(kept * height)))


PLANTED: dict[str, Callable[[Image.Image], Image.Image] | None] = {
    "same bytes": None,
    "JPEG, quality 40": lambda photo: photo,
    "half the size": _resized,
    "a fifth brighter": lambda photo: ImageEnhance.Brightness(photo).enhance(1.2),
    "crop of the middle, 95%": lambda photo: _cropped(photo, 0.025, 0.025, 0.95),
    "crop of a corner, 90%": lambda photo: _cropped(photo, 0.0, 0.0, 0.9),
    "mirrored": ImageOps.mirror,
}
"""How copies were made of drawn photos."""


def ask(options: argparse.Namespace, folder: Path) -> Asked:
    """Planted copies, then the photos of `--photos`, of which nobody knows the truth."""
    originals, each = (32, 3) if options.quick else (210, 30)
    root, truth = plant(folder / "planted", originals, each)
    measured, missing = take_turns(_ways(options, folder / "planted-out", root), options, "audits")
    tables = [_planted_table(measured, missing, truth, originals, each), _costs(measured, missing, "planted copies")]
    numbers = {"planted": as_numbers(measured, missing)}
    if options.photos:
        measured, missing = take_turns(_ways(options, folder / "real-out", options.photos), options, "audits")
        tables += [_real_table(measured, missing, options.photos.name), _costs(measured, missing, options.photos.name)]
        numbers["real"] = as_numbers(measured, missing)
    return Asked(tables, numbers)


def plant(folder: Path, originals: int, each: int) -> tuple[Path, dict[str, list[Pair]]]:
    """Drawn photos, and `each` copies of every kind, each of another photo.

    Returns:
        the folder, and (original, copy) by kind; all other pairs show different streets.
    """
    truth: dict[str, list[Pair]] = {kind: [] for kind in PLANTED}
    for split, label in itertools.product(("train", "val", "test"), ("clean", "litter")):
        (folder / split / label).mkdir(parents=True, exist_ok=True)
    kinds = list(itertools.chain.from_iterable([kind] * each for kind in PLANTED))
    for number in track(range(originals), "planting copies"):
        scene = Image.fromarray(draw_scene(number, *PHOTO_SIZE).image)
        original = folder / "train" / ("clean" if number % 2 else "litter") / f"{number:04d}.jpg"
        scene.save(original, quality=90)
        if number >= len(kinds):
            continue
        change = PLANTED[kinds[number]]
        copy = folder / ("val", "test")[number % 2] / original.parent.name / f"copy-{number:04d}.jpg"
        if change is None:
            copy.write_bytes(original.read_bytes())
        else:
            change(Image.open(original)).save(copy, quality=40 if "quality" in kinds[number] else 90)
        truth[kinds[number]].append(frozenset(str(path.relative_to(folder)) for path in (original, copy)))
    return folder, truth


def _ways(options: argparse.Namespace, folder: Path, root: Path) -> dict[str, Way]:
    def streetlab(round: int) -> Measured:
        output, cache = folder / f"audit-{round}", folder / f"cache-{round}"
        words = ["dataset=image_folder", f"dataset.root={root}", f"dataset.cache_dir={cache}", f"output={output}"]
        done = measure(ours("audit", *words), options)
        return _grouped(done, _groups_of_findings(output / "findings.csv"))

    def theirs(script: str) -> Way:
        def run(round: int) -> Measured:
            done = measure(peer(script, options, root=root), options, answers=True)
            return _grouped(done, components(done.answer["pairs"]))

        return run

    return {STREETLAB: streetlab, "imagededup, PHash": theirs("imagededup_copies"),
            "cleanvision": theirs("cleanvision_copies")}  # fmt: skip


def _groups_of_findings(path: Path) -> list[list[str]]:
    groups: dict[str, set[str]] = defaultdict(set)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["group"] and row["kind"] in ("exact_duplicate", "near_duplicate"):
                groups[row["group"]].add(row["id"])
    return sorted(sorted(group) for group in groups.values())


def components(pairs: Iterable[Sequence[str]]) -> list[list[str]]:
    """Groups of photos that pairs link, directly or over others."""
    group_of: dict[str, set[str]] = {}
    for first, second in pairs:
        joined = group_of.get(first, {first}) | group_of.get(second, {second})
        for name in joined:
            group_of[name] = joined
    return sorted({tuple(sorted(group)) for group in group_of.values()})  # type: ignore[arg-type]


def _grouped(done: Measured, groups: Sequence[Sequence[str]]) -> Measured:
    return replace(done, answer={"groups": [list(group) for group in groups], "count": len(groups)})


def _pairs(values: Sequence[Measured]) -> set[Pair]:
    """Of the last round; all rounds find the same."""
    groups = values[-1].answer["groups"]
    return {frozenset(pair) for group in groups for pair in itertools.combinations(group, 2)}


def _planted_table(
    measured: Mapping[str, Sequence[Measured]], missing: Mapping[str, str], truth: Mapping[str, Sequence[Pair]],
    originals: int, each: int,
) -> Table:  # fmt: skip
    rows = []
    planted = {pair for pairs in truth.values() for pair in pairs}
    for name, values in measured.items():
        found = _pairs(values)
        rows.append([name, *(str(sum(pair in found for pair in pairs)) for pairs in truth.values()),
                     str(len(found - planted))])  # fmt: skip
    rows += [[name, reason, *[""] * len(truth)] for name, reason in missing.items()]
    title = f"Planted copies that were found, of {each} of each kind among {originals} drawn photos"
    return Table(["way", *truth, "false pairs"], rows, title)


def _real_table(measured: Mapping[str, Sequence[Measured]], missing: Mapping[str, str], name: str) -> Table:
    base = _pairs(measured[STREETLAB])
    rows = []
    for way, values in measured.items():
        found = _pairs(values)
        photos = {photo for pair in found for photo in pair}
        rows.append([way, str(values[-1].answer["count"]), str(len(photos)), str(len(found)), str(len(found & base)),
                     str(len(base - found))])  # fmt: skip
    rows += [[way, reason, *[""] * 4] for way, reason in missing.items()]
    headers = ["way", "groups", "photos in them", "pairs in them", "streetlab's among them", "streetlab's missing"]
    return Table(headers, rows, f"Copies in {name}")


def _costs(measured: Mapping[str, Sequence[Measured]], missing: Mapping[str, str], what: str) -> Table:
    notes = ["cleanvision also looks for dark, light, blurry, odd and uninformative photos, streetlab for its other "
             "findings, and it writes a page and a split; imagededup looks for copies alone."]  # fmt: skip
    return table(f"Auditing {what}", measured, missing, {"groups": shown("count", 0)}, STREETLAB, notes)
