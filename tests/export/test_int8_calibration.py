"""The images that INT8 takes its ranges from: of val, as the network saw it, from all over the split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streetlab.datasets.synthetic_streets import SyntheticStreets
from streetlab.errors import UserError
from streetlab.export.int8 import calibration_images
from streetlab.loading.augment import Augment
from streetlab.loading.datamodule import StreetData


def streets(folder: Path, val: int) -> StreetData:
    source = SyntheticStreets(
        name="streets", train=1, val=val, test=1, size=(32, 48), first_seed=0, cache_dir=folder / "cache"
    )
    return StreetData(source, Augment(), (32, 48), batch_size=2)


def test_they_are_vals_own_pixels_from_its_first_to_its_last(tmp_path: Path):
    data = streets(tmp_path, 7)
    images = calibration_images(data, 4)
    assert [(image.shape, image.dtype) for image in images] == [((1, 32, 48, 3), np.uint8)] * 4
    samples = data.source.samples("val")
    for image, row in zip(images, (0, 2, 4, 6), strict=True):
        np.testing.assert_array_equal(image[0], np.asarray(data.source.read(samples[row])))


def test_a_short_split_is_taken_whole_and_once(tmp_path: Path):
    images = calibration_images(streets(tmp_path, 3), 64)
    assert len({image.tobytes() for image in images}) == len(images) == 3


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_below_one_is_one_line(tmp_path: Path, count: int):
    with pytest.raises(UserError, match=f"^calibration: found {count}, allowed is 1 or more"):
        calibration_images(streets(tmp_path, 3), count)


def test_an_empty_val_is_one_line_with_advice(tmp_path: Path):
    data = streets(tmp_path, 3)
    data.source.samples = lambda split: []  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"^calibration: dataset streets has no images in val.*precision=fp16"):
        calibration_images(data, 8)
