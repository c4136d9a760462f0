"""The page for everyone: assistive technology, small screens, keyboards, light and dark, and nothing to show yet."""

from __future__ import annotations

import pytest
from tests.support.axe import faults
from tests.support.page_stand_in import StandInCatalog
from tests.support.pages import eventually, shown
from tests.support.serving import serving


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(served, visit, striped, scheme):
    page = visit(served.url, color_scheme=scheme, reduced_motion="reduce").page
    page.wait_for_selector("body[data-state=ready]")
    assert faults(page) == []
    shown(page, striped)
    page.select_option("#second", "second")
    page.wait_for_selector("#differing")
    page.keyboard.press("d")
    page.keyboard.press("1")
    page.click("#options summary")
    assert faults(page) == []
    page.click("#all-models")
    assert faults(page) == []


def test_a_phone_shows_everything_without_scrolling_sideways(served, visit, striped):
    page = visit(served.url, viewport={"width": 320, "height": 568}, has_touch=True, is_mobile=True).page
    wide = "[document.documentElement.scrollWidth, innerWidth]"
    page.wait_for_selector("body[data-state=ready]")
    assert page.evaluate(wide) == [320, 320]
    shown(page, striped, striped)
    assert page.evaluate(wide) == [320, 320]
    assert page.locator("#stage").bounding_box()["width"] == 320
    page.locator(".legend li").last.locator("label").tap()
    assert page.locator(".legend input[type=checkbox]:not(:checked)").count() == 1
    assert page.locator("#stage").bounding_box()["y"] == pytest.approx(0, abs=1), "the photo stays in sight"
    box = page.locator("img.photo").bounding_box()
    page.touchscreen.tap(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    eventually(lambda: page.locator("#hover").text_content().endswith("%"), True, "a tap names the class")


def test_without_a_model_the_page_says_which_command_makes_one(served, visit, tmp_path):
    from streetlab.app.server import create_app
    from streetlab.app.settings import Settings

    settings = Settings(storage=tmp_path / "storage", runs=tmp_path / "runs", port=0)
    catalog = StandInCatalog(settings, offered=())
    with serving(create_app(settings, catalog=catalog)) as url:
        page = visit(url).page
        page.wait_for_selector("#empty", state="visible")
        assert "make demo" in page.locator("#empty").text_content()
        assert page.locator("#welcome").is_hidden()
        assert page.locator("#files").is_disabled()
        catalog.offered = served.catalog.offered
        page.click("#reload")
        page.wait_for_selector("#welcome", state="visible")
        page.close()


def test_models_stand_by_task_with_what_they_are_worth_and_sort_in_the_table(served, visit):
    page = visit(served.url).page
    page.wait_for_selector("body[data-state=ready]")
    groups = page.locator("#models optgroup").evaluate_all("all => all.map(g => [...g.children].map(o => o.value))")
    assert groups == [["first", "second", "camvid"], ["clean"]]
    detail = page.locator("#detail").text_content()
    for part in ("mIoU 0.612 on test", "512×256", "39.6 M parameters", "31 GMACs", "24 photos/s"):
        assert part in detail
    page.click("#all-models")
    rows = page.locator("#table-of-models tbody").first.locator(".link")
    assert rows.all_text_contents()[0] == "DeepLabV3 1 on Cityscapes"
    page.get_by_role("button", name="score").click()
    eventually(lambda: rows.all_text_contents()[0], "DeepLabV3 on CamVid")
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    rows.nth(1).click()
    assert page.locator("#models").input_value() == "second"
    assert page.locator("#table-of-models").is_hidden()


def test_the_theme_follows_the_system_until_it_is_chosen(served, visit):
    page = visit(served.url, color_scheme="light").page

    def is_dark():
        return page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 28)"

    assert not is_dark()
    page.click("#theme")
    assert is_dark()
    page.reload()
    assert is_dark()
    page.click("#theme")
    assert not is_dark()
    page.emulate_media(color_scheme="dark")
    assert is_dark()


def test_a_keyboard_reaches_every_control(served, visit, striped):
    page = visit(served.url).page
    shown(page, striped)
    focused = "[document.activeElement].map(e => e.id || e.name || e.className)[0]"
    wanted = {"models", "all-models", "theme", "help", "alpha", "threshold", "outlines", "divider", "all", "none"}
    wanted |= {"order", "second", "more-files", "open", "remove", "only"}
    page.focus("a.skip")
    for _ in range(200):
        page.keyboard.press("Tab")
        wanted.discard(page.evaluate(focused))
        if not wanted:
            break
    assert wanted == set()
