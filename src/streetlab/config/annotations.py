"""Compare values of a config with the annotations of the class or function that they are for."""

from __future__ import annotations

import functools
import inspect
import json
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from streetlab.config.options import fault, short
from streetlab.errors import UserError

_ANY = ConfigDict(arbitrary_types_allowed=True)


def check_values(target: Callable[..., Any], values: Mapping[str, Any], key: str) -> None:
    """Check values against the annotations of a class or function.

    Raises:
        UserError: the first one that is of another type.
    """
    for line in misfits(target, values, key):
        raise UserError(line)


def misfits(target: Callable[..., Any], values: Mapping[str, Any], key: str) -> Iterator[str]:
    """One line for each value that its annotation does not allow; what has none is left out.

    What could be read as another type (text or true for a number) counts as a misfit too, but after all others: a
    target may read it so.
    """
    hints = _hints(target)
    given = {name: value for name, value in values.items() if name in hints}
    for strict in (False, True):
        for name, value in given.items():
            line = _misfit(hints[name], value, f"{key}.{name}" if key else name, strict)
            if line is not None:
                yield line


def _of_config(annotation: Any) -> Any:
    """Leave out of a union the classes whose objects no config holds, such as tensors."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    members = [part for part in get_args(annotation) if not inspect.isclass(part) or part.__module__ == "builtins"]
    return Union[tuple(members)] if members else annotation  # noqa: UP007  (of a tuple that is made here)


def _misfit(annotation: Any, value: Any, key: str, strict: bool) -> str | None:
    annotation = _of_config(annotation)
    adapter = _adapter(annotation)
    if adapter is None:
        return None
    try:
        if not strict:
            adapter.validate_python(value)
        elif (text := _as_json(value)) is not None:  # where a list is as good as a tuple, a whole number as a number
            adapter.validate_json(text, strict=True)
    except ValidationError as error:
        try:
            return fault(error.errors(include_url=False)[0], annotation, key)
        except (LookupError, StopIteration, TypeError):  # one of several types, none of which it is
            text = inspect.formatannotation(annotation).replace("collections.abc.", "")
            return f"{key}: {short(value)} is not {text}"
    return None


def _as_json(value: Any) -> str | None:
    """The value as JSON; None where that holds no such object, or not in UTF-8."""
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError):
        return None
    return text


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any] | None:
    """What validates values of an annotation; None for a type with a config of its own."""
    try:
        return TypeAdapter(annotation, config=_ANY)
    except PydanticUserError:
        return None


@functools.cache
def _hints(target: Callable[..., Any]) -> Mapping[str, Any]:
    """The annotations of a target's parameters; none where they cannot be read."""
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    except Exception:  # names of modules that are imported for type checkers alone
        return {}
