"""The common style of all figures: colours, fonts, bare axes; and a Figure as PNG bytes or SVG text."""

from __future__ import annotations

import io
import re
import warnings

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from streetlab.datasets.labels import Color
from streetlab.io.filenames import one_line

INK = "#1d2329"
MUTED = "#6a737d"
RULE = "#d9dee3"
ACCENT = "#2f6fde"
SERIES = (
    "#2f6fde", "#e0702b", "#1f9d83", "#b04fc4", "#c9a20a",
    "#d6456b", "#5b8a1f", "#17a3c4", "#8a6d5a", "#7a7fd6",
)  # fmt: skip
"""Line colours that read on white and on near-black and stay apart for the colour-blind in this order."""

_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)"}


def series_color(position: int) -> str:
    """The colour of the run or run group at `position`, the same in every figure of a page."""
    return SERIES[position % len(SERIES)]


def hex_color(color: Color) -> str:
    """`#rrggbb` of an RGB colour (0-255)."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def ink_on(color: Color) -> str:
    """Black or white, whichever is readable on `color` (relative luminance of WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in color)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#ffffff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000000"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, laid out so that nothing touches its edge."""
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    return figure


def bare(axes: Axes) -> None:
    """Remove everything but the data: no box, a hairline grid along y, quiet ticks."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=MUTED, labelsize=9)


def heading(axes: Axes, text: str) -> None:
    """A left-aligned heading; a `$` in it stays a dollar."""
    title = axes.set_title(text, loc="left", fontsize=10.5, fontweight="bold", color=INK, pad=9)
    title.set_parse_math(False)


def legend_beside_heading(axes: Axes) -> None:
    """The legend on the heading's line, where it can hide no data."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1.0), frameon=False, fontsize=9, labelcolor=INK, ncols=4,
        handlelength=1.3, columnspacing=1.4, borderaxespad=0.3, borderpad=0,
    )  # fmt: skip


def _make_drawable(figure: Figure) -> None:
    """Escape bytes and controls in names of the figure's texts that no font draws."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):  # an axis makes its labels anew whenever they are drawn
            labels = [label.get_text() for label in axis.get_ticklabels()]
            drawable = list(map(_drawable, labels))
            if labels != drawable:
                axis.set_ticklabels(drawable)
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(_drawable(text.get_text()))


def _drawable(text: str) -> str:
    return "\n".join(map(one_line, text.split("\n")))


def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as PNG on white."""
    _make_drawable(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # a file name in a script that the font lacks shows boxes; that is no reason to fill the log
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element to stand in a page, without background, in the page's own ink.

    Text stays text. Ink, muted and rule colours become the page's CSS variables, so that dark mode works.

    Args:
        name: unique in the page; keeps the ids inside apart from those of other figures.
    """
    _make_drawable(figure)
    buffer = io.StringIO()
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    element = text[text.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    # a page holds no address at all, so that "nothing is loaded from outside" is plain to see
    element = element.replace(' xmlns="http://www.w3.org/2000/svg"', "")
    element = element.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace("xlink:href", "href")
    prefix = re.sub(r"[^a-zA-Z0-9]+", "-", name)
    element = re.sub(r'\bid="', f'id="{prefix}-', element)
    element = re.sub(r"url\(#", f"url(#{prefix}-", element)
    element = re.sub(r'href="#', f'href="#{prefix}-', element)
    element = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", element, count=1)
    element = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", element, count=1)
    for color, variable in _VARIABLES.items():
        element = element.replace(color, variable)
    return element
