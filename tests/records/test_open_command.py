"""`streetlab open`: the newest page of results, or an index whose links lead somewhere."""

from __future__ import annotations

import os
import re
import webbrowser
from pathlib import Path
from urllib.parse import unquote

import pytest

from streetlab import cli


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Addresses that were opened in a browser that is not there."""
    addresses: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(addresses.append(address)))
    monkeypatch.chdir(tmp_path)
    return addresses


def write_page(path: str, time: int) -> Path:
    page = Path(path)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("<!doctype html>")
    os.utime(page, (time, time))
    return page


def test_the_newest_page_is_opened_and_its_path_printed(opened, capsys):
    write_page("outputs/a/compare/compare.html", 1000)
    newest = write_page("outputs/a/run 1/explain/explain.html", 3000)
    write_page("outputs/a/summary.html", 2000)
    write_page("outputs/.cache/summary.html", 9000)
    write_page("outputs/a/other.html", 9000)
    assert cli.run(["open"]) == 0
    assert opened == [newest.absolute().as_uri()]
    first, second = capsys.readouterr().out.splitlines()
    assert first == str(newest)
    assert second.startswith("no browser was found")


def test_open_false_only_prints(opened, capsys):
    page = write_page("mine/summary.html", 1)
    for words in (["mine"], [str(page)]):
        assert cli.run(["open", *words, "open=false"]) == 0
        assert capsys.readouterr().out == f"{page}\n"
    assert not opened


def test_the_index_links_every_page_and_run(opened, make_record, open_page, capsys):
    make_record("study/run 1")
    make_record("study/stopped").write_end("interrupted")
    page = write_page("outputs/study/compare/compare.html", 1)
    assert cli.run(["open", "page=index", "open=false"]) == 0
    index = Path(capsys.readouterr().out.strip())
    assert index == Path("outputs/results.html")
    links = {unquote(link) for link in re.findall(r'href="\./([^"]+)"', index.read_text())}
    assert links == {"study/run 1/", "study/stopped/", "study/compare/compare.html"}
    assert all((index.parent / link).exists() for link in links)
    shown = open_page(index)
    assert "streetlab train seed=0 output=outputs/study/stopped" in shown.page.inner_text("body")
    assert shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert (shown.requests, shown.errors) == ([], [])
    assert page.is_file()


def test_runs_without_a_page_get_an_index(opened, make_record, capsys):
    make_record("study/run")
    assert cli.run(["open", "open=false"]) == 0
    assert capsys.readouterr().out == "outputs/results.html\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["page=indx"], "page: 'indx' is not one of newest, index; did you mean 'index'?"),
        (["open=maybe"], "open: 'maybe' is not true or false"),
        (["elsewhere"], "runs: elsewhere is no folder (streetlab train makes outputs/)"),
        (["outputs"], "runs: outputs holds no page of results and no run; streetlab train makes a run"),
    ],
)
def test_a_mistake_is_one_line(opened, capsys, words, error):
    Path("outputs").mkdir()
    assert cli.run(["open", *words]) == 2
    assert capsys.readouterr().err == f"streetlab: {error}\n"
