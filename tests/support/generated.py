"""Generated input of a reader: every value is read, or refused in a line that names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streetlab.errors import UserError


def refused(read: Callable[[], object], *names: str, errors: tuple[type[Exception], ...] = (UserError,)) -> bool:
    """Read, and True where that was refused; a refusal says which file or key."""
    try:
        read()
    except errors as error:
        message = str(error)
    else:
        return False
    assert any(name in message for name in names) or not names, message
    return True


def each(inputs: st.SearchStrategy[Any], check: Callable[[Any], object], count: int) -> None:
    """Check so many generated inputs, the same ones in every run."""
    run = settings(
        max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    run(given(inputs)(check))()
