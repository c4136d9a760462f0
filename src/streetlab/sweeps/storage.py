"""Store a search's trials: Optuna's database with one study, and the errors when it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import optuna
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from streetlab.errors import UserError

_IDENTITY = "streetlab"
"""The study's attribute that says what is searched."""
_ELSEWHERE = "give this one another folder with output=DIR"


@contextmanager
def storage_at(folder: Path, url: str | None) -> Iterator[tuple[str, str]]:
    """The database's URL and its name for messages; the folder is made.

    Args:
        folder: the sweep's.
        url: the database; None for `optuna.db` in the folder.

    Raises:
        UserError: the URL is none, or the database cannot be opened, read or written to within the block.
    """
    name = str(folder / "optuna.db")
    if url is None:
        if set("?{}") & set(name):
            raise UserError(f"output: Optuna cannot keep its database in '{folder}', because of ?, {{ or }} in it")
        url = f"sqlite:///{name}"
    else:
        try:
            name = repr(make_url(url))  # without its password
        except ArgumentError:
            raise UserError(f"hydra.sweeper.storage: '{url}' is no URL such as sqlite:///FILE") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output: cannot make {folder} ({error.strerror}); {_ELSEWHERE}") from error
    try:
        yield url, name
    except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        raise UserError(
            f"{name}: not usable as Optuna's storage ({_reason(error)}); move it away, or {_ELSEWHERE}"
        ) from error


def open_study(url: str, name: str, study_name: str, maximize: bool, identity: Mapping[str, str]) -> optuna.Study:
    """Open the study of that name in the database, or create it.

    Args:
        url: the database.
        name: what to call it in an error.
        study_name: the study's.
        maximize: whether the highest objective is searched.
        identity: what is searched, in words; a study goes on under the same words only.

    Raises:
        UserError: the database is of another version of Optuna, or the study is of another search.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    direction: Literal["maximize", "minimize"] = "maximize" if maximize else "minimize"
    try:
        study = optuna.create_study(storage=url, study_name=study_name, direction=direction, load_if_exists=True)
    except ImportError as error:
        raise UserError(f"hydra.sweeper.storage: no driver for {name} ({error})") from error
    except RuntimeError as error:  # its tables are of another version
        raise UserError(f"{name}: {str(error).partition('. ')[0]}; {_ELSEWHERE}") from error
    known = study.user_attrs.get(_IDENTITY)
    if known is None and not study.trials:
        study.set_user_attr(_IDENTITY, known := dict(identity))
    if known is None:
        raise UserError(f"{name}: its study '{study_name}' is not streetlab's; {_ELSEWHERE}")
    for key in [*identity, *known]:
        found, asked = known.get(key, "not searched"), identity.get(key, "not searched")
        if found != asked:
            raise UserError(f"{name}: holds another search ({key}: {found}; now: {asked}); {_ELSEWHERE}")
    return study


def _reason(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, optuna.exceptions.OptunaError) and error.__cause__ else error
    text = cause.orig if isinstance(cause, DBAPIError) else cause
    return " ".join(str(text).split())
