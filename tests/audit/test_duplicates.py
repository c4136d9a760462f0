"""Copies are found however they were altered, and nothing else is taken for one."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.planted import ALTERED, crop, plant

from streetlab.audit.duplicates import find_duplicates
from streetlab.audit.fingerprints import Fingerprints, fingerprint_all
from streetlab.audit.groups import group_images
from streetlab.audit.phash import near_pairs
from streetlab.audit.similarity import similarities
from streetlab.datasets.image_folder import ImageFolder
from streetlab.datasets.source import Sample
from streetlab.datasets.synthetic_cleanliness import SyntheticCleanliness
from streetlab.synthetic import draw_scene


def fingerprints_of(root: Path, cache: Path, **options) -> tuple[list[Sample], Fingerprints]:
    source = ImageFolder("photos", root, cache, on_error="skip", **options)
    samples = [sample for split in ("train", "val", "test") for sample in source.samples(split)]
    return samples, fingerprint_all(source, samples, cache / "audit")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The planted data set, its ids in order, and its fingerprints."""
    folder = tmp_path_factory.mktemp("planted")
    faults = plant(folder / "photos", scenes=40, seed=0)
    samples, prints = fingerprints_of(faults.root, folder / "cache")
    return faults, [sample.id for sample in samples], prints


def test_every_kind_of_copy_is_found_and_nothing_else_is_merged(planted):
    faults, ids, prints = planted
    group_of = {
        ids[member]: group.name for group in group_images(prints, find_duplicates(prints)) for member in group.members
    }
    found = defaultdict(list)
    family = {}  # copies of one original are copies of each other
    for kind, original, copy in faults.pairs:
        found[kind].append(original in group_of and group_of[original] == group_of.get(copy))
        family[original] = family[copy] = original
    share = {kind: np.mean(hits) for kind, hits in found.items()}
    for kind in ("bytes", "pixels", "jpeg", "resize", "brightness"):
        assert share[kind] == 1, kind
    for kind in ("mirror", "crop"):
        assert share[kind] >= 0.9, kind
    members = defaultdict(list)
    for image, name in group_of.items():
        members[name].append(image)
    merged = [pair for group in members.values() for pair in combinations(group, 2)]
    wrong = [(a, b) for a, b in merged if family.get(a, a) != family.get(b, b)]
    assert wrong == []
    assert len(merged) > 400


def test_twins_say_what_kind_of_copy_it_is(planted):
    faults, ids, prints = planted
    duplicates = find_duplicates(prints)
    exact = [twin for twin in duplicates if twin.kind != "near"]
    assert {twin.kind for twin in exact} == {"bytes", "pixels"}
    assert {(twin.distance, twin.similarity, twin.mirrored) for twin in exact} == {(0, 1.0, False)}
    mirrors = {ids.index(copy) for kind, _, copy in faults.pairs if kind == "mirror"}
    assert mirrors == {
        index
        for twin in duplicates
        if twin.mirrored
        for index in (twin.first, twin.second)
        if ids[index].split("/")[1].startswith("mirror")
    }
    for twin in duplicates:
        assert twin.first < twin.second
        assert twin.mirrored == (len({twin.first, twin.second} & mirrors) == 1)


def test_a_square_cut_from_the_middle_is_a_copy_of_the_whole(tmp_path):
    wide = [Image.fromarray(draw_scene(seed, 120, 200).image) for seed in range(6)]
    for number, picture in enumerate(wide):
        for name, image in (("a", picture), ("b", picture.crop((40, 0, 160, 120)).resize((90, 90)))):
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            image.save(tmp_path / "photos" / name / f"{number}.png")
    samples, prints = fingerprints_of(tmp_path / "photos", tmp_path / "cache")
    pairs = {(samples[twin.first].path.name, samples[twin.second].path.name) for twin in find_duplicates(prints)}
    assert pairs == {(f"{number}.png", f"{number}.png") for number in range(6)}


def test_a_part_cut_from_any_corner_is_a_copy_of_the_whole(tmp_path, monkeypatch):
    boxes = [(0, 0, 120, 120), (80, 0, 200, 120), (70, 42, 200, 120), (0, 0, 130, 84), (0, 60, 160, 120)]
    for number, box in enumerate(boxes):
        picture = Image.fromarray(draw_scene(number + 30, 120, 200).image)
        for name, image in (("a", picture), ("b", picture.crop(box).resize((100, 80)))):
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            image.save(tmp_path / "photos" / name / f"{number}.png")
    samples, prints = fingerprints_of(tmp_path / "photos", tmp_path / "cache")

    def names() -> list[tuple[str, str]]:
        duplicates = find_duplicates(prints)
        return sorted((samples[pair.first].path.name, samples[pair.second].path.name) for pair in duplicates)

    assert names() == [(f"{number}.png", f"{number}.png") for number in range(len(boxes))]
    monkeypatch.setattr("streetlab.audit.crops.MOST_IMAGES", 0)
    assert len(names()) < len(boxes), "hashes alone would find them"


@pytest.mark.parametrize(("scenes", "size"), [(200, (64, 128)), pytest.param(1000, (128, 256), marks=pytest.mark.slow)])
def test_no_two_scenes_are_merged(tmp_path, scenes, size):
    source = SyntheticCleanliness(
        size, name="scenes", train=scenes - 2, val=1, test=1, first_seed=20_000, cache_dir=tmp_path / "cache"
    )
    samples = [Sample(str(seed), 0, str(seed)) for split in source.seeds.values() for seed in split]
    assert find_duplicates(fingerprint_all(source, samples, tmp_path / "kept")) == []


