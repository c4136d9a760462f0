"""Files in the page: however they come, whatever they are called, whatever the server says about them."""

from __future__ import annotations

import base64
import io
import shutil

import numpy as np
import pytest
from PIL import Image
from tests.support.pages import eventually, is_shown, shown, upload

HOSTILE = '"><img src=x onerror=document.title=1>.png'


def states(page):
    return page.locator(".job").evaluate_all("all => all.map(e => e.dataset.state)")


def uploads_of(opened):
    """How many files were sent, and how many asked about again."""
    asked = [url for url in opened.requests if "/api/predict" in url]
    again = sum("source=" in url for url in asked)
    return len(asked) - again, again


def give(page, path, kind):
    """Paste a file, or drop it on the page."""
    page.evaluate(
        """async ([kind, name, data]) => {
          const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], name, {type: "image/png"}));
          const event = kind === "paste"
            ? new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true})
            : new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true});
          document.body.dispatchEvent(event);
        }""",
        [kind, path.name, base64.b64encode(path.read_bytes()).decode()],
    )


def test_several_files_are_all_predicted_and_hostile_names_stay_names(served, visit, striped, tmp_path):
    hostile = shutil.copy(striped, tmp_path / HOSTILE)
    opened = visit(served.url)
    shown(opened.page, hostile, striped, striped)
    eventually(lambda: states(opened.page), ["done"] * 3)
    assert uploads_of(opened) == (3, 0)
    assert opened.page.locator(".job .name").first.text_content() == HOSTILE
    assert opened.page.locator("img:not(.photo)").count() == 0
    assert opened.page.title() == "streetlab"
    eventually(lambda: opened.page.locator(".job .thumbnail.drawn").count(), 3)


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_photo_may_be_pasted_or_dropped_anywhere(served, visit, striped, kind):
    opened = visit(served.url)
    opened.page.wait_for_selector("body[data-state=ready]")
    give(opened.page, striped, kind)
    is_shown(opened.page)
    assert opened.page.locator(".job .name").all_text_contents() == ["striped.png"]


def test_the_queue_is_shown_and_a_cancelled_photo_can_be_asked_about_again(served, visit, striped):
    served.catalog.gate.clear()
    opened = visit(served.url)
    page = opened.page
    upload(page, striped, striped, striped)
    last = page.locator(".job").nth(2)
    eventually(lambda: sorted(states(page)), ["queued", "queued", "running"])
    queued = page.locator(".job[data-state=queued]")
    lines = queued.locator(".state")
    eventually(lambda: sorted(lines.all_text_contents()), ["queued, number 1", "queued, number 2"])
    assert last.locator("progress").is_visible()
    last.locator(".cancel").click()
    eventually(lambda: last.get_attribute("data-state"), "cancelled")
    served.catalog.gate.set()
    eventually(lambda: states(page), ["done", "done", "cancelled"])
    last.locator(".retry").click()
    eventually(lambda: states(page), ["done"] * 3)
    assert uploads_of(opened) == (4, 0), "the server forgot what was cancelled"


def test_a_full_queue_is_waited_for_as_long_as_the_server_says(served, visit, striped):
    opened = visit(served.url)
    page = opened.page
    page.wait_for_selector("body[data-state=ready]")
    refused = []

    def refuse_once(route):
        if refused:
            route.continue_()
            return
        refused.append(route.request.url)
        route.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": "1 job waits already"})

    page.route("**/api/predict*", refuse_once)
    page.set_input_files("#files", striped)
    page.wait_for_selector(".job[data-state=full]")
    assert page.locator(".job .state").text_content() == "1 job waits already; again in 1 s"
    is_shown(page)
    assert uploads_of(opened) == (2, 0)


def test_what_the_server_refuses_is_said_in_its_words(served, visit, striped, tmp_path):
    wrong = tmp_path / "wrong.jpg"
    wrong.write_text("<b>no photo</b>")
    opened = visit(served.url)
    page = opened.page
    upload(page, wrong, striped)
    page.wait_for_selector(".job[data-state=failed]")
    line = page.locator(".job[data-state=failed] .state").text_content()
    assert line
    assert "\n" not in line
    assert page.locator("#waiting-text").text_content() == f"wrong.jpg: {line}"
    assert "(text)" in line
    assert page.locator("#waiting-retry").is_hidden(), "the same file would be refused again"
    assert page.locator("#live").text_content() == f"wrong.jpg: {line}"
    page.locator(".job").nth(1).locator(".open").click()
    is_shown(page)
    page.locator(".job").first.locator(".remove").click()
    assert page.locator(".job .name").all_text_contents() == ["striped.png"]
    page.locator(".remove").click()
    page.wait_for_selector("#welcome", state="visible")


