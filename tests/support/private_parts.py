"""Find the lines of the package that touch private parts of another library."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "streetlab"


def lines_that_touch(private: re.Pattern[str], allowed: str) -> list[str]:
    """List `file:line` of each line that matches, outside the one file where that is allowed."""
    return [
        f"{path.name}:{number}"
        for path in SOURCE.rglob("*.py")
        if path != SOURCE / allowed
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if private.search(line)
    ]
