"""The page that lists the interface: everything of /openapi.json, all of it as text."""

from __future__ import annotations

import json
import shlex
import subprocess
from shutil import which

import httpx
import pytest
from tests.support.axe import faults


@pytest.fixture
def opened(served, visit):
    page = visit(f"{served.url}/api").page
    page.wait_for_selector("#operations:not([aria-busy])")
    return page


def test_every_path_stands_there_with_its_parameters_and_answers(opened, served):
    described = httpx.get(f"{served.url}/openapi.json").json()
    wanted = [(method.upper(), path) for path, methods in described["paths"].items() for method in methods]
    assert ("POST", "/api/predict") in wanted
    heads = [tuple(text.split()) for text in opened.locator(".operation h2").all_text_contents()]
    assert heads == wanted
    for section, (method, path) in zip(opened.locator(".operation").all(), wanted, strict=True):
        operation = described["paths"][path][method.lower()]
        said = section.text_content()
        for parameter in operation.get("parameters", []):
            assert parameter["name"] in said
            assert parameter.get("description", "") in said
        for status in operation["responses"]:
            assert status in said
        assert "curl " in said
    assert opened.locator(".shape summary").all_text_contents() == list(described["components"]["schemas"])


def test_an_example_can_be_pasted_as_it_is(opened):
    curl = which("curl")
    if curl is None:
        pytest.skip("no curl here")
    command = opened.locator(".operation pre").first.text_content()
    answer = subprocess.run([curl, "-sS", *shlex.split(command)[1:]], capture_output=True, timeout=60, check=True)
    assert {"models", "limits"} <= json.loads(answer.stdout).keys()


def test_the_body_of_an_example_is_json_with_what_is_required(opened):
    for section in opened.locator(".operation").all():
        words = shlex.split(section.locator("pre").text_content())
        if "/api/download" in section.locator("h2").text_content():
            assert json.loads(words[words.index("-d") + 1]) == {"jobs": ["..."], "parts": ["..."]}
            break
    else:
        pytest.fail("no /api/download")


def test_a_hostile_description_stays_text(served, visit):
    page = visit(served.url).page
    hostile = "<img src=x onerror=window.caught=1>"
    document = {
        "info": {"description": hostile, "version": hostile},
        "paths": {f"/{hostile}": {"get": {"summary": hostile, "parameters": [{"name": hostile, "in": "query"}]}}},
        "components": {"schemas": {hostile: {"description": hostile, "properties": {hostile: {"type": hostile}}}}},
    }
    page.route("**/openapi.json", lambda route: route.fulfill(json=document))
    page.goto(f"{served.url}/api")
    page.wait_for_selector("#operations:not([aria-busy])")
    assert hostile in page.locator(".operation h2").text_content()
    assert page.locator("main img").count() == 0
    assert page.evaluate("window.caught") is None


def test_an_interface_that_does_not_answer_is_said(served, visit):
    page = visit(served.url).page
    page.route("**/openapi.json", lambda route: route.fulfill(status=500, body="no"))
    page.goto(f"{served.url}/api")
    page.wait_for_selector("#about:not(:empty)")
    assert page.locator("#about").text_content() == "openapi.json: the server answered 500"


def test_axe_finds_no_serious_fault_on_a_phone(served, visit):
    page = visit(f"{served.url}/api", viewport={"width": 360, "height": 700}).page
    page.wait_for_selector("#operations:not([aria-busy])")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 360
