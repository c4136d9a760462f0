"""Two models on one photo: side by side in one look, and where they differ."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.app.browser.pages import canvas, eventually, overlay_of, row, shown
from tests.app.browser.stand_in import ids_of

from streetlab.data.index.labels import CAMVID, CITYSCAPES


@pytest.fixture
def compared(served, visit, striped):
    """`compared(model)`: the striped photo seen by the first model and another, side by side."""

    def open_(model):
        opened = visit(served.url)
        shown(opened.page, striped)
        opened.page.select_option("#second", model)
        opened.page.wait_for_selector("#differing")
        assert served.catalog.asked == ["first", model]
        assert sum("/api/predict" in url and "source=" not in url for url in opened.requests) == 1
        return opened

    return open_


def seen_by(striped, space, shift=0):
    with Image.open(striped) as photo:
        return ids_of(photo, space, shift)


def test_both_are_painted_and_what_differs_is_measured_and_shown(compared, striped):
    one, other = seen_by(striped, CITYSCAPES), seen_by(striped, CITYSCAPES, 1)
    differ = one != other
    page = (opened := compared("second")).page
    before = len(opened.requests)
    eventually(lambda: canvas(page, nth=1), overlay_of(other, CITYSCAPES.palette))
    assert page.locator("#differing").text_content() == f"{100 * differ.mean():.1f} %"
    pairs, counts = np.unique(np.stack([one[differ], other[differ]]), axis=1, return_counts=True)
    names = {(CITYSCAPES.names[a], CITYSCAPES.names[b]): n for (a, b), n in zip(pairs.T, counts, strict=True)}
    rows = page.locator(".swaps tbody tr").evaluate_all("all => all.map(row => [...row.cells].map(c => c.textContent))")
    assert len(rows) == 6
    assert all(share == f"{100 * names[a, b] / one.size:.1f} %" for a, b, share in rows)
    page.check("#difference")
    eventually(lambda: canvas(page), overlay_of(one, CITYSCAPES.palette, differ))
    eventually(lambda: canvas(page, nth=1), overlay_of(other, CITYSCAPES.palette, differ))
    page.uncheck("#difference")
    page.click("#none")
    page.locator(row(2)).get_by_role("checkbox").check()
    eventually(lambda: canvas(page), overlay_of(one, CITYSCAPES.palette, one == 2))
    eventually(lambda: canvas(page, nth=1), overlay_of(other, CITYSCAPES.palette, other == 2))
    assert opened.requests[before:] == []


def test_zoom_divider_and_pointer_hold_for_both(compared, striped):
    page = compared("second").page
    for key in ("+", "d"):
        page.keyboard.press(key)
    boxes = [page.locator("img.photo").nth(i).bounding_box() for i in (0, 1)]
    assert boxes[0]["width"] == pytest.approx(boxes[1]["width"], abs=1)
    assert page.locator(".frame.zoomed").count() == 2
    assert len(set(page.locator(".clip").evaluate_all("all => all.map(e => e.style.clipPath)"))) == 1
    assert page.locator("#divider").count() == 1
    page.keyboard.press("0")
    box = page.locator("img.photo").nth(1).bounding_box()
    page.mouse.move(box["x"] + 10.5 * box["width"] / 95, box["y"] + 24.5 * box["height"] / 48)
    names = [CITYSCAPES.names[seen_by(striped, CITYSCAPES, shift)[24, 10]] for shift in (0, 1)]
    eventually(lambda: [part.split(" ")[0] for part in page.locator("#hover").text_content().split("  |  ")], names)


def test_models_of_other_classes_are_compared_by_their_names(compared, striped):
    one, other = seen_by(striped, CITYSCAPES), seen_by(striped, CAMVID)
    page = compared("camvid").page
    differ = np.array(CITYSCAPES.names)[one] != np.array(CAMVID.names)[other]
    assert page.locator("#differing").text_content() == f"{100 * differ.mean():.1f} %"
    both = [CITYSCAPES.names.index(name) if name in CITYSCAPES.names else None for name in CAMVID.names]
    palette = [CAMVID.palette[k] if i is None else CITYSCAPES.palette[i] for k, i in enumerate(both)]
    eventually(lambda: canvas(page, nth=1), overlay_of(other, palette), "one name has one colour")
    page.click("#none")
    eventually(lambda: int(canvas(page, nth=1).max()), 0)


def test_the_second_picture_goes_when_it_is_no_longer_wanted(compared):
    page = compared("second").page
    page.select_option("#second", "")
    eventually(lambda: page.locator(".pane:not([hidden])").count(), 1)
    assert page.locator("#swaps").text_content() == ""
    assert page.locator("#difference-choice").is_hidden()
