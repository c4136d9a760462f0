"""Painting a photo in the page: exactly what the model said, whatever is moved, and never by asking again."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.support.page_stand_in import confidence_of, ids_of
from tests.support.pages import canvas, eventually, is_shown, overlay_of, row, set_value, shown

from streetlab.datasets.labels import CITYSCAPES
from streetlab.plots.paint import PaintStyle, paint

ROAD, CAR, SKY = (CITYSCAPES.names.index(name) for name in ("road", "car", "sky"))


@pytest.fixture
def opened(served, visit, striped):
    """The page with the striped photo painted; afterwards, no request may have been made for painting."""
    opened = visit(served.url)
    shown(opened.page, striped)
    before = len(opened.requests)
    yield opened
    assert opened.requests[before:] == [], "painting asked the server"
    assert served.catalog.asked == ["first"]


@pytest.fixture
def seen(striped):
    with Image.open(striped) as photo:
        return ids_of(photo, CITYSCAPES), confidence_of(photo)


def painted_is(opened, wanted):
    eventually(lambda: canvas(opened.page), wanted, "the overlay")


def test_every_pixel_has_the_color_of_the_class_that_the_model_said(opened, seen):
    ids, _ = seen
    assert len(np.unique(ids)) == 19
    painted_is(opened, overlay_of(ids, CITYSCAPES.palette))
    photo = opened.page.locator("img.photo")
    assert photo.evaluate("e => [e.naturalWidth, e.naturalHeight]") == [95, 48]


def test_opacity_is_that_of_the_canvas_over_the_photo(opened):
    set_value(opened.page, "input[name=alpha]", 30)
    eventually(lambda: opened.page.locator("canvas.overlay").evaluate("e => e.style.opacity"), "0.3")
    assert opened.page.locator("output[name=alpha-value]").text_content() == "30 %"


def test_classes_are_hidden_and_shown_one_by_one_all_none_and_alone(opened, seen):
    ids, _ = seen
    page = opened.page
    page.locator(row(CAR)).get_by_role("checkbox").uncheck()
    painted_is(opened, overlay_of(ids, CITYSCAPES.palette, ids != CAR))
    page.locator(row(ROAD)).hover()
    page.locator(row(ROAD)).locator(".only").click()
    painted_is(opened, overlay_of(ids, CITYSCAPES.palette, ids == ROAD))
    assert page.locator(".legend input[type=checkbox]:checked").count() == 1
    page.click("#none")
    painted_is(opened, overlay_of(ids, CITYSCAPES.palette, False))
    page.click("#all")
    painted_is(opened, overlay_of(ids, CITYSCAPES.palette))


def test_pixels_below_the_threshold_show_the_photo(opened, seen):
    ids, confidence = seen
    set_value(opened.page, "input[name=threshold]", 60)
    where = confidence >= 0.6 * 255
    assert 0 < where.sum() < where.size
    painted_is(opened, overlay_of(ids, CITYSCAPES.palette, where))


def test_outlines_lie_over_the_photo_at_full_weight(opened, seen):
    ids, _ = seen
    assert canvas(opened.page, "canvas.outlines").max() == 0
    opened.page.check("input[name=outlines]")
    black = np.zeros((*ids.shape, 3), dtype=np.uint8)
    edges = paint(black, ids, PaintStyle(CITYSCAPES.palette, alpha=0.0, outlines=True)).any(axis=-1)
    eventually(lambda: canvas(opened.page, "canvas.outlines"), overlay_of(ids, CITYSCAPES.palette, edges), "outlines")


def test_own_colors_are_kept_for_the_label_space_until_they_are_reset(served, visit, striped, seen):
    ids, _ = seen
    opened = visit(served.url)
    page = opened.page
    shown(page, striped)
    set_value(page, f"{row(SKY)} input[type=color]", "#ff8800")
    own = list(CITYSCAPES.palette)
    own[SKY] = (0xFF, 0x88, 0)
    painted_is(opened, overlay_of(ids, own))
    page.reload()
    shown(page, striped)
    painted_is(opened, overlay_of(ids, own))
    page.click("#reset-colors")
    painted_is(opened, overlay_of(ids, CITYSCAPES.palette))
    assert page.locator("#reset-colors").is_hidden()
    assert page.evaluate("localStorage.length") == 0


def test_the_legend_has_each_share_and_two_orders(opened, seen):
    ids, _ = seen
    page = opened.page
    shares = np.bincount(ids.ravel(), minlength=19) / ids.size

    def order():
        return [int(each) for each in page.locator(".legend li").evaluate_all("all => all.map(e => e.dataset.class)")]

    assert order() == sorted(range(19), key=lambda k: (-shares[k], k))
    for class_id in (ROAD, CAR):
        assert page.locator(row(class_id)).locator(".share").text_content() == f"{100 * shares[class_id]:.1f} %"
    page.select_option("select[name=order]", "class")
    assert order() == list(range(19))


def test_the_pointer_names_class_and_confidence(opened, seen):
    ids, confidence = seen
    box = opened.page.locator("img.photo").bounding_box()
    for x, y in ((2, 3), (48, 25), (92, 45)):
        opened.page.mouse.move(box["x"] + (x + 0.5) * box["width"] / 95, box["y"] + (y + 0.5) * box["height"] / 48)
        sure = 100 * int(confidence[y, x]) / 255
        eventually(opened.page.locator("#hover").text_content, f"{CITYSCAPES.names[ids[y, x]]} {sure:.1f} %")
    opened.page.mouse.move(box["x"] + 10, 5)
    eventually(opened.page.locator("#hover").text_content, "")


def test_the_divider_bares_the_photo_by_keys_and_by_hand(opened):
    page = opened.page
    cut = page.locator(".clip")
    assert cut.evaluate("e => e.style.clipPath") == ""
    page.keyboard.press("d")
    assert cut.evaluate("e => e.style.clipPath") == "inset(0px 0px 0px 50%)"
    page.focus("#divider")
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    assert page.locator("#divider").get_attribute("aria-valuenow") == "40"
    frame, handle = page.locator(".frame").bounding_box(), page.locator("#divider").bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, frame["y"] + 60)
    page.mouse.down()
    page.mouse.move(frame["x"] + 0.75 * frame["width"], frame["y"] + 80, steps=3)
    page.mouse.up()
    eventually(lambda: page.locator("#divider").get_attribute("aria-valuenow"), "75")
    page.uncheck("input[name=divider]")
    assert page.locator("#divider").is_hidden()
    assert cut.evaluate("e => e.style.clipPath") == ""


def test_the_wheel_zooms_about_the_pointer_and_a_drag_moves(opened):
    page = opened.page
    whole = page.locator("img.photo").bounding_box()
    at = (whole["x"] + 0.25 * whole["width"], whole["y"] + 0.5 * whole["height"])
    page.mouse.move(*at)
    page.mouse.wheel(0, -600)

    def width():
        return page.locator("img.photo").bounding_box()["width"] / whole["width"]

    eventually(lambda: width() > 2, True)
    zoomed = page.locator("img.photo").bounding_box()
    assert (at[0] - zoomed["x"]) / zoomed["width"] == pytest.approx(0.25, abs=0.01), "the point stays where it was"
    page.mouse.down()
    page.mouse.move(at[0] - 40, at[1] + 10, steps=4)
    page.mouse.up()
    moved = page.locator("img.photo").bounding_box()
    assert moved["x"] - zoomed["x"] == pytest.approx(-40, abs=2)
    page.mouse.dblclick(*at)
    eventually(lambda: round(width(), 3), 1.0)


def test_keys_do_what_the_sheet_says_and_can_be_turned_off(opened, seen):
    ids, _ = seen
    page = opened.page
    page.keyboard.press("?")
    page.wait_for_selector("#keys[open]")
    page.keyboard.press("Escape")
    first = int(page.locator(".legend li").first.get_attribute("data-class"))
    page.keyboard.press("1")
    painted_is(opened, overlay_of(ids, CITYSCAPES.palette, ids != first))
    page.keyboard.press("n")
    painted_is(opened, overlay_of(ids, CITYSCAPES.palette, False))
    page.keyboard.press("a")
    page.keyboard.press("o")
    eventually(lambda: page.locator("input[name=outlines]").is_checked(), True)
    page.keyboard.press("[")
    eventually(lambda: page.locator("input[name=alpha]").input_value(), "40")
    page.keyboard.press("+")
    eventually(lambda: page.locator(".frame.zoomed").count(), 1)
    page.keyboard.press("0")
    eventually(lambda: page.locator(".frame.zoomed").count(), 0)
    page.click("#help")
    page.uncheck("#keys-on")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.keyboard.press("o")
    assert page.locator("input[name=outlines]").is_checked()
    painted_is(opened, overlay_of(ids, CITYSCAPES.palette))


def test_the_overlay_as_shown_is_what_the_server_would_paint(served, visit, striped, seen):
    ids, confidence = seen
    opened = visit(served.url)
    shown(opened.page, striped)
    pixels = opened.page.evaluate(
        """async () => {
          const {PhotoStage} = await import("/static/js/stage/photo_stage.js");
          const id = document.querySelector(".job").dataset.id;
          const job = await (await fetch(`/api/jobs/${id}`)).json();
          const {models} = await (await fetch("/api/models")).json();
          const host = document.body.appendChild(document.createElement("div"));
          const stage = new PhotoStage(host);
          await stage.load(job, models[0]);
          const colors = models[0].classes.map(({color}) => [1, 3, 5].map(i => parseInt(color.slice(i, i + 2), 16)));
          const look = {alpha: 0.35, hidden: new Set([0, 3]), colors, outlines: true, threshold: 0.3};
          const bitmap = await createImageBitmap(await stage.snapshot(look));
          const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
          canvas.drawImage(bitmap, 0, 0);
          const bare = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
          bare.drawImage(stage.photo, 0, 0);
          const read = from => [...from.getImageData(0, 0, bitmap.width, bitmap.height).data];
          stage.destroy();
          host.remove();
          return [read(canvas), read(bare)];
        }"""
    )
    shown_, photo = (np.array(each, dtype=np.uint8).reshape(48, 95, 4)[..., :3] for each in pixels)
    look = PaintStyle(CITYSCAPES.palette, 0.35, frozenset({0, 3}), True, 0.3)
    np.testing.assert_array_equal(shown_, paint(photo, ids, look, confidence))


def test_a_wide_view_of_a_new_photo_begins_whole(served, visit, striped):
    opened = visit(served.url)
    shown(opened.page, striped, striped)
    opened.page.keyboard.press("+")
    opened.page.keyboard.press("ArrowRight")
    is_shown(opened.page)
    assert opened.page.locator(".job .open[aria-pressed=true]").count() == 1
    assert opened.page.locator(".frame.zoomed").count() == 0
    opened.page.keyboard.press("ArrowLeft")
    is_shown(opened.page)
    assert opened.page.locator(".job").first.locator(".open").get_attribute("aria-pressed") == "true"


def test_a_photo_unlike_the_training_photos_is_marked_and_the_next_one_is_not(served, visit, striped, tmp_path):
    page = visit(served.url).page
    blue = tmp_path / "blue.png"
    Image.new("RGB", (95, 48), (10, 200, 250)).save(blue)
    shown(page, blue)
    assert "trained on cityscapes photos" in page.locator("#detail").text_content()
    note = page.locator(".pane-note").first
    eventually(note.is_visible, True)
    assert note.text_content() == "Unlike the training photos (cityscapes photos): do not rely on this result."
    shown(page, striped)
    eventually(note.is_visible, False)
