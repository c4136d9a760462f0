"""Masks become the classes that were asked for, and whatever does not fit is named with its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streetlab.datasets.decode import UnreadablePhoto
from streetlab.datasets.labels import CAMVID, CITYSCAPES, LabelSpace
from streetlab.datasets.mask_source import MaskSource
from streetlab.datasets.pairs import Pair
from streetlab.errors import UserError
from streetlab.loading.cache import open_cache

SPACE = LabelSpace(
    "yard", "segmentation", ("Road", "lawn", "sky"), ((0, 0, 0),) * 3, file_ids=(7, 21, 40), void_ids=(0,)
)


def save(folder: Path, values: np.ndarray, image_size: tuple[int, int] | None = None, form: str = "png", **options):
    """One pair; the image is `image_size` = (width, height), else as large as its mask."""
    folder.mkdir(parents=True, exist_ok=True)
    image, mask = folder / f"a.{form}", folder / "a_mask.png"
    width, height = image_size or values.shape[1::-1]
    pixels = np.linspace(0, 255, width * height * 3).reshape(height, width, 3).astype(np.uint8)
    Image.fromarray(pixels).save(image, **options)
    Image.fromarray(values).save(mask)
    return Pair("a", "g", "train", image, mask)


def source(folder: Path, pair: Pair, **options) -> MaskSource:
    settings = {"name": "yard", "root": folder / "data", "cache_dir": folder / "cache", "pairs": [pair]}
    return MaskSource(**(settings | {"file_space": SPACE, "map": {"lawn": None}, "labels": "cityscapes"} | options))


def read_mask(found: MaskSource, min_side: int | None = None) -> np.ndarray:
    return found.read_pair(found.samples("train")[0], min_side)[1]


VALUES = np.array([[0, 7, 21], [40, 255, 7]], np.uint8)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, [[255, 0, 255], [10, 255, 0]]),
        ({"map": {"LAWN": "Terrain"}}, [[255, 0, 9], [10, 255, 0]]),
        ({"map": {"lawn": "terrain", "road": "sidewalk", "sky": None}}, [[255, 1, 9], [255, 255, 1]]),
        ({"labels": None, "map": None}, [[255, 0, 1], [2, 255, 0]]),
        ({"labels": None, "map": {"lawn": "road"}}, [[255, 0, 0], [2, 255, 0]]),
    ],
)
def test_values_become_the_ids_of_the_classes_of_that_name(tmp_path: Path, options: dict, wanted: list) -> None:
    found = source(tmp_path, save(tmp_path / "data", VALUES), **options)
    mask = read_mask(found)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, wanted)
    assert found.label_space == (SPACE if options.get("labels", "") is None else CITYSCAPES)
    assert found.has_masks


def test_a_sample_names_both_files_and_has_no_label(tmp_path: Path) -> None:
    pair = save(tmp_path / "data", VALUES)
    found = source(tmp_path, pair)
    (sample,) = found.samples("train")
    assert (sample.id, sample.group, sample.label) == ("a", "g", None)
    assert (sample.path, sample.mask_path) == (pair.image, pair.mask)
    assert found.samples("val") == found.samples("test") == []
    assert found.read(sample).size == (3, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"map": None},
            r"^dataset\.map: class 'lawn' of yard is none of cityscapes \(road, sidewalk, .*\); "
            r"say 'dataset\.map=\{lawn: CLASS\}' with one of these, or null to ignore it$",
        ),
        (
            {"map": {"lawn": "terrian"}},
            r"^dataset\.map: lawn: no class 'terrian' in cityscapes \(.*\); did you mean 'terrain'\?",
        ),
        (
            {"map": {"lawns": "terrain"}},
            r"^dataset\.map: no class 'lawns' in yard \(Road, lawn, sky\); did you mean 'lawn'\?",
        ),
        (
            {"labels": "cityscape"},
            r"^dataset\.labels: no label space 'cityscape' for masks \(cityscapes, .*\); did you mean 'cityscapes'\?",
        ),
        ({"labels": "cleanliness"}, r"^dataset\.labels: no label space 'cleanliness' for masks"),
        ({"cache_dir": "DATA/.cache"}, r"^dataset\.cache_dir: .* lies under the photos in .*data"),
    ],
)
def test_classes_that_do_not_fit_are_named_with_what_to_say(tmp_path: Path, options: dict, message: str) -> None:
    if "cache_dir" in options:
        options = {"cache_dir": tmp_path / "data" / ".cache"}
    with pytest.raises(UserError, match=message) as error:
        source(tmp_path, save(tmp_path / "data", VALUES), **options)
    assert "\n" not in str(error.value)


def test_the_nearest_class_is_offered(tmp_path: Path) -> None:
    space = LabelSpace("yard", "segmentation", ("side walk",), ((0, 0, 0),))
    with pytest.raises(UserError, match=r"did you mean 'sidewalk'\?; say 'dataset\.map=\{side walk: CLASS\}'"):
        source(tmp_path, save(tmp_path / "data", VALUES), file_space=space, map=None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [[7, 8, 7]],
            r"a_mask\.png: value 8 stands for no class of yard \(1 of 3 pixels; allowed: 0, 7, 21, 40, 255\)$",
        ),
        ([[1, 2, 3, 9, 9, 7]], r"a_mask\.png: values 1-3, 9 stand for no class of yard \(5 of 6 pixels; allowed: 0, 7"),
    ],
)
def test_a_value_outside_the_label_set_is_named_with_its_file_and_counted(tmp_path: Path, values, message) -> None:
    found = source(tmp_path, save(tmp_path / "data", np.array(values, np.uint8)))
    with pytest.raises(UnreadablePhoto, match=message):
        read_mask(found)


@pytest.mark.parametrize("min_side", [None, 100])
@pytest.mark.parametrize("mask_size", [(480, 640), (240, 320), (640, 480)])
def test_sizes_are_compared_whole_whatever_size_a_jpeg_is_decoded_at(
    tmp_path: Path, mask_size: tuple[int, int], min_side: int | None
) -> None:
    pair = save(tmp_path / "data", np.full(mask_size, 7, np.uint8), (640, 480), "jpg")
    found = source(tmp_path, pair)
    if mask_size == (480, 640):
        photo, mask = found.read_pair(found.samples("train")[0], min_side)
        assert photo.size == ((640, 480) if min_side is None else (160, 120))
        assert mask.shape == mask_size
    else:
        height, width = mask_size
        with pytest.raises(
            UnreadablePhoto, match=rf"a_mask\.png: {width}x{height}, but its image .*a\.jpg is 640x480$"
        ):
            read_mask(found, min_side)


def test_a_photo_taken_sideways_fits_its_upright_mask(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = source(tmp_path, save(tmp_path / "data", np.full((640, 480), 7, np.uint8), (640, 480), "jpg", exif=exif))
    photo, mask = found.read_pair(found.samples("train")[0], 100)
    assert (photo.size, mask.shape) == ((120, 160), (640, 480))


def test_cached_rows_follow_the_image_the_mask_and_the_mapping(tmp_path: Path) -> None:
    pair = save(tmp_path / "data", np.full((8, 8), 21, np.uint8))

    def row(**options) -> tuple[str, str, int]:
        found = source(tmp_path, pair, **options)
        (sample,) = found.samples("train")
        cached = open_cache(found, "train", (4, 4))
        assert cached.masks is not None
        return found.fingerprint(sample), found.content_hashes([sample])[0], int(cached.masks[0, 0, 0])

    first = row()
    assert first == row()
    mapped = row(map={"lawn": "terrain"})
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(tmp_path / "data" / "a_mask.png")
    redrawn = row()
    Image.new("RGB", (8, 8)).save(tmp_path / "data" / "a.png")
    rephotographed = row()
    assert [first[2], mapped[2], redrawn[2], rephotographed[2]] == [255, 9, 0, 0]
    assert len({entry[0] for entry in (first, mapped, redrawn, rephotographed)}) == 4
    assert len({entry[1] for entry in (first, mapped, redrawn, rephotographed)}) == 4


def test_a_mask_that_vanished_is_named(tmp_path: Path) -> None:
    found = source(tmp_path, save(tmp_path / "data", VALUES))
    (tmp_path / "data" / "a_mask.png").unlink()
    (sample,) = found.samples("train")
    assert "missing" in found.fingerprint(sample)
    assert found.content_hashes([sample]) == [None]
    with pytest.raises(UnreadablePhoto, match=r"a_mask\.png: "):
        found.read_pair(sample)


def test_camvids_void_is_ignored_and_its_ids_stay(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.uint8)[None]
    found = source(tmp_path, save(tmp_path / "data", values), file_space=CAMVID, labels=None, map=None)
    np.testing.assert_array_equal(read_mask(found), [[*range(11), 255]])
