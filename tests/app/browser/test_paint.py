"""Painting in the browser against the painter of the server, byte by byte."""

from __future__ import annotations

import base64
import dataclasses

import numpy as np
import pytest
from tests.support.page_bench import bench

from streetlab.plots.heat import heat_colors
from streetlab.plots.paint import PaintStyle, class_shares, ids_png, paint

SIZE = (47, 61)
CLASSES = 19
PALETTE = tuple((int(k * 53 % 256), int((k * 97 + 80) % 256), int((k * 31 + 160) % 256)) for k in range(CLASSES))
LOOKS = {
    "plain": PaintStyle(PALETTE),
    "some hidden": PaintStyle(PALETTE, alpha=0.35, hidden=frozenset({0, 3, 18})),
    "all hidden": PaintStyle(PALETTE, hidden=frozenset(range(CLASSES))),
    "threshold": PaintStyle(PALETTE, alpha=1.0, threshold=0.3),
    "threshold between two bytes": PaintStyle(PALETTE, alpha=0.77, threshold=0.501),
    "certain only": PaintStyle(PALETTE, threshold=1.0),
    "outlines": PaintStyle(PALETTE, alpha=0.2, outlines=True, threshold=0.4, hidden=frozenset({5, 6})),
    "bare photo with outlines": PaintStyle(PALETTE, alpha=0.0, outlines=True),
}

PREPARED = """async ([ids, confidence, photo, look]) => {
  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  Object.assign(window, await import("/static/js/paint/paint.js"), {
    ids: bytes(ids), confidence: bytes(confidence), photo: new Uint8ClampedArray(bytes(photo)),
    look: {...look, hidden: new Set(look.hidden)},
  });
  window.plain = values => btoa(Array.from(new Uint8Array(values.buffer), byte => String.fromCharCode(byte)).join(""));
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grey")
    every = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 48)
    (folder / "grey.png").write_bytes(ids_png(every))
    with bench(folder) as url:
        yield url


@pytest.fixture(scope="module")
def picture():
    """Photo, ids with patches and some that no class has, and confidences of every value."""
    random = np.random.default_rng(6)
    height, width = SIZE
    ids = random.integers(0, CLASSES, (height // 4 + 1, width // 4 + 1), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    ids = np.ascontiguousarray(ids[:height, :width])
    ids[3:9, 50:] = 255
    ids[20, 7] = CLASSES
    confidence = np.resize(np.arange(256, dtype=np.uint8), SIZE)
    return random.integers(0, 256, (*SIZE, 3), dtype=np.uint8), ids, confidence


@pytest.fixture
def run(visit, address, picture):
    """`run(look, script)`: what the script gives on a page that has paint.js and the picture."""
    page = visit(address).page

    def run_(look, script):
        photo, ids, confidence = picture
        rgba = np.dstack([photo, np.full(SIZE, 255, np.uint8)])
        texts = [base64.b64encode(values.tobytes()).decode() for values in (ids, confidence, rgba)]
        plain = {**dataclasses.asdict(look), "hidden": sorted(look.hidden), "colors": look.palette}
        page.evaluate(PREPARED, [*texts, plain])
        return page.evaluate(script)

    return run_


def as_bytes(text):
    return np.frombuffer(base64.b64decode(text), np.uint8)


def as_rgba(text):
    return as_bytes(text).reshape(*SIZE, 4)


def test_the_page_shows_the_bytes_that_a_download_will_hold(run, picture):
    photo, ids, confidence = picture
    for name, look in LOOKS.items():
        shown = run(look, f"plain(blend(photo, ids, {SIZE[1]}, {SIZE[0]}, look, confidence))")
        assert np.array_equal(as_rgba(shown)[..., :3], paint(photo, ids, look, confidence)), name


def test_the_overlays_weigh_nothing_where_the_photo_is_to_show(run, picture):
    photo, ids, confidence = picture
    script = f"""[paintIds, paintOutlines].map(painter => {{
      const pixels = new Uint32Array({SIZE[0] * SIZE[1]}).fill(12345);
      painter(ids, {SIZE[1]}, {SIZE[0]}, look, confidence, pixels);
      return plain(pixels);
    }})"""
    for name, look in LOOKS.items():
        fill, lines = map(as_rgba, run(look, script))
        at_full_weight = dataclasses.replace(look, alpha=1.0, outlines=False)
        lines_alone = dataclasses.replace(look, alpha=0.0)
        for shown, painted in ((fill, at_full_weight), (lines, lines_alone)):
            black, white = (paint(np.full_like(photo, ground), ids, painted, confidence) for ground in (0, 255))
            is_painted = (black == white).all(-1)
            assert np.array_equal(shown[..., 3], np.where(is_painted, 255, 0)), name
            assert np.array_equal(shown[is_painted, :3], black[is_painted]), name
        assert lines.any() == look.outlines


def test_without_confidences_no_pixel_is_below_the_threshold(run, picture):
    photo, ids, _ = picture
    shown = run(LOOKS["threshold"], f"plain(blend(photo, ids, {SIZE[1]}, {SIZE[0]}, look, null))")
    assert np.array_equal(as_rgba(shown)[..., :3], paint(photo, ids, LOOKS["threshold"]))


def test_a_grey_picture_gives_each_of_its_256_values_exactly(run):
    script = 'greyOf("/files/grey.png").then(grey => [grey.width, grey.height, plain(grey.values)])'
    width, height, values = run(LOOKS["plain"], script)
    assert (width, height) == (48, 16)
    assert as_bytes(values).tolist() == np.arange(256).repeat(3).tolist()


def test_a_picture_that_is_gone_is_an_error_with_its_address(run):
    said = run(LOOKS["plain"], 'greyOf("/files/gone.png").catch(error => error.message)')
    assert said == "/files/gone.png: the server answered 404"


def test_shares_are_those_of_the_table_that_the_server_writes(run, picture):
    assert run(LOOKS["plain"], f"Array.from(sharesOf(ids, {CLASSES}))") == class_shares(picture[1], CLASSES).tolist()
    assert run(LOOKS["plain"], "Array.from(sharesOf(new Uint8Array(9).fill(255), 3))") == [0, 0, 0]


def test_heat_has_the_colors_of_the_figures(run):
    script = 'import("/static/js/paint/heat.js").then(heat => [plain(heat.heatTable()), plain(heat.heatTable(0.5))])'
    whole, upper = (as_bytes(text).reshape(256, 4).astype(int) for text in run(LOOKS["plain"], script))
    assert np.abs(whole[:, :3] - heat_colors()[:, :3])[1:].max() <= 4
    assert (whole[0, 3], whole[255, 3]) == (0, 255)
    assert (np.diff(whole[:, 3]) >= 0).all()
    assert not upper[:128].any()
    assert np.array_equal(upper[128:], whole[128:])
