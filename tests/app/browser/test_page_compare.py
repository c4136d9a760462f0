"""Two models on one photo: side by side in one look, and where they differ."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image
from tests.support.page_stand_in import ids_of
from tests.support.pages import canvas, eventually, overlay_of, row, set_value, shown

from streetlab.datasets.labels import CAMVID, CITYSCAPES


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
    own = [k for k, name in enumerate(CAMVID.names) if name not in CITYSCAPES.names]
    rows = page.locator(".legend [data-second]")
    assert sorted(rows.locator(".name").all_text_contents()) == sorted(CAMVID.names[k] for k in own)
    tree = page.locator(f".legend [data-second='{own[-1]}']")
    assert tree.locator(".share").text_content() == f"{100 * (other == own[-1]).mean():.1f} %"
    page.click("#none")
    eventually(lambda: int(canvas(page, nth=1).max()), 0)
    tree.get_by_role("checkbox").check()
    set_value(page, f".legend [data-second='{own[-1]}'] input[type=color]", "#010203")
    palette[own[-1]] = (1, 2, 3)
    eventually(lambda: canvas(page, nth=1), overlay_of(other, palette, other == own[-1]))
    page.click("#reset-colors")
    palette[own[-1]] = CAMVID.palette[own[-1]]
    eventually(lambda: canvas(page, nth=1), overlay_of(other, palette, other == own[-1]))
    page.select_option("#second", "")
    eventually(lambda: page.locator(".legend li").count(), 19)


def test_where_they_differ_is_downloaded_as_it_is_shown(compared, striped, tmp_path):
    differ = seen_by(striped, CITYSCAPES) != seen_by(striped, CITYSCAPES, 1)
    page = compared("second").page
    page.check("#difference")
    page.click("#download summary")
    with page.expect_download() as got:
        page.click("#download [data-part=overlay]")
    assert got.value.suggested_filename == "striped_difference.png"
    got.value.save_as(tmp_path / "difference.png")
    with Image.open(tmp_path / "difference.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    grey = pixels.max(axis=-1) - pixels.min(axis=-1) <= 1
    assert grey[~differ].all(), "where both say the same the photo is grey"
    assert not grey[differ].all()


def test_each_model_of_a_comparison_is_downloaded_with_its_own_classes_and_name(compared, striped, tmp_path):
    page = compared("camvid").page
    title = re.sub(r"[^\w.-]+", "-", page.locator(".pane-title").nth(1).text_content())
    page.click("#download summary")
    titles = page.locator(".pane-title").all_text_contents()  # the menu is filled by an event, after the click
    eventually(lambda: page.locator("#download .sheet p").all_text_contents(), titles)
    for attribute, space, model in (("part", CITYSCAPES, ""), ("second", CAMVID, f"_{title}")):
        with page.expect_download() as got:
            page.click(f"#download [data-{attribute}=ids]")
        assert got.value.suggested_filename == f"striped_ids{model}.png"
        got.value.save_as(tmp_path / "ids.png")
        with Image.open(tmp_path / "ids.png") as ids:
            np.testing.assert_array_equal(np.asarray(ids), seen_by(striped, space))
        page.click("#download summary")
    page.select_option("#second", "")
    eventually(lambda: page.locator("#download [data-second]").count(), 0)
    assert page.locator("#download [data-part=ids]").count() == 1


def test_a_verdict_stands_beside_the_second_picture_not_above_it(served, visit, striped):
    page = visit(served.url).page
    shown(page, striped)
    page.select_option("#second", "second")
    page.wait_for_selector("#stage.stacked")
    page.select_option("#models", "clean")
    page.wait_for_selector(".verdict")
    page.wait_for_selector(".attention", state="visible")
    assert page.locator("#stage.stacked").count() == 0


def test_a_classifier_without_maps_is_not_asked_for_any_and_has_nothing_to_paint(served, visit, striped, monkeypatch):
    own = served.catalog.entry
    monkeypatch.setattr(served.catalog, "entry", lambda id_: own(id_) | {"activations": False})
    opened = visit(served.url)
    opened.page.wait_for_selector("body[data-state=ready]")
    opened.page.select_option("#models", "clean")
    shown(opened.page, striped)
    assert "Litter 70.0 %" in opened.page.locator(".bars").text_content()
    assert not any("cam=" in url for url in opened.requests)
    assert opened.page.locator(".controls").first.is_hidden()


def test_the_second_picture_goes_when_it_is_no_longer_wanted(compared):
    page = compared("second").page
    page.select_option("#second", "")
    eventually(lambda: page.locator(".pane:not([hidden])").count(), 1)
    assert page.locator("#swaps").text_content() == ""
    assert page.locator("#difference-choice").is_hidden()
