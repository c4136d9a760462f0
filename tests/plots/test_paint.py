"""A downloaded mask equals the requested one, pixel by pixel."""

from __future__ import annotations

import io
import math
import sys
from subprocess import run

import numpy as np
import pytest
from PIL import Image

from streetlab.datasets.labels import CITYSCAPES, CLEANLINESS
from streetlab.errors import UserError
from streetlab.plots.paint import PaintStyle, class_shares, ids_png, paint, palette_png

RANDOM = np.random.default_rng(6)


def slowly(photo, ids, look, confidence):
    """The rule of `paint`, one pixel after the other."""
    height, width = ids.shape
    painted = photo.copy()
    for y, x in np.ndindex(height, width):
        label = int(ids[y, x])
        shown = label < len(look.palette) and label not in look.hidden
        if not shown or (confidence is not None and confidence[y, x] < look.threshold * 255):
            continue
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        border = any(0 <= v < height and 0 <= u < width and ids[v, u] != label for v, u in around)
        alpha = 1 if look.outlines and border else look.alpha
        for channel, color in enumerate(look.palette[label]):
            painted[y, x, channel] = math.floor(int(photo[y, x, channel]) * (1 - alpha) + color * alpha + 0.5)
    return painted


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (19, 23), (260, 3)])
@pytest.mark.parametrize("outlines", [False, True])
@pytest.mark.parametrize(("alpha", "threshold"), [(0.5, 0.0), (0.0, 0.4), (1.0, 1.0), (0.37, 0.5), (0.7, 100 / 255)])
def test_every_pixel_is_painted_by_the_rule(size, outlines, alpha, threshold):
    photo = RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8)
    ids = RANDOM.choice(np.array([0, 1, 2, 13, 18, 19, 255], dtype=np.uint8), size)
    confidence = RANDOM.choice(np.array([0, 100, 102, 127, 128, 255], dtype=np.uint8), size)
    before = photo.copy(), ids.copy(), confidence.copy()
    for hidden in (frozenset(), frozenset({1, 13})):
        look = PaintStyle(CITYSCAPES.palette, alpha, hidden, outlines, threshold)
        assert np.array_equal(paint(photo, ids, look, confidence), slowly(photo, ids, look, confidence))
        assert np.array_equal(paint(photo, ids, look), slowly(photo, ids, look, None))
    assert all(map(np.array_equal, before, (photo, ids, confidence)))


def test_what_does_not_fit_is_refused():
    photo, ids = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), np.uint8)
    look = PaintStyle(CITYSCAPES.palette)
    for arguments in ((photo, ids[:1], look), (photo[..., 0], ids, look), (photo, ids, look, ids[:, :2])):
        with pytest.raises(ValueError, match="do not fit each other"):
            paint(*arguments)
    for wrong in ({"alpha": 1.5}, {"threshold": -0.1}, {"alpha": math.nan}):
        with pytest.raises(ValueError, match=r"allowed 0 to 1"):
            PaintStyle(CITYSCAPES.palette, **wrong)


def test_shares_are_of_the_pixels_that_have_a_class_and_sum_to_one():
    ids = np.array([[0, 0, 2], [1, 255, 7]], dtype=np.uint8)
    assert class_shares(ids, 3).tolist() == [0.5, 0.25, 0.25]
    assert class_shares(RANDOM.integers(0, 19, (64, 80), dtype=np.uint8), 19).sum() == pytest.approx(1, abs=1e-12)
    assert class_shares(np.full((2, 2), 255, np.uint8), 3).tolist() == [0, 0, 0]


def test_both_kinds_of_mask_hold_the_very_ids():
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)[:, ::-1]
    grey, colored = (Image.open(io.BytesIO(png)) for png in (ids_png(ids), palette_png(ids, CITYSCAPES.palette)))
    assert (grey.mode, colored.mode) == ("L", "P")
    assert np.array_equal(np.asarray(grey), ids)
    assert np.array_equal(np.asarray(colored), ids)
    seen = np.asarray(colored.convert("RGB"))
    assert [tuple(c) for c in seen[ids < 19]] == [CITYSCAPES.palette[i] for i in ids[ids < 19]]
    assert not seen[ids >= 19].any()


def test_a_look_is_read_as_the_page_sends_it():
    palette = CLEANLINESS.palette
    assert PaintStyle.from_dict({}, CLEANLINESS) == PaintStyle(palette)
    plain = {"alpha": 1, "hidden": [0, 2], "colors": {"1": "#FF0010"}, "outlines": True, "threshold": 0.25}
    expected = PaintStyle((palette[0], (255, 0, 16), palette[2]), 1.0, frozenset({0, 2}), True, 0.25)
    assert PaintStyle.from_dict(plain, CLEANLINESS) == expected
    whole = PaintStyle.from_dict({"colors": ["#000000", "#010203", "#ffffff"]}, CLEANLINESS)
    assert whole.palette == ((0, 0, 0), (1, 2, 3), (255, 255, 255))


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ([], "is not an object with alpha, hidden, colors, outlines, threshold"),
        ({"alhpa": 1}, "no key 'alhpa' (allowed: alpha, hidden, colors, outlines, threshold); did you mean 'alpha'?"),
        ({"alpha": 2}, "look.alpha: '2' is not a number from 0 to 1"),
        ({"alpha": True}, "look.alpha: 'True' is not a number"),
        ({"alpha": math.nan}, "look.alpha: 'nan' is not a number"),
        ({"threshold": "0.5"}, "look.threshold: '0.5' is not a number"),
        ({"hidden": 3}, "look.hidden: '3' is not a list of class ids"),
        ({"hidden": [3]}, "look.hidden: '3' is not a class id from 0 to 2"),
        ({"hidden": [-1]}, "look.hidden: '-1' is not a class id"),
        ({"hidden": [True]}, "look.hidden: 'True' is not a class id"),
        ({"outlines": 1}, "look.outlines: '1' is not true or false"),
        ({"colors": {"3": "#000000"}}, "look.colors: '3' is not a class id from 0 to 2"),
        ({"colors": {"one": "#000000"}}, "look.colors: 'one' is not a class id"),
        ({"colors": {"9" * 5000: "#000000"}}, "look.colors: '999"),
        ({"colors": {"1": "red"}}, "look.colors.1: 'red' is not a colour, written #rrggbb"),
        ({"colors": {"1": "#00000g"}}, "look.colors.1: '#00000g' is not a colour"),
        ({"colors": ["#000000"]}, "look.colors: found 1 colours; the model has 3 classes"),
        ({"colors": "#000000"}, "look.colors: '#000000' is not an object"),
        ({"x" * 5000: 1}, "look: no key 'xxx"),
    ],
)
def test_any_other_look_is_one_short_line(plain, said):
    with pytest.raises(UserError) as caught:
        PaintStyle.from_dict(plain, CLEANLINESS)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_painting_needs_neither_torch_nor_matplotlib():
    code = "import sys, streetlab.plots.paint; sys.exit(bool({'torch', 'matplotlib'} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], check=False).returncode == 0
