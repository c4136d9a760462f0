"""Synthetic masks show exactly the mask's classes."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from streetlab.datasets.labels import CAMVID, CITYSCAPES
from streetlab.plots.figure import png
from streetlab.plots.masks import WRONG, SegmentedPhoto, colorize, error_map, segmentation_sheet

MASK = np.array([[0, 13, 255], [18, 0, 19]], dtype=np.uint8)
PHOTO = np.full((2, 3, 3), 100, dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_classes_have_their_colours_and_ignored_pixels_are_black(dtype):
    picture = colorize(MASK.astype(dtype), CITYSCAPES)
    assert picture.dtype == np.uint8
    for y, x in np.ndindex(MASK.shape):
        value = MASK[y, x]
        assert tuple(picture[y, x]) == (CITYSCAPES.palette[value] if value < 19 else (0, 0, 0))


def test_what_is_no_mask_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3, 3\), expected \(H, W\)"):
        colorize(PHOTO, CITYSCAPES)
    with pytest.raises(ValueError, match=r"values -1\.\.-1, allowed 0\.\.255"):
        colorize(np.full((2, 2), -1), CITYSCAPES)


@pytest.mark.parametrize("photo", [None, PHOTO, np.zeros((8, 9, 3), np.uint8)])
def test_errors_are_red_right_pixels_grey_and_ignored_ones_black(photo):
    prediction = np.array([[0, 12, 5], [18, 1, 0]], dtype=np.uint8)
    picture = error_map(MASK, prediction, photo)
    assert tuple(picture[0, 1]) == tuple(picture[1, 1]) == tuple(picture[1, 2]) == WRONG
    assert tuple(picture[0, 2]) == (0, 0, 0)
    for right in (picture[0, 0], picture[1, 0]):
        assert len(set(right.tolist())) == 1
        assert 128 < right[0] < 250
    with pytest.raises(ValueError, match="differ in shape"):
        error_map(MASK, prediction[:1], photo)


def _texts(figure):
    return [text.get_text() for text in figure.texts]


def test_a_sheet_names_rank_score_and_image_and_only_the_classes_that_occur():
    truth = np.zeros((90, 120), dtype=np.uint8)
    truth[:, 60:] = 8
    prediction = truth.copy()
    prediction[0] = 3
    rows = [
        SegmentedPhoto(Image.new("L", (480, 360)), truth, prediction, "test/$x_1$ 日本.png", 0.91234, "best"),
        SegmentedPhoto(np.zeros((60, 40, 3), np.uint8), np.full((1300, 700), 8), np.full((1300, 700), 8), "b", np.nan),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = segmentation_sheet(rows, CAMVID, "val images")
        picture = Image.open(io.BytesIO(png(figure, 60)))
    texts = _texts(figure)
    assert {"val images", "photo", "truth", "prediction", "errors", "best  mIoU 0.912"} <= set(texts)
    assert "test/$x_1$ 日本.png" in texts
    assert "no pixel counts" in texts
    assert [t for t in texts if t in (*CAMVID.names, "wrong pixel", "ignored")] == ["sky", "road", "car", "wrong pixel"]
    assert len(figure.axes) == 8
    shown = figure.axes[5].images[0].get_array()
    assert max(shown.shape) <= 640
    assert {tuple(pixel) for pixel in shown.reshape(-1, 3)} == {CAMVID.palette[8]}
    assert picture.height > picture.width / 2

    truth[:, :5] = 255
    assert "ignored" in _texts(segmentation_sheet(rows[:1], CAMVID))
    assert "no images" in _texts(segmentation_sheet([], CAMVID, "val images"))


def test_a_sheet_refuses_masks_that_are_not_of_one_image():
    photo = SegmentedPhoto(PHOTO, MASK, MASK[:1], "a.png", 0.5)
    with pytest.raises(ValueError, match=r"a\.png: truth \(2, 3\) and prediction \(1, 3\) differ"):
        segmentation_sheet([photo], CITYSCAPES)
