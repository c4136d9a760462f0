"""The audit command: check a data set; write findings, a page to look at them and a split without leaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streetlab.audit import new_split
from streetlab.audit.dataset_from_args import Chosen, chosen_data
from streetlab.audit.duplicates import find_duplicates
from streetlab.audit.findings import KINDS, Finding, image_findings, in_order, write_findings
from streetlab.audit.fingerprints import fingerprint_all
from streetlab.audit.groups import group_images
from streetlab.audit.images import Images, all_samples
from streetlab.audit.masks import MaskRead, mask_findings, read_masks
from streetlab.audit.new_split import NewSplit
from streetlab.audit.options import Options, options_of
from streetlab.audit.page import audit_page
from streetlab.audit.summary import counts_by_kind, headline, summarize
from streetlab.datasets.scan import SPLITS
from streetlab.errors import UserError
from streetlab.io import files
from streetlab.io.filenames import one_line
from streetlab.io.frames import data_frame

if TYPE_CHECKING:
    import pandas as pd

SPLIT_FILE = "split.json"


@dataclass(frozen=True, eq=False)
class Audit:
    """Result of an audit.

    Attributes:
        masks: of each image, see `read_masks`; empty where images have labels.
        split: None where none can be drawn; a note says why.
        notes: what the reader should know besides, in sentences.
        page: the HTML page, where it was written.
    """

    images: Images
    masks: Sequence[MaskRead | None]
    findings: list[Finding]
    split: NewSplit | None
    notes: tuple[str, ...]
    page: Path | None = None

    @property
    def headline(self) -> str:
        """The most important findings, in plain words."""
        return headline(self.images)

    def to_pandas(self) -> pd.DataFrame:
        """The findings with the columns of findings.csv, one row for each."""
        return data_frame([asdict(finding) for finding in self.findings], list(Finding.__dataclass_fields__))


def run(cfg: DictConfig) -> None:
    """Run `streetlab audit`; conf/audit.yaml documents the keys.

    The last line printed is the page's path. Whatever is found, the command has succeeded.

    Raises:
        UserError: a key has a value that it cannot take, the data set is not there, or the output cannot be written.
    """
    result = perform(cfg)
    print_audit(result.headline, counts_by_kind(result.findings), result.split, result.notes)
    print(one_line(str(result.page)))


def perform(cfg: DictConfig) -> Audit:
    """Audit as the config asks, and write the files."""
    options = options_of(cfg)
    chosen = chosen_data([str(word) for word in cfg.overrides])
    output = Path(cfg.output).expanduser() if cfg.output else Path("outputs") / "audit" / chosen.source.name
    result = audit(chosen, options)
    return replace(result, page=write_audit(chosen, result, options, output))


def audit(chosen: Chosen, options: Options) -> Audit:
    """Look at every image and mask of a data set, and draw a split of it.

    Raises:
        UserError: the data set has no images, or the cache cannot be written.
    """
    source = chosen.source
    samples, splits = all_samples(source)
    if not samples:
        raise UserError(f"dataset: {source.name} has no images")
    cache = source.cache_dir / "audit"
    prints = fingerprint_all(source, samples, cache)
    duplicates = find_duplicates(prints)
    images = Images(
        source.label_space, samples, splits, prints, duplicates, group_images(prints, duplicates, options.most)
    )
    findings = image_findings(images, options.thresholds)
    masks: list[MaskRead | None] = []
    if source.has_masks:
        masks = read_masks(source, images, cache)
        findings += mask_findings(images, masks)
    notes = list(chosen.notes)
    split = None
    try:
        split = new_split.draw_split(images, options)
        notes += split.notes
        if not chosen.takes_split_file:
            notes.append(
                f"{source.name} has no key dataset.split_file: {SPLIT_FILE} is for an image_folder or mask_folder."
            )
    except UserError as error:
        notes.append(f"No {SPLIT_FILE}: {error}.")
    return Audit(images, masks, in_order(findings), split, tuple(notes))


def write_audit(chosen: Chosen, found: Audit, options: Options, output: Path) -> Path:
    """Write findings.csv, summary.json, split.json and audit.html to `output`; return the page's path."""
    name = chosen.source.name
    write_findings(output / "findings.csv", found.findings)
    summary = summarize(name, found.images, found.findings, options, found.split, found.notes)
    files.write_json(output / "summary.json", summary)
    if found.split is None:
        (output / SPLIT_FILE).unlink(missing_ok=True)  # one of an earlier audit does not belong to these findings
    else:
        new_split.write(output / SPLIT_FILE, found.split, options, name)
    html = audit_page(chosen.source, found.images, found.masks, found.findings, found.split, found.notes)
    return files.write_text(output / "audit.html", html)


def print_audit(headline: str, counts: Mapping[str, int], split: NewSplit | None, notes: Sequence[str]) -> None:
    """The headline, how many findings of each kind, the class shares of the new split, the notes."""
    console = Console()
    console.print(Text(headline))
    console.print()
    table = Table("finding", "kind")
    table.add_column("rows", justify="right")
    for kind, count in counts.items():
        table.add_row(KINDS[kind], kind, f"{count:,}")
    console.print(table)
    if split is not None:
        console.print(_shares(split))
    for note in notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)


def _shares(split: NewSplit) -> Table:
    table = Table("split.json")
    for name in SPLITS:
        table.add_column(name, justify="right")
    for row in split.table:
        cells = [f"{count:,} ({share:.1%})" for count, share in zip(row.counts, row.shares, strict=True)]
        table.add_row(Text(row.label or "all"), *cells)
    return table
