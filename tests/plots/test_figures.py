"""Figures show the numbers they are given and do not stumble over what real records hold."""

from __future__ import annotations

import io
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from streetlab.datasets.labels import CAMVID, CITYSCAPES, CLEANLINESS
from streetlab.plots.bars import ClassScores, iou_bars, per_class_bars
from streetlab.plots.confusion import confusion_matrix, magnitude
from streetlab.plots.curves import Curve, overlaid_curves, per_epoch, training_curves
from streetlab.plots.figure import ink_on, png, svg
from streetlab.plots.page import inline_photos, link
from streetlab.plots.sheets import photo_sheet, prediction_photo


def _history(epochs: int) -> list[dict]:
    rows: list[dict] = []
    for epoch in range(1, epochs + 1):
        rows += [{"epoch": epoch, "step": 1, "train/loss": 2 / epoch, "lr": 1e-3 / epoch, "val/loss": None}]
        rows += [{"epoch": epoch, "step": 2, "train/loss": 1 / epoch, "val/loss": 1.2 / epoch}]
        rows += [{"epoch": epoch, "val/macro_f1": 1 - 1 / (epoch + 1), "val/accuracy": 1 - 0.9 / (epoch + 1)}]
    return rows


def _texts(figure) -> list[str]:
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found += [axes.get_title(loc="left")]
    return found


def test_an_epoch_is_the_mean_of_what_was_logged_in_it():
    epochs, values = per_epoch(_history(3), "train/loss")
    assert epochs.tolist() == [1, 2, 3]
    assert values == pytest.approx([1.5, 0.75, 0.5])


def test_curves_mark_phases_and_the_best_epoch_counted_from_1():
    figure = training_curves(_history(8), [("probe", 1), ("tune", 4)], "macro_f1", 8, "run $x")
    png(figure, 40)
    loss, score, rate = figure.axes
    assert loss.lines[0].get_xdata().tolist() == list(range(1, 9))
    assert {"probe", "tune"} <= set(_texts(figure))
    assert any(line.get_xdata()[0] == 3.5 for line in loss.lines)
    assert "best 0.889 · epoch 8" in _texts(figure)
    assert rate.get_yscale() == "log"
    assert score.get_title(loc="left") == "Macro F1 and accuracy"


@pytest.mark.parametrize("history", [[], _history(1), [{"epoch": 1, "val/loss": float("nan"), "lr": 0.0}]])
@pytest.mark.parametrize("objective", ["macro_f1", "loss", "accuracy", "miou"])
def test_a_run_that_logged_little_still_gets_its_curves(history, objective):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert png(training_curves(history, [("train", 1)], objective, 1), 30).startswith(b"\x89PNG")
        png(overlaid_curves([Curve("a", "#123456", history)], objective), 30)


def test_the_matrix_shows_counts_row_percentages_and_n():
    figure = confusion_matrix([[30, 10, 0], [0, 5, 5], [0, 0, 0]], CLEANLINESS, "Test")
    png(figure, 40)
    texts = _texts(figure)
    assert "Test  (n = 50)" in texts
    assert {"30", "75%", "10", "25%", "5", "50%"} <= set(texts)
    png(confusion_matrix(np.eye(19) * 10**6, CITYSCAPES), 20)
    with pytest.raises(ValueError, match="3 classes"):
        confusion_matrix(np.eye(2), CLEANLINESS)


def test_a_matrix_of_pixels_shows_row_percentages_and_how_many_pixels():
    matrix = np.diag([9 * 10**6] * 11)
    matrix[10] = 0
    matrix[0, 1] = 10**6
    figure = confusion_matrix(matrix, CAMVID, "val")
    png(figure, 30)
    texts = _texts(figure)
    assert "val  (n = 91.0 M pixels, % of each row)" in texts
    assert sorted(text for text in texts if text.isdigit()) == ["10", *["100"] * 9, "90"]


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (81_249, "81.2 k"), (999_499, "999 k"), (999_999, "1.00 M"),
     (17_312_345, "17.3 M"), (5_400_000_000, "5.40 G")],
)  # fmt: skip
def test_large_counts_keep_three_digits(count, said):
    assert magnitude(count) == said


def test_a_class_that_does_not_occur_has_a_dash_and_not_a_zero():
    summary = {"per_class": {name: {"iou": 0.5} for name in CAMVID.names}}
    summary["per_class"]["fence"] = {"iou": None}
    figure = iou_bars(summary, CAMVID, "val")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png(figure, 30)
    texts = _texts(figure)
    assert "IoU per class: val" in texts
    assert texts.count("–") == 1
    assert texts.count("0.50") == 10
    bars = figure.axes[0].patches
    assert len({bar.get_facecolor() for bar in bars}) == len(set(CAMVID.palette))
    # two seeds, one of which met the class
    figure = per_class_bars([ClassScores("#112233", [[0.4, np.nan, np.nan], [0.6, 0.8, np.nan]])], CLEANLINESS)
    png(figure, 30)
    assert [text for text in _texts(figure) if text[0] in "0–"] == ["0.50", "0.80", "–"]


def test_bars_are_the_mean_over_seeds():
    figure = per_class_bars([ClassScores("#112233", [[0.5, 0.6, 0.7], [0.7, 0.8, 0.9]])], CLEANLINESS)
    assert [bar.get_width() for bar in figure.axes[0].patches] == pytest.approx([0.6, 0.7, 0.8])
    png(figure, 30)


def test_a_sheet_shows_whole_photos_with_any_name_and_mode():
    rng = np.random.default_rng(0)
    images = [
        Image.new("RGBA", (30, 60)),
        Image.new("P", (900, 30)),
        Image.new("L", (5, 5)),
        rng.integers(0, 255, (40, 60, 3), dtype=np.uint8),
    ]
    name = "a/b/$x_1$ 日本 \x07 " + "long" * 20 + "_0042.png"
    items = [prediction_photo(image, name, 0, 2, 0.934, CLEANLINESS) for image in images]
    figure = photo_sheet(items, columns=3, title="Most wrong")
    assert {"true Clean", "predicted Litter 0.93"} <= set(_texts(figure))
    assert any(text.endswith("_0042.png") and len(text) < 30 for text in _texts(figure))
    width, height = Image.open(io.BytesIO(png(figure, 50))).size
    assert width > height * 0.9
    shapes = [axes.images[0].get_array().shape[:2] for axes in figure.axes]
    assert shapes == [(60, 30), (13, 400), (5, 5), (40, 60)]
    png(photo_sheet([]), 30)


def test_svg_is_well_formed_and_takes_the_pages_colours():
    text = svg(training_curves(_history(3), [("<a&b>", 1), ("c", 2)], "macro_f1", 2, "<script>"), "x")
    ElementTree.fromstring(text)
    assert "var(--ink)" in text
    assert "<script" not in text
    assert "http" not in text


def test_ink_is_readable_on_every_palette_colour():
    def luminance(hexadecimal: str) -> float:
        return 1.0 if hexadecimal == "#ffffff" else 0.0

    for color in (*CLEANLINESS.palette, *CITYSCAPES.palette):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in color)]
        behind = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
        light, dark = sorted((behind, luminance(ink_on(color))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 4.5


def test_links_lead_to_folders_with_any_name():
    assert link("../a b/#1?x=ü%/") == "../a%20b/%231%3Fx%3D%C3%BC%25/"
    assert link("a:b/") == "./a%3Ab/"


def test_a_damaged_sheet_is_an_os_error():
    with pytest.raises(OSError, match="identify"):
        inline_photos(b"not a png")
