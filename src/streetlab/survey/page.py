"""survey.html: map, streets worst first, estimates and what they rest on, in one offline page."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from streetlab.errors import UserError
from streetlab.io.files import json_text, write_text
from streetlab.plots.page import render
from streetlab.survey.page_data import grade_names, kind_of, page_data
from streetlab.survey.styles import CHANGES, COLORS, STEPS, UNSEEN, WIDE

if TYPE_CHECKING:
    import geopandas
    import pandas

PAGE = "survey.html"
_SCRIPTS = ("texts", "survey_data", "base_map", "street_map", "drawn_map", "street_list", "street_panel", "main")
"""The page's modules, each after those that it imports."""
_IMPORT = re.compile(r"^import .*\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)
_SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*$", re.MULTILINE)
_ESTIMATORS = {
    "human": "human grades alone",
    "ppi": "predictions and human grades (PPI++)",
    "plug_in": "predictions as they are",
    "rogan_gladen": "predictions, corrected by the confusion of the test part (Rogan-Gladen)",
    "em": "predictions, corrected for other shares of the classes (EM)",
}
_LARGEST_BASE_MAP = 64 * 2**20
_WITH_GRADES = ("human", "ppi")
_MEASURES = {"severity": "mean severity, 0 to 100", "acceptable": "share of photos that is acceptable"}


def write_page(
    output: Path,
    photos: pandas.DataFrame,
    segments: geopandas.GeoDataFrame,
    districts: geopandas.GeoDataFrame | None,
    survey: Mapping[str, Any],
    base_map: bytes | None = None,
) -> Path:
    """Write survey.html, which asks for nothing but the pictures beside it; atomic, byte for byte.

    Args:
        output: the survey's folder; pictures are relative to it.
        photos, segments, districts: the survey's tables. Columns that are not there yet are left out of the page.
        survey: what survey.json holds.
        base_map: a PMTiles file's bytes, which become part of the page; see `read_base_map`.

    Raises:
        UserError: the file cannot be written.
    """
    library, program = _script("maplibre/maplibre-gl.js"), _program()
    reader = "" if base_map is None else _script("pmtiles/pmtiles.js")
    text = render(
        "survey.html",
        title=f"Survey: {survey['name']}",
        notes=_notes(survey),
        policy=_policy(*filter(None, (library, reader, program))),
        style=Markup(_static("maplibre/maplibre-gl.css") + _static("survey.css")),
        library=Markup(library),
        reader=Markup(reader),
        base_map=Markup(base64.b64encode(base_map or b"").decode("ascii")),
        program=Markup(program),
        data=Markup(json_text(page_data(photos, segments, districts, survey)).replace("<", "\\u003c")),
        streets=len(segments),
        kind=kind_of(survey),
        trend_layer="change" in segments,
        districts=_names(segments.get("district", ())),
        grades=grade_names(survey) or _names(photos.get("grade", ())),
        days=_days(photos),
        steps=[(low, high, color) for low, high, color in zip(STEPS, STEPS[1:], COLORS, strict=False)],
        unseen=UNSEEN,
        wide=WIDE,
        changes=CHANGES,
        facts=_facts(survey.get("estimates", ())),
        areas=_areas(districts),
        estimates=_estimates(survey.get("estimates", ())),
        trend=[_trend_row(row) for row in survey.get("trend", ())],
        trend_assumes=sorted({row["assumes"] for row in survey.get("trend", ())}),
        assumptions=[*survey.get("assumptions", ()), *survey.get("uncorrected", ())],
        without_place=[_without_place(item) for item in survey.get("photos", {}).get("without_place", ())],
        inputs=dict(survey.get("inputs", {})),
    )
    return write_text(output / PAGE, text)


def read_base_map(path: Path) -> bytes:
    """Read a PMTiles file of version 3.

    Raises:
        UserError: it cannot be read, is no such file, or is too large for a page.
    """
    try:
        size = path.stat().st_size
        tiles = path.read_bytes() if size <= _LARGEST_BASE_MAP else b""
    except OSError as error:
        raise UserError(f"base_map: {path} cannot be read ({error.strerror or error})") from None
    if size > _LARGEST_BASE_MAP:
        raise UserError(
            f"base_map: {path} has {size / 2**20:.0f} MiB, and the page would hold it; "
            f"{_LARGEST_BASE_MAP // 2**20} MiB are allowed: cut it to the area with `pmtiles extract`"
        )
    if not tiles.startswith(b"PMTiles\x03"):
        raise UserError(f"base_map: {path} is no PMTiles file of version 3")
    return tiles


def _static(name: str) -> str:
    return (files("streetlab.survey") / "static" / name).read_text(encoding="utf-8")


def _script(name: str) -> str:
    """A script as the page holds it: without the address of a source map, which developer tools would ask for."""
    return _SOURCE_MAP.sub("", _static(name)).replace("</script", "<\\/script")


def _program() -> str:
    """The page's modules as one, because a page that is opened from a disk cannot import."""
    modules = (_script(f"js/{name}.js") for name in _SCRIPTS)
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", module)) for module in modules)


def _policy(*scripts: str) -> str:
    """Content security policy: these scripts run alone, and nothing is asked for but pictures beside the page."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src 'self' file: data: blob:; "
        "worker-src blob:; base-uri 'none'; form-action 'none'"
    )


def _notes(survey: Mapping[str, Any]) -> list[str]:
    photos, scale = survey.get("photos", {}), survey.get("scale", {})
    notes = []
    if photos:
        notes.append(
            f"{photos['total']} photos: {photos['placed']} with a place, {photos['matched']} in {kind_of(survey)}."
        )
    if scale:
        notes.append(f"Scale: {scale['title']}; {scale['note']}.")
    pictures = survey.get("pictures")
    if isinstance(pictures, str) and pictures:
        notes.append(f"Pictures: {pictures}")
    notes += [str(note) for note in survey.get("notes", ())]
    if survey.get("made"):
        notes.append(f"Made {survey['made']}.")
    return notes


def _names(values: Sequence[Any]) -> list[str]:
    return sorted({value for value in values if isinstance(value, str) and value})


def _days(photos: pandas.DataFrame) -> tuple[str, str] | None:
    """The first and the last day on which photos were taken."""
    days = sorted({time[:10] for time in photos.get("time", ()) if isinstance(time, str) and time})
    return (days[0], days[-1]) if days else None


def _facts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Severity and the share of acceptable streets of the whole, with human grades where there are any."""
    whole = [row for row in rows if row["level"] == "all" and row["measure"] in _MEASURES]
    graded = [row for row in whole if row["estimator"] in _WITH_GRADES]
    return [_row(row) for row in graded or [row for row in whole if row["estimator"] == "plug_in"]]


def _areas(districts: geopandas.GeoDataFrame | None) -> list[dict[str, Any]]:
    """The districts, by the lower end of their interval, as in the list of streets."""
    if districts is None or "severity" not in districts:
        return []
    rows = districts.sort_values(["low", "severity"], ascending=False, na_position="last", kind="stable")
    return [
        {
            "name": row.district,
            "value": _number(row.severity, share=False),
            "interval": _interval(row.low, row.high, share=False),
            "seen": f"{_count(row.segments_seen)} of {_count(row.segments_total)}",
            "photos": _count(row.photos),
            "estimator": _ESTIMATORS.get(row.estimator, ""),
        }
        for row in rows.itertuples()
    ]


def _estimates(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows under two headings, those of the whole apart: what human grades make valid, what rests on the model."""
    groups = {
        "Valid whatever the model's bias": [row for row in rows if row["estimator"] in _WITH_GRADES],
        "Only as good as the model is here": [row for row in rows if row["estimator"] not in _WITH_GRADES],
    }
    return [
        {
            "title": title,
            "whole": [_row(row) for row in group if row["level"] == "all"],
            "parts": [_row(row) for row in group if row["level"] != "all"],
        }
        for title, group in groups.items()
        if group
    ]


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    measure = str(row["measure"])
    share = measure != "severity"
    if measure.startswith("share:"):
        measure = f"share at {measure.removeprefix('share:')}"
    return {
        "area": "whole" if row["area"] == "all" else row["area"],
        "measure": _MEASURES.get(measure, measure),
        "estimator": _ESTIMATORS.get(row["estimator"], row["estimator"]),
        "value": _number(row["value"], share),
        "interval": _interval(row["low"], row["high"], share),
        "n": [row.get(key) for key in ("n_segments", "n_photos", "n_graded")],
        "assumes": row.get("assumes", ""),
    }


def _trend_row(row: Mapping[str, Any]) -> dict[str, Any]:
    p, smallest = row["p_adjusted"], row["smallest"]
    return {
        "area": "whole" if row["level"] == "all" else row["area"],
        "change": f"{row['change']:+.1f}",
        "interval": _interval(row["low"], row["high"], share=False),
        "p": "–" if _missing(p) else ("< 0.001" if p < 0.001 else f"{p:.3f}"),
        "n": row["n_segments"],
        "smallest": _number(smallest, share=False),
        "verdict": row["verdict"],
    }


def _number(value: Any, share: bool) -> str:
    if _missing(value):
        return "–"
    return f"{100 * value:.1f}%" if share else f"{value:.1f}"


def _count(value: float) -> str:
    return "–" if _missing(value) else str(int(value))


def _interval(low: Any, high: Any, share: bool) -> str:
    return "–" if _missing(low) or _missing(high) else f"[{_number(low, share)}, {_number(high, share)}]"


def _missing(value: Any) -> bool:
    return value is None or value != value


def _without_place(item: Any) -> str:
    return f"{item['file']}: {item['why']}" if isinstance(item, Mapping) else str(item)
