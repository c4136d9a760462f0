"""Colours of the survey's maps, and QGIS styles that draw them."""

from __future__ import annotations

import math
from xml.sax.saxutils import quoteattr

STEPS = (0, 20, 40, 60, 80, 100)
"""Severities between which a street has one colour; the last step holds its upper end."""
COLORS = ("#3f59dc", "#5b84b0", "#868a8a", "#b28a42", "#d97a0c")
"""From blue (clean) to orange (litter): each with a contrast of 3:1 on white and on near-black, neighbours apart for
protan, deutan and tritan eyes."""
UNSEEN = "#9aa3ab"
"""The colour of streets without a photo."""
CHANGES = {"better": "#3f59dc", "equivalent": "#868a8a", "worse": "#d97a0c"}
"""The colours of the trend."""
WIDE = 30.0
"""Points from which on a street's interval is drawn as uncertain: one and a half colours."""

_LAYERS = {"photos": "marker", "segments": "line", "districts": "fill"}


def step_of(severity: float) -> int | None:
    """Find the step of a severity (0-100) in `COLORS`; None where there is none."""
    if not math.isfinite(severity):
        return None
    return min(max(sum(severity >= edge for edge in STEPS[1:]), 0), len(COLORS) - 1)


def is_unsure(low: float, high: float, uncertain: bool) -> bool:
    """Decide whether a street is drawn dashed: too few photos, no interval, or one of `WIDE` points and more."""
    return uncertain or not high - low < WIDE


def qgis_styles(areas: bool) -> dict[str, str]:
    """QML of each layer that QGIS colours by severity.

    Args:
        areas: whether the segments are areas, such as H3 cells, and not lines.
    """
    kinds = _LAYERS | ({"segments": "fill"} if areas else {})
    return {layer: _graduated(kind) for layer, kind in kinds.items()}


def _graduated(kind: str) -> str:
    """A graduated renderer over `severity` in the page's steps and colours."""
    ranges, symbols = [], []
    for position, color in enumerate(COLORS):
        low, high = STEPS[position], STEPS[position + 1]
        ranges.append(
            f'<range lower="{low}" upper="{high}" symbol="{position}" label="{low} to {high}" render="true"/>'
        )
        symbols.append(_symbol(kind, str(position), color))
    return (
        '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">\n'
        '<qgis version="3.28" styleCategories="Symbology">\n'
        '<renderer-v2 type="graduatedRenderer" attr="severity" graduatedMethod="GraduatedColor" '
        'symbollevels="0" enableorderby="0">\n'
        f"<ranges>{''.join(ranges)}</ranges>\n<symbols>{''.join(symbols)}</symbols>\n"
        "</renderer-v2>\n</qgis>\n"
    )


def _symbol(kind: str, name: str, color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    paint = f"{red},{green},{blue},255"
    classes = {
        "line": ("SimpleLine", {"line_color": paint, "line_width": "0.9", "line_width_unit": "MM"}),
        "marker": ("SimpleMarker", {"name": "circle", "color": paint, "size": "2", "outline_style": "no"}),
        "fill": ("SimpleFill", {"color": paint, "style": "solid", "outline_color": "255,255,255,255"}),
    }
    layer, properties = classes[kind]
    options = "".join(
        f'<Option name={quoteattr(key)} type="QString" value={quoteattr(value)}/>' for key, value in properties.items()
    )
    return (
        f'<symbol type="{kind}" name="{name}" alpha="1" clip_to_extent="1" force_rhr="0">'
        f'<layer class="{layer}" enabled="1" locked="0" pass="0"><Option type="Map">{options}</Option></layer></symbol>'
    )
