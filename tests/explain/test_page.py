"""The gallery in a browser: offline, hostile names as text, filters that count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streetlab.datasets.labels import CLEANLINESS, LabelSpace
from streetlab.explain.page import Card, Gallery, Layer, gallery_page, inline_heat, inline_mask, inline_photo

HOSTILE = '"><script>document.title = "taken"</script> \'quoted\'.jpg'
PHOTO = inline_photo(Image.fromarray(np.full((60, 90, 3), 120, dtype=np.uint8)))
HEAT = inline_heat(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8))
# true, predicted, confidence
SHOWN = [(2, 0, 0.9), (2, 1, 0.6), (0, 0, 0.99), (0, 0, 0.55), (1, 1, 0.8)]


def card(number: int, true: int, predicted: int, score: float) -> Card:
    layers = [Layer(CLEANLINESS.names[i], HEAT, i, "0.50") for i in (predicted, true)[: 1 + (true != predicted)]]
    outcome = "correct" if true == predicted else "wrong"
    return Card(HOSTILE if number == 0 else f"{number}.jpg", outcome, score, PHOTO, 1.5, layers, true, predicted)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    pairs = np.array([[12, 0, 0], [0, 1, 0], [1, 1, 0]])
    cards = [card(i, *values) for i, values in enumerate(SHOWN)]
    page = gallery_page(Gallery("A run", ["some note"], CLEANLINESS, 0.5, cards, ["It <b>works</b>."], {}, pairs))
    path = tmp_path / "explain.html"
    path.write_text(page, encoding="utf-8")
    return path


@pytest.fixture
def opened(written, open_page):
    shown = open_page(written)
    yield shown
    assert shown.requests == []
    assert shown.errors == []


def visible(opened) -> list[str]:
    """The names on the visible cards, in their order (a card that is not painted yet has no inner text)."""
    return [text.strip() for text in opened.page.locator(".card:visible .file").all_text_contents()]


def count(opened) -> str:
    return opened.page.locator("#count").inner_text()


def test_the_page_opens_offline_and_shows_hostile_names_as_text(opened):
    assert opened.page.title() == "A run"
    assert visible(opened)[0] == HOSTILE
    assert opened.page.locator(".lead li").inner_text() == "It <b>works</b>."
    assert opened.page.locator("#cards script").count() == 0
    assert count(opened) == "5 of 5 photos"


def test_photo_and_map_are_drawn_over_each_other(opened):
    stage = opened.page.locator(".stage").first
    photo = stage.evaluate("e => getComputedStyle(e).backgroundImage")
    heat = stage.evaluate("e => getComputedStyle(e, '::after').backgroundImage")
    assert photo.startswith('url("data:image/jpeg')
    assert heat.startswith('url("data:image/png')
    box = stage.bounding_box()
    assert box["width"] / box["height"] == pytest.approx(1.5, rel=0.02)
    opened.page.locator("input[name=opacity]").fill("0")
    assert stage.evaluate("e => getComputedStyle(e, '::after').opacity") == "0"


def test_filters_leave_what_was_asked_for_and_say_how_many(opened):
    page = opened.page
    page.select_option("select[name=outcome]", "wrong")
    assert len(visible(opened)) == 2
    page.select_option("select[name=predicted]", "1")
    assert (visible(opened), count(opened)) == (["1.jpg"], "1 of 5 photos")
    page.locator("button[type=reset]").click()
    page.wait_for_function("document.getElementById('count').textContent == '5 of 5 photos'")
    page.locator("input[name=least]").fill("0.6")
    page.locator("input[name=most]").fill("0.9")
    assert len(visible(opened)) == 3, "both ends belong to the range"
    page.locator("input[name=text]").fill("SCRIPT>")
    assert visible(opened) == [HOSTILE]


def test_a_cell_of_the_matrix_filters_and_a_second_click_lets_go(opened):
    cell = opened.page.locator(".matrix button[data-true='2'][data-predicted='0']")
    cell.click()
    assert visible(opened) == [HOSTILE]
    assert cell.get_attribute("aria-pressed") == "true"
    cell.click()
    assert count(opened) == "5 of 5 photos"
    empty = opened.page.locator(".matrix button[data-true='0'][data-predicted='2']")
    assert empty.is_disabled()


def test_cards_can_be_ordered_and_return_to_their_order(opened):
    opened.page.select_option("select[name=order]", "up")
    assert visible(opened) == ["3.jpg", "1.jpg", "4.jpg", HOSTILE, "2.jpg"]
    opened.page.select_option("select[name=order]", "")
    assert visible(opened) == [HOSTILE, "1.jpg", "2.jpg", "3.jpg", "4.jpg"]


def test_the_map_of_another_class_is_a_click_away(opened):
    thumbs = opened.page.locator(".card").first.locator(".thumb")
    assert [thumbs.nth(i).get_attribute("aria-pressed") for i in (0, 1)] == ["true", "false"]
    thumbs.nth(1).click()
    assert [thumbs.nth(i).get_attribute("aria-pressed") for i in (0, 1)] == ["false", "true"]
    opened.page.select_option("select[name=map]", "1")
    assert visible(opened) == ["1.jpg", "4.jpg"], "cards without a map of that class have nothing to show"


def test_with_masks_cards_are_filtered_by_class(tmp_path, open_page):
    space = LabelSpace("two", "segmentation", ("road", "car"), ((128, 64, 128), (0, 0, 142)))
    mask = inline_mask(np.array([[0, 1], [1, 255]], dtype=np.uint8), space)
    both = [Layer("prediction", mask), Layer("road", HEAT, 0), Layer("car", HEAT, 1)]
    cards = [Card("a.png", "worst", 0.1, PHOTO, 1.5, both), Card("b.png", "best", 0.9, PHOTO, 1.5, both[:2])]
    path = tmp_path / "explain.html"
    path.write_text(gallery_page(Gallery("A run", [], space, 1.0, cards)), encoding="utf-8")
    opened = open_page(path)
    assert (opened.requests, opened.errors) == ([], [])
    assert visible(opened) == ["a.png", "b.png"]
    opened.page.select_option("select[name=map]", "1")
    assert (visible(opened), count(opened)) == (["a.png"], "1 of 2 photos")
    assert opened.page.locator(".matrix").count() == 0


def test_ignored_pixels_of_a_mask_show_the_photo():
    import base64
    import io

    space = LabelSpace("two", "segmentation", ("road", "car"), ((128, 64, 128), (0, 0, 142)))
    source = inline_mask(np.array([[0, 1], [1, 255]], dtype=np.uint8), space)
    with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as picture:
        pixels = np.asarray(picture.convert("RGBA"))
    assert pixels[0, 1, :3].tolist() == [0, 0, 142]
    assert pixels[1, 1, 3] == 0
    assert pixels[0, 0, 3] > 128
