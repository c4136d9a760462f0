"""Tables and lines of Markdown from any text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Format a table as lines; the cells are text, never markup."""
    return [_line(headers), _line(["---"] * len(headers)), *map(_line, rows)]


def plain(text: str) -> str:
    """Return the text as one line without anything that Markdown renders as HTML."""
    return " ".join(text.split()).replace("<", "&lt;").replace("`", "'")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(plain(cell).replace("|", "\\|") for cell in cells) + " |"
