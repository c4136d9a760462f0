"""A page that is reloaded: its photos, their predictions and the chosen model are there again, and nothing is sent."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.support.page_stand_in import ids_of
from tests.support.pages import canvas, eventually, is_shown, overlay_of, shown, upload

from streetlab.datasets.labels import CITYSCAPES


def states(page):
    return page.locator(".job").evaluate_all("all => all.map(e => e.dataset.state)")


def sent(opened, before):
    return [url for url in opened.requests[before:] if "/api/predict" in url]


def test_a_reload_shows_the_same_photos_and_the_same_picture(served, visit, striped, tmp_path):
    other = tmp_path / "other.png"
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(other)
    opened = visit(served.url)
    page = opened.page
    shown(page, other, striped)
    page.select_option("#models", "second")
    page.locator("#options summary").click()
    page.locator("[name=flip]").check()
    page.locator(".job").nth(1).locator(".open").click()
    is_shown(page)
    eventually(lambda: states(page), ["done"] * 2)
    ids = ids_of(Image.open(striped), CITYSCAPES, 1)
    eventually(lambda: canvas(page), overlay_of(ids, CITYSCAPES.palette), "the overlay")
    before = len(opened.requests)
    page.reload()
    is_shown(page)
    eventually(lambda: states(page), ["done"] * 2)
    assert page.locator(".job .name").all_text_contents() == ["other.png", "striped.png"]
    assert page.locator(".job .open").nth(1).get_attribute("aria-pressed") == "true"
    assert page.input_value("#models") == "second"
    assert page.locator("[name=flip]").is_checked()
    eventually(lambda: canvas(page), overlay_of(ids, CITYSCAPES.palette), "the overlay")
    eventually(lambda: page.locator(".job .thumbnail.drawn").count(), 2)
    assert sent(opened, before) == []
    page.select_option("#models", "first")
    eventually(lambda: canvas(page), overlay_of(ids_of(Image.open(striped), CITYSCAPES), CITYSCAPES.palette))
    assert len(sent(opened, before)) == 1, "the file is on the server, and is asked about again"
    assert "source=" in sent(opened, before)[0]


def test_a_reload_finds_what_waits_and_runs(served, visit, striped):
    served.catalog.gate.clear()
    opened = visit(served.url)
    page = opened.page
    upload(page, striped, striped)
    eventually(lambda: sorted(states(page)), ["queued", "running"])
    before = len(opened.requests)
    page.reload()
    eventually(lambda: sorted(states(page)), ["queued", "running"])
    served.catalog.gate.set()
    eventually(lambda: states(page), ["done", "done"])
    is_shown(page)
    assert sent(opened, before) == []


@pytest.mark.slow
def test_a_photo_that_the_server_has_forgotten_is_said_so_and_removed_ones_stay_away(served, visit, striped):
    opened = visit(served.url)
    page = opened.page
    shown(page, striped, striped)
    eventually(lambda: states(page), ["done", "done"])
    page.locator(".job").nth(1).locator(".remove").click()
    job = page.locator(".job").get_attribute("data-id")
    page.reload()
    is_shown(page)
    assert page.locator(".job").count() == 1
    assert page.evaluate("id => fetch(`/api/jobs/${id}`, {method: 'DELETE'}).then(answer => answer.status)", job) == 200
    page.reload()
    page.locator(".job[data-state=failed] .retry").click()
    line = "the server has forgotten this file; choose it again"
    eventually(lambda: page.locator(".job .state").text_content(), line)
    assert page.locator(".job .retry").is_hidden()
    shown(page, striped)
    page.locator(".job").nth(0).locator(".remove").click()
    is_shown(page)