def test_flat_pictures_are_no_copies_of_anything_but_themselves(tmp_path):
    random = np.random.default_rng(0)
    for name, level, noise in (("a/0", 90, 0), ("a/1", 90, 0), ("a/2", 91, 0), ("b/0", 200, 3), ("b/1", 200, 3)):
        pixels = np.full((60, 80, 3), level) + (random.integers(0, noise, (60, 80, 1)) if noise else 0)
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / f"{name}.png")
    Image.fromarray(draw_scene(0, 60, 80).image).save(tmp_path / "photos" / "b" / "2.png")
    Image.fromarray(draw_scene(1, 60, 80).image).save(tmp_path / "photos" / "a" / "3.png")
    samples, prints = fingerprints_of(tmp_path / "photos", tmp_path / "cache", split_seed=0)
    pairs = [(samples[twin.first].id, samples[twin.second].id, twin.kind) for twin in find_duplicates(prints)]
    assert sorted(pairs[0][:2]) == ["a/0.png", "a/1.png"]
    assert len(pairs) == 1


@pytest.mark.parametrize("seed", [0, 1])
def test_near_pairs_are_those_of_the_loop_over_all_pairs(seed, monkeypatch):
    random = np.random.default_rng(seed)
    first = random.integers(0, 2**64, 300, dtype=np.uint64)
    first[150:] = first[:150] ^ (np.uint64(1) << random.integers(0, 64, 150, dtype=np.uint64))
    second = random.permutation(first)
    monkeypatch.setattr("streetlab.audit.phash._ROWS", 32)
    monkeypatch.setattr("streetlab.audit.phash._COLUMNS", 77)
    expected = [
        (i, j, bits)
        for i, j in combinations(range(300), 2)
        if (bits := (int(first[i]) ^ int(second[j])).bit_count()) <= 26
    ]
    near = near_pairs(first, second, 26)
    assert list(zip(near.i.tolist(), near.j.tolist(), near.distance.tolist(), strict=True)) == expected
    assert near.most == 26
    budget = sum(bits <= 20 for _, _, bits in expected) + 1
    assert sum(bits <= 22 for _, _, bits in expected) > budget
    few = near_pairs(first, second, 26, budget)
    assert len(few.i) <= budget
    assert 20 <= few.most < 22
    assert list(zip(few.i.tolist(), few.j.tolist(), few.distance.tolist(), strict=True)) == [
        pair for pair in expected if pair[2] <= few.most
    ]


def thumbnail(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L").resize((64, 64), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("seed", range(4))
def test_similarity_is_high_for_every_alteration_either_way_and_low_for_another_scene(seed):
    picture, other = (Image.fromarray(draw_scene(number, 128, 256).image) for number in (seed, seed + 100))
    altered = [alter(picture) for kind, variants in ALTERED.items() if kind != "mirror" for alter in variants]
    images = [picture, *altered, crop(left=0.1)(picture), other]
    thumbnails = np.stack([thumbnail(image) for image in images])
    aspects = np.array([image.width / image.height for image in images], np.float32)
    others = np.arange(1, len(images))
    for a, b in ((0 * others, others), (others, 0 * others)):
        similar = similarities(thumbnails, aspects, a, b, np.zeros(len(others), bool))
        assert similar[:-1].min() > 0.85
        assert similar.max() <= 1
        assert similar[-1] < 0.5
    assert similarities(thumbnails, aspects, others[:0], others[:0], np.zeros(0, bool)).shape == (0,)


def test_similarity_needs_the_mirror_to_be_named():
    picture = Image.fromarray(draw_scene(7, 128, 256).image)
    thumbnails = np.stack([thumbnail(picture), thumbnail(picture)[:, ::-1]])
    pair = (np.ones(2, np.float32), np.zeros(1, int), np.ones(1, int))
    assert similarities(thumbnails, *pair, np.array([True])) == pytest.approx(1)
    assert similarities(thumbnails, *pair, np.array([False])) < 0.5


def test_real_photos_of_the_same_bytes_are_those_of_sha256sum(shared_data, tmp_path):
    root = shared_data("street_cleanliness")
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    output = subprocess.run(["sha256sum", *map(str, paths)], capture_output=True, text=True, check=True).stdout
    same = defaultdict(set)
    for line in output.splitlines():
        digest, path = line.split(maxsplit=1)
        same[digest].add(Path(path).relative_to(root).as_posix())
    expected = {frozenset(ids) for ids in same.values() if len(ids) > 1}
    assert len(expected) == 53

    samples, prints = fingerprints_of(root, tmp_path / "cache")
    assert len(samples) == len(paths)
    duplicates = find_duplicates(prints)
    exact = group_images(prints, [twin for twin in duplicates if twin.kind == "bytes"])
    assert {frozenset(samples[member].id for member in group.members) for group in exact} == expected
    groups = {member: group.name for group in group_images(prints, duplicates) for member in group.members}
    at = {sample.id: index for index, sample in enumerate(samples)}
    assert all(len({groups[at[name]] for name in ids}) == 1 for ids in expected)
    for first, second in (
        ("train/clean/Clean_0277.png", "test/clean/Clean_0308.png"),  # the central square of it
        ("train/litter/Litter_0513.png", "val/litter/Litter_0408.png"),  # cropped
        ("train/medium/Litter_0400.png", "train/medium/Litter_0842.png"),  # shown in the news
        ("train/litter/Litter_0450.png", "val/litter/Litter_0530.png"),  # a square off its centre
        ("train/clean/Clean_0119.png", "train/clean/Clean_0121.png"),  # the lower half
    ):
        assert groups[at[first]] == groups[at[second]], (first, second)
