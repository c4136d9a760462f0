"""An audit as it is shown in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streetlab.audit.findings import KINDS
from streetlab.audit.new_split import NewSplit
from streetlab.datasets.scan import SPLITS


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