def test_another_model_sees_the_same_upload_and_known_answers_are_not_asked_for_again(served, visit, striped):
    opened = visit(served.url)
    page = opened.page
    shown(page, striped)
    first = page.locator(".job").get_attribute("data-id")
    page.select_option("#models", "camvid")
    eventually(lambda: page.locator(".legend li").count(), 11)
    is_shown(page)
    assert uploads_of(opened) == (1, 1)
    page.select_option("#models", "first")
    eventually(lambda: page.locator(".legend li").count(), 19)
    assert page.locator(".job").get_attribute("data-id") == first
    assert uploads_of(opened) == (1, 1)
    page.click("#options summary")
    page.check("input[name=flip]")
    eventually(lambda: served.catalog.asked, ["first", "camvid", "first"])
    is_shown(page)
    assert [url for url in opened.requests if "flip=true" in url and f"source={first}" in url]


def test_the_switch_that_hides_people_shows_a_blurred_photo(served, visit, striped):
    opened = visit(served.url)
    page = opened.page

    def photo() -> np.ndarray:
        job = page.locator(".job").get_attribute("data-id")
        content = page.request.get(f"{served.url}/api/jobs/{job}/files/photo.jpg").body()
        return np.asarray(Image.open(io.BytesIO(content))).astype(int)

    shown(page, striped)
    before = photo()
    page.click("#options summary")
    page.check("input[name=blur]")
    eventually(lambda: served.catalog.asked, ["first", "first"])
    is_shown(page)
    assert page.locator("#options-changed").text_content() == " · blur"
    assert [url for url in opened.requests if "blur=true" in url]
    changed = np.abs(photo() - before).mean(axis=-1)
    assert changed.max() > 5
    assert np.median(changed[:, :10]) < 1, "where there is nobody the photo stays"


def test_a_file_that_the_server_forgot_is_sent_once_more(served, visit, striped):
    opened = visit(served.url)
    page = opened.page
    shown(page, striped)
    job = page.locator(".job").get_attribute("data-id")
    assert page.request.delete(f"{served.url}/api/jobs/{job}").ok
    page.select_option("#models", "second")
    eventually(lambda: served.catalog.asked, ["first", "second"])
    is_shown(page)
    assert uploads_of(opened) == (2, 1)


def test_what_expired_meanwhile_is_said_and_can_be_asked_again(served, visit, striped):
    opened = visit(served.url)
    page = opened.page
    shown(page, striped)
    job = page.locator(".job").get_attribute("data-id")
    assert page.request.delete(f"{served.url}/api/jobs/{job}").ok
    page.click("#download summary")
    page.click("#download [data-part=csv]")
    eventually(
        lambda: page.locator("#waiting-text").text_content(), "striped.png: the server has forgotten this answer"
    )
    page.locator("#waiting-retry").focus()
    page.keyboard.press("Enter")
    is_shown(page)
    assert page.evaluate("document.activeElement.id") == "stage", "a hand on the keyboard is not sent back to the top"
    assert page.locator(".job").get_attribute("data-id") != job


def test_a_picture_whose_files_expired_says_so(served, visit, striped):
    opened = visit(served.url)
    page = opened.page
    shown(page, striped, striped)
    eventually(lambda: states(page), ["done", "done"])
    second = page.locator(".job").nth(1)
    assert page.request.delete(f"{served.url}/api/jobs/{second.get_attribute('data-id')}").ok
    second.locator(".open").click()
    page.wait_for_selector("#waiting-retry", state="visible")
    assert page.locator("#waiting-text").text_content() == "striped.png: the server has forgotten this answer"
    page.click("#waiting-retry")
    is_shown(page)


def test_the_newest_file_is_marked_and_in_view_and_nothing_jumps_when_it_is_done(served, visit, striped):
    served.catalog.gate.clear()
    opened = visit(served.url)
    page = opened.page
    upload(page, *[striped] * 9)
    page.wait_for_selector(".job[data-state=running]")
    assert page.locator(".job .open").first.get_attribute("aria-pressed") == "true"
    assert page.locator(".controls").is_hidden(), "there is nothing to paint yet"
    eventually(lambda: page.locator(".job").count(), 9)
    before = page.locator("#stage").bounding_box()
    page.set_input_files("#more-files", striped)
    last = page.locator(".job").nth(9)
    eventually(lambda: last.locator(".open").get_attribute("aria-pressed"), "true")
    assert page.locator(".open[aria-pressed=true]").count() == 1
    box, strip = last.bounding_box(), page.locator(".jobs").bounding_box()
    assert box["x"] + box["width"] <= strip["x"] + strip["width"] + 1
    served.catalog.gate.set()
    eventually(lambda: states(page), ["done"] * 10)
    is_shown(page)
    assert page.locator("#stage").bounding_box() == before


def test_the_focus_stays_near_what_was_removed(served, visit, striped):
    opened = visit(served.url)
    page = opened.page
    shown(page, striped, striped)
    page.locator(".remove").first.focus()
    page.keyboard.press("Enter")
    eventually(lambda: page.locator(".job").count(), 1)
    assert page.locator(".open:focus").count() == 1
    page.locator(".remove").focus()
    page.keyboard.press("Enter")
    eventually(lambda: page.evaluate("document.activeElement.id"), "files")
