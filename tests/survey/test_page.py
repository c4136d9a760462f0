"""The survey's page in Chromium: offline, colours as in the table, filters, photos of a street, hostile names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("geopandas", reason="surveys need streetlab[survey]")
from PIL import Image
from shapely.geometry import LineString, box
from tests.support.axe import faults
from tests.support.pages import eventually
from tests.support.survey_pages import drawn, listed, wait_until_drawn
from tests.support.survey_tables import HOSTILE, Tables, tables

from streetlab.errors import UserError
from streetlab.survey.page import read_base_map, write_page
from streetlab.survey.styles import CHANGES, COLORS, STEPS, UNSEEN

NO_WEBGL = """
  const usual = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
    return kind.startsWith("webgl") ? null : usual.call(this, kind, ...more);
  };
"""


def write(folder: Path, made: Tables) -> Path:
    (folder / "pictures").mkdir()
    for name in ("1.jpg", "2.jpg"):
        Image.new("RGB", (64, 40), "gray").save(folder / "pictures" / name)
    return write_page(folder, made.photos, made.segments, made.districts, made.survey)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("survey"), tables(trend=True))


def expected_colors(made: Tables) -> dict[str, str]:
    """The colour of each street, worked out from the table."""
    severity = made.segments["severity"].to_numpy()
    steps = np.minimum(np.digitize(severity, STEPS[1:]), len(COLORS) - 1)
    return {
        street: UNSEEN if np.isnan(value) else COLORS[step]
        for street, value, step in zip(made.segments["segment"], severity, steps, strict=True)
    }


def test_streets_have_the_colors_of_the_table_and_are_dashed_where_uncertain(written, visit):
    page = visit(written)
    colors = expected_colors(tables(trend=True))
    layers = {"a": "streets", "b": "unsure", "c": "unsure", "d": "streets", "e": "unseen"}
    assert drawn(page) == {street: (layers[street], colors[street]) for street in layers}
    source = page.evaluate("document.getElementById('map').map.getSource('streets').serialize().data.features")
    for feature, line in zip(source, tables().segments.geometry, strict=True):
        assert np.array(feature["geometry"]["coordinates"][0]) == pytest.approx(np.array(line.coords), abs=6e-7)
    keys = page.locator(".legend[data-layer=severity] .key").evaluate_all(
        "keys => keys.map(key => key.style.getPropertyValue('--color'))"
    )
    assert keys[: len(COLORS)] == list(COLORS)
    # the trend is the second layer
    page.select_option("select[name=layer]", "change")
    wait_until_drawn(page, "change")
    changes = {street: color for street, (_, color) in drawn(page).items()}
    assert changes == {"a": CHANGES["better"], "b": CHANGES["equivalent"], "c": UNSEEN, "d": CHANGES["worse"],
                       "e": UNSEEN}  # fmt: skip
    assert page.locator(".legend:visible").get_attribute("data-layer") == "change"


def test_names_are_text_and_no_other_script_runs(written, visit):
    page = visit(written)
    assert page.title() == "Survey: spring"
    assert HOSTILE in listed(page)
    page.get_by_role("button", name=HOSTILE).click()
    assert page.locator("#street .name").inner_text() == HOSTILE
    assert page.locator("#street .file").first.inner_text() == HOSTILE + ".jpg"
    assert page.locator(".assumptions li").nth(1).inner_text() == "<b>No</b> photo shows two streets."
    assert page.locator("script").count() == 3
    policy = page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert "connect-src" not in policy


def test_a_click_on_a_street_shows_its_photos(written, visit):
    page = visit(written)
    page.locator("#map").scroll_into_view_if_needed()
    x, y = page.evaluate(
        """() => {
          const host = document.getElementById("map");
          const {x, y} = host.map.project([4.361, 52.013]);
          const {left, top} = host.getBoundingClientRect();
          return [left + x, top + y];
        }"""
    )
    page.mouse.click(x, y)
    assert page.locator("#street .name").inner_text() == "Main Street"
    assert page.locator("#street .numbers").inner_text().startswith("North · 440 m · severity 12.5 [5.0, 20.0]")
    assert page.locator("#street .file").all_text_contents() == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert page.locator("#street .label").first.inner_text() == "clean 98%"
    assert page.locator("#street .grade").first.inner_text() == "Clean · severity 2.0"
    assert page.locator("#street .human").all_text_contents() == ["Clean by a person", "", "", ""]
    assert page.locator("#street .unlike").all_text_contents() == ["", "unlike the photos of training", "", ""]
    pictures = page.locator("#street img")
    assert pictures.count() == 2, "photos without a picture show none"
    assert pictures.first.evaluate("async image => { await image.decode(); return image.naturalWidth; }") == 64
    assert page.locator("#streets [aria-current]").inner_text() == "Main Street"
    assert page.evaluate("document.activeElement.textContent") == "Main Street"


def test_filters_leave_the_same_streets_on_map_and_list(written, visit):
    page = visit(written)
    page.get_by_role("button", name="Main Street").click()

    def left() -> tuple[list[str], str]:
        wait_until_drawn(page)
        assert len(drawn(page)) == len(listed(page))
        return sorted(drawn(page)), page.locator("#count").inner_text()

    page.select_option("select[name=district]", label="South")
    assert left() == (["c", "d", "e"], "3 of 5 streets, 3 of 9 photos")
    page.select_option("select[name=grade]", label="Medium")
    assert left() == ([], "0 of 5 streets, 0 of 9 photos")
    page.select_option("select[name=district]", "")
    assert left() == (["a", "b"], "2 of 5 streets, 3 of 9 photos")
    assert page.locator("#street .file").all_text_contents() == ["4.jpg"]
    page.select_option("select[name=grade]", "")
    page.fill("input[name=from]", "2026-05-02")
    page.fill("input[name=to]", "2026-06-02")
    assert left() == (["a", "b"], "2 of 5 streets, 4 of 9 photos")
    page.locator("button[type=reset]").click()
    page.wait_for_selector("#streets tr:nth-child(5)")
    assert left() == (["a", "b", "c", "d", "e"], "5 of 5 streets, 9 of 9 photos")


@pytest.mark.slow
def test_without_webgl_the_map_is_drawn_as_svg(written, visit):
    page = visit(written, script=NO_WEBGL)
    colors = expected_colors(tables())
    paths = page.locator("#map [data-street]")
    shown = paths.evaluate_all(
        "paths => paths.map(path => [path.getAttribute('class'), getComputedStyle(path).stroke])"
    )
    rgb = ["rgb({}, {}, {})".format(*(int(color[i : i + 2], 16) for i in (1, 3, 5))) for color in colors.values()]
    assert shown == [[kind, color] for kind, color in
                     zip(["street", "unsure", "unsure", "street", "unsure unseen"], rgb, strict=True)]  # fmt: skip
    center = paths.nth(3).evaluate(
        """path => {
          const {x, y} = path.getPointAtLength(path.getTotalLength() / 2);
          const point = new DOMPoint(x, y).matrixTransform(path.getScreenCTM());
          return [point.x, point.y];
        }"""
    )
    page.mouse.click(*center)
    assert page.locator("#street .name").inner_text() == "Long Road"
    page.get_by_role("button", name="Zoom in").click()
    page.select_option("select[name=district]", label="North")
    assert paths.count() == 2
    assert faults(page) == []


@pytest.mark.parametrize(
    "looks",
    [
        {"color_scheme": "dark", "viewport": {"width": 375, "height": 700}, "has_touch": True, "is_mobile": True},
        pytest.param({}, marks=pytest.mark.slow),
    ],
    ids=["dark phone", "light"],
)
def test_axe_finds_nothing_serious(written, visit, looks):
    page = visit(written, **looks)
    page.get_by_role("button", name="Main Street").click()
    assert faults(page) == []
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], "the page scrolls sideways"


@pytest.mark.slow
def test_the_worst_with_certainty_leads_the_keyboard_reaches_it_and_paper_shows_the_map(written, visit):
    page = visit(written)
    # c is at 98, of a single photo and without an interval; e was not seen
    assert listed(page) == ["Long Road", HOSTILE, "Main Street", "Short Lane", "e"]
    cells = page.locator("#streets tr").first.locator("td").all_text_contents()
    assert cells == ["1", "Long Road", "South", "80.0", "[70.0, 90.0]", "2", "+25.0", "[10.0, 40.0]"]
    page.locator("[aria-label=streets]").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("#street .name").inner_text() == "Long Road"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    image = page.locator("#printed")
    assert image.is_visible()
    colors = image.evaluate(
        """async image => {
          await image.decode();
          const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0);
          const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
          const shown = new Set();
          for (let i = 0; i < data.length; i += 4)
            shown.add("#" + [...data.slice(i, i + 3)].map(byte => byte.toString(16).padStart(2, "0")).join(""));
          return [...shown];
        }"""
    )
    assert {"#ffffff", COLORS[0], COLORS[4]} <= set(colors)
    assert not page.locator(".filters").is_visible()


@pytest.mark.slow
def test_many_photos_and_streets_are_listed_a_few_at_a_time(tmp_path, visit):
    made = tables()
    photos = pd.concat([made.photos.iloc[[0]]] * 45).assign(file=[f"{i}.jpg" for i in range(45)], picture="")
    segments = pd.concat([made.segments.iloc[[0]]] * 60).assign(segment=[f"s{i}" for i in range(60)], name="")
    photos["segment"] = "s0"
    page = visit(write(tmp_path, made._replace(photos=photos, segments=segments)))
    assert len(listed(page)) == 50
    page.get_by_role("button", name="Show more (10 left)").click()
    assert len(listed(page)) == 60
    page.get_by_role("button", name="s0", exact=True).click()
    assert page.locator("#street .file").count() == 20
    page.get_by_role("button", name="Show more photos (25 left)").click()
    assert page.locator("#street .file").count() == 40


@pytest.mark.slow
def test_cells_are_drawn_as_areas(tmp_path, visit):
    made = tables()
    cells = made.segments.set_geometry([line.envelope for line in made.segments.geometry]).drop(columns=["name"])
    page = visit(write(tmp_path, made._replace(segments=cells, districts=None)))
    areas = page.evaluate(
        "document.getElementById('map').map.queryRenderedFeatures({layers: ['areas']})"
        ".map(({properties}) => [properties.segment, properties.color])"
    )
    assert dict(areas) == expected_colors(made)


def data_of(path: Path) -> dict[str, Any]:
    (text,) = re.findall(r'id="survey-data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    return json.loads(text)


def test_the_same_tables_give_the_same_bytes_and_every_estimate(written, tmp_path):
    made = tables(trend=True)
    again = write(tmp_path, made)
    text = again.read_text(encoding="utf-8")
    assert text == written.read_text(encoding="utf-8")
    assert "<b>61.4</b> [30.1, 92.7]" in text
    assert "<b>50.0%</b></td><td>[10.0%, 90.0%]</td><td>4</td><td>9</td><td>0</td>" in text
    assert "Only as good as the model is here" in text
    assert "Valid whatever the model" not in text, "there are no human grades"
    assert "<b>+2.0</b></td><td>[-20.0, 24.0]</td><td>0.800</td><td>3</td><td>31.0</td>" in text
    assert "not enough data" in text
    assert "lost.jpg" in text


def test_a_survey_before_any_estimate_has_a_page(tmp_path):
    made = tables()
    photos = made.photos[["file", "lat", "lon", "segment", "prediction", "confidence"]]
    segments = made.segments[["segment", "photos", "geometry"]]
    data = data_of(write(tmp_path, Tables(photos, segments, None, {"name": "bare"})))
    assert data["segments"]["severity"] == [None] * 5
    assert data["segments"]["photos"] == [4, 2, 1, 2, 0]
    assert data["borders"] == []


def test_streets_on_both_sides_of_the_antimeridian_lie_side_by_side(tmp_path):
    made = tables()
    shapes = [LineString([(lon, -17), (lon, -16.9)]) for lon in (179.95, -179.95)]
    segments = made.segments.iloc[:2].set_geometry(shapes, crs="EPSG:4326")
    shown = data_of(write(tmp_path, made._replace(segments=segments)))["segments"]["shape"]
    starts = [part[0] / 1e6 for _, part in shown]
    assert abs(starts[0] - starts[1]) < 1


@pytest.mark.slow
def test_photos_on_two_continents_are_dots_until_one_is_chosen(tmp_path, visit):
    made = tables()
    far = made.segments.geometry.where(made.segments["segment"] != "d", made.segments.translate(-100, -10))
    page = visit(write(tmp_path, made._replace(segments=made.segments.set_geometry(far), districts=None)))
    dots = """document.getElementById('map').map.queryRenderedFeatures({layers: ['dots']})
      .map(({properties}) => [properties.segment, properties.color])"""
    colors = expected_colors(made)
    assert dict(page.evaluate(dots)) == {street: colors[street] for street in "abcd"}
    page.get_by_role("button", name="Long Road").click()
    eventually(lambda: (list(drawn(page)), page.evaluate(dots)), (["d"], []))


@pytest.fixture
def base_map(tmp_path: Path) -> bytes:
    """Vector tiles of a lake and a road around the streets, by GDAL."""
    import geopandas

    shapes = geopandas.GeoSeries([box(4.355, 52.005, 4.375, 52.02)], crs="EPSG:4326")
    path = tmp_path / "base.pmtiles"
    options = {"MINZOOM": "10", "MAXZOOM": "14"}
    geopandas.GeoDataFrame(geometry=shapes).to_file(path, driver="PMTiles", layer="water", **options)
    return read_base_map(path)


@pytest.mark.slow
def test_a_base_map_lies_under_the_streets_and_is_part_of_the_page(tmp_path, visit, base_map):
    made = tables()
    folder = tmp_path / "survey"
    folder.mkdir()
    write(folder, made)
    path = write_page(folder, made.photos, made.segments, made.districts, made.survey, base_map)
    page = visit(path)
    layers = "document.getElementById('map').map.getStyle().layers.map(({id}) => id)"
    eventually(lambda: "base-map-water-areas" in page.evaluate(layers), True)
    order = page.evaluate(layers)
    assert order.index("paper") < order.index("base-map-water-areas") < order.index("streets")
    under = "document.getElementById('map').map.queryRenderedFeatures({layers: ['base-map-water-areas']}).length > 0"
    eventually(lambda: page.evaluate(under), True)
    assert set(drawn(page)) == set("abcde")


@pytest.mark.parametrize(("content", "says"), [(b"MBTiles", "no PMTiles file of version 3"), (None, "cannot be read")])
def test_a_base_map_that_is_none_is_one_line(tmp_path, content, says):
    path = tmp_path / "base.pmtiles"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"^base_map: .*base\.pmtiles .*{says}"):
        read_base_map(path)
