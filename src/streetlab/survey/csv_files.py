"""Read CSV files that people made: rows by the header, numbers with the place of a wrong one."""

from __future__ import annotations

import csv
from pathlib import Path

from streetlab.errors import UserError


def read_csv(key: str, path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file by its header, cells stripped; empty where it has none.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            return [
                {name.strip(): (cell or "").strip() for name, cell in row.items() if isinstance(name, str)}
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{key}: {path} cannot be read ({error})") from None


def number_in(place: str, name: str, text: str) -> float:
    """The number in a cell; NaN is one, a word is a UserError that names the place."""
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{place}: {name} is '{text}', not a number") from None
