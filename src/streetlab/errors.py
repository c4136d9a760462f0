"""The exception for faults that the user can correct, and the search for the nearest choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator


class UserError(Exception):
    """A fault that the user can correct: one clear line with the file or key, the value and what is allowed.

    The command line prints it without a traceback and exits with 2.
    """


def first_line(text: object) -> str:
    """The first line of a text's or an error's message; empty where it has none.

    Lines end in a line feed alone: a carriage return may be part of a file's name.
    """
    return str(text).strip().partition("\n")[0].rstrip()


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, each once: causes can go round in a ring, as those of some errors of Hydra do.

    OmegaConf hides the cause of a resolver's error, not its context.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def was_interrupted(error: BaseException) -> bool:
    """Tell whether Ctrl-C led to the error: C extensions raise errors of their own where it comes while they work."""
    return any(isinstance(link, KeyboardInterrupt) for link in chain(error))


def root_cause(error: BaseException) -> BaseException:
    """Unwrap the error that a compiler's error wraps."""
    while (inner := getattr(error, "inner_exception", None) or error.__cause__) is not None:
        error = inner
    return error


def did_you_mean(found: object, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest allowed choice, or an empty string where none is near.

    >>> did_you_mean("adm", ["adam", "sgd"])
    "; did you mean 'adam'?"
    """
    near = difflib.get_close_matches(str(found), list(allowed), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""
