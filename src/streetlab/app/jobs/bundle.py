"""Downloads: masks, overlays as shown and tables, one file as it is or many in a zip."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streetlab.app.jobs.render import overlay_png
from streetlab.app.media import results
from streetlab.app.media.zip_stream import Member, zip_stream
from streetlab.errors import UserError, did_you_mean
from streetlab.plots.paint import PaintStyle

if TYPE_CHECKING:
    from streetlab.app.jobs.job import Job
    from streetlab.app.models.catalog import Catalog

PARTS = ("ids", "palette", "confidence", "overlay", "csv")
_MEDIA_TYPES = results.MEDIA_TYPES | {".json": "application/json", ".zip": "application/zip"}
_LONGEST = 80
_MOST_NAMED = 3
"""At most so many missing parts are named in one line."""


def bundle(
    jobs: Sequence[Job], look: Mapping[str, Any], parts: Sequence[str], catalog: Catalog
) -> tuple[str, str, Iterator[bytes] | Path]:
    """Collect a download: the file itself for one part of one job, else a zip.

    A part that a job does not have (the mask of a classification) is left out, as long as another is there. The
    overlay of a video is the file of a render job, whose id stands among the jobs. Of several photos the tables
    are also in one.

    Args:
        jobs: finished ones, of any kinds and models.
        look: how overlays are painted, see `PaintStyle.from_dict`.
        parts: of `PARTS`.

    Returns:
        file name, media type, and the content: a file, or its bytes in pieces.

    Raises:
        UserError: an unknown part, a job that has no result, a look that does not fit a job's model, or none of
            the parts is there.
        UnknownModel: a model's classes or name are needed, and it is no longer there.
    """
    wanted = _checked(jobs, parts)
    stems = _stems(jobs)
    collected = _Collection(jobs, look, catalog)
    for job, stem in zip(jobs, stems, strict=True):
        for part in wanted:
            collected.add(job, stem, part)
    members = collected.members
    if not members:
        raise UserError(f"parts: {'; '.join(collected.lacking[:_MOST_NAMED])}")
    if len(jobs) == 1 and len(members) == 1:
        member = members[0]
        content = member.source if isinstance(member.source, Path) else member.chunks()
        return member.name, _MEDIA_TYPES[Path(member.name).suffix], content
    members += collected.tables()
    members += [member for job, stem in zip(jobs, stems, strict=True) for member in _key(job, stem, wanted, catalog)]
    files = len(set(stems))
    name = stems[0] if files == 1 else f"streetlab-{files}-results"
    return f"{name}.zip", _MEDIA_TYPES[".zip"], zip_stream(members)


def _checked(jobs: Sequence[Job], parts: Sequence[str]) -> list[str]:
    """Check jobs and parts; return the parts, each once."""
    if not jobs:
        raise UserError("jobs: none is named; give the id of at least one")
    if not parts:
        raise UserError(f"parts: none is named; allowed: {', '.join(PARTS)}")
    for part in parts:
        if part not in PARTS:
            raise UserError(f"parts: '{part}' is not one of {', '.join(PARTS)}{did_you_mean(str(part), PARTS)}")
    for job in jobs:
        if not job.result:
            raise UserError(f"jobs: {job.name} has no result ({job.state}); wait until it is done")
    return list(dict.fromkeys(parts))


class _Collection:
    """The files of a download.

    Attributes:
        members: the files.
        lacking: a line for each requested part that is not there.
    """

    def __init__(self, jobs: Sequence[Job], look: Mapping[str, Any], catalog: Catalog) -> None:
        self._look, self._catalog = look, catalog
        self._rendered = {job.source for job in jobs if job.kind == "render"}
        self.members: list[Member] = []
        self._tables: defaultdict[str, list[tuple[str, Job, Path]]] = defaultdict(list)
        self.lacking: list[str] = []

    def add(self, job: Job, stem: str, part: str) -> None:
        """Add one part of one job, or the reason why it is not there."""
        files = (job.result or {})["files"]
        if part in files:
            path = job.folder / results.file_name(files[part])
            self.members.append(Member(f"{stem}_{path.name}", path))
            if part == "csv" and job.kind == "photo":
                self._tables[path.name].append((stem, job, path))
        elif part == "overlay" and "ids" in files and job.id not in self._rendered:
            if job.kind == "video":
                self.lacking.append(f"the overlay of {job.name} is made by POST /api/jobs/{job.id}/render first")
            else:
                shown = PaintStyle.from_dict(self._look, self._catalog.label_space(job.model))
                self.members.append(Member(f"{stem}_{results.OVERLAY}", lambda: overlay_png(job.folder, shown)))
        else:
            self.lacking.append(f"{job.name} has no {part}")

    def tables(self) -> Iterator[Member]:
        """Join the tables of several photos."""
        for name, parts in self._tables.items():
            if len(parts) > 1:
                rows: list[dict[str, Any]] = []
                for stem, job, path in parts:
                    named = {"file": stem, "model": self._catalog.entry(job.model)["title"]}
                    with path.open(newline="", encoding="utf-8") as file:
                        rows += [named | row for row in csv.DictReader(file)]
                yield Member(name, results.table(rows))


def _key(job: Job, stem: str, wanted: Sequence[str], catalog: Catalog) -> list[Member]:
    """Describe how to read a video's stream of ids, whose grey values are not the ids themselves."""
    result = job.result or {}
    if "ids" not in wanted or "layout" not in result:
        return []
    names = [entry["name"] for entry in catalog.entry(job.model)["classes"]]
    key = {"classes": names, "fps": result["fps"], "frames": result["frames"], "layout": result["layout"]}
    return [Member(f"{stem}_ids.json", json.dumps(key, indent=2, ensure_ascii=False).encode())]


def _stems(jobs: Sequence[Job]) -> list[str]:
    """The first part of each job's file names: the job's name without suffix, safe in any file system.

    No two are the same, but that of a render job beside its source: their files belong together.
    """
    stems: dict[str, str] = {}
    taken: set[str] = set()
    for job in sorted(jobs, key=lambda job: job.kind == "render"):
        if job.kind == "render" and job.source in stems:
            stems[job.id] = stems[job.source]
            continue
        stem = wanted = _clean(job.name)
        number = 1
        while stem.casefold() in taken:
            number += 1
            stem = f"{wanted}-{number}"
        taken.add(stem.casefold())
        stems[job.id] = stem
    return [stems[job.id] for job in jobs]


def _clean(name: str) -> str:
    """Remove the suffix, and characters that a file system, an archive or a spreadsheet would interpret."""
    text = unicodedata.normalize("NFC", name)
    text = "".join(character if character.isprintable() else " " for character in text)
    text = re.sub(r'[\\/:*?"<>|]', "_", text)
    text = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", text.strip())
    return text.lstrip(" .-=+@").rstrip(" .")[:_LONGEST].rstrip() or "photo"
