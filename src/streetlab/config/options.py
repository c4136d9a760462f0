"""Check options by typed models, and report the first one that does not fit in one line.

A model is a pydantic dataclass whose fields are the keys. Its annotations say what each key takes, and the messages are
made of them: `Annotated[int, Strict(), Field(ge=1)]` refuses 0 with "'0' is not a whole number of 1 or more".
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from omegaconf import DictConfig
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    Strict,
    Tag,
    TypeAdapter,
    ValidationError,
)  # fmt: skip
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from streetlab.config.values import plain
from streetlab.errors import UserError, did_you_mean

_Model = TypeVar("_Model")

CLOSED = ConfigDict(extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)
"""What every model of options has: no further keys, no infinite numbers."""


@dataclass(frozen=True)
class OneOf:
    """Metadata of a field that takes one of these values."""

    values: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.literal_schema(list(self.values))


@dataclass(frozen=True)
class Says:
    """Metadata of a field whose type alone does not say what it takes.

    Args:
        allowed: what a message puts after "is not".
        near: values of which a message suggests the nearest.
    """

    allowed: str
    near: tuple[str, ...] = ()


def _listed(value: Any) -> Any:
    """One value or several, as a tuple; none for null."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Flag = Annotated[bool, Strict()]


def flag_of_word(value: Any) -> Any:
    """The word `true` or `false`, which arrives quoted where other commands take a path for the key."""
    return {"true": True, "false": False}.get(str(value).lower(), value)


QuotedFlag = Annotated[Flag, BeforeValidator(flag_of_word)]
WholeNumber = Annotated[int, Strict()]
PositiveInt = Annotated[WholeNumber, Field(ge=1)]
NaturalNumber = Annotated[WholeNumber, Field(ge=0)]
Number = Annotated[float, Strict()]
PositiveNumber = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Fraction = Annotated[Number, Field(gt=0, lt=1)]
Listed = BeforeValidator(_listed)
"""Metadata of a tuple that a single value may stand for."""
Folder = Annotated[Path, AfterValidator(Path.expanduser)]
Output = Annotated[Folder | None, BeforeValidator(lambda value: value or None)]
"""A folder for the results; None where the command chooses it."""


def command_options(model: type[_Model], cfg: DictConfig | Mapping[str, Any]) -> _Model:
    """Check a command's keys; those that the model has no field for are left out.

    Raises:
        UserError: see `checked`; a mandatory value is missing.
    """
    given = plain(cfg) if isinstance(cfg, DictConfig) else cfg
    return checked(model, {key: given[key] for key in _fields(model) if key in given})


def checked(model: type[_Model], values: Any, place: str = "") -> _Model:
    """Build a model from plain values.

    Args:
        place: what holds the keys, for messages.

    Raises:
        UserError: a value that its key does not take, no such key, or a key without value and default.
    """
    try:
        return TypeAdapter(model).validate_python(values)
    except ValidationError as error:
        raise UserError(fault(error.errors(include_url=False)[0], model, place)) from None


def fault(error: Mapping[str, Any], model: Any, place: str = "") -> str:
    """One line about a fault that pydantic has found.

    Args:
        error: an entry of `ValidationError.errors()`.
        model: what was validated.
        place: what holds the keys.
    """
    names, kind = _walk(model, error["loc"])
    *above, last = [place, *names] if place else names or [""]
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = tuple(_fields(kind.type))
        line = f"no key {short(last)} (allowed: {', '.join(known)}){did_you_mean(str(last), known)}"
        return ": ".join(filter(None, [".".join(above), line]))
    key = ".".join([*above, last])
    if error["type"] in ("missing", "missing_argument"):
        return f"{key} is missing"
    value = str(error["input"])
    return f"{key}: {short(value)} is not {kind.allowed()}{did_you_mean(value, kind.near())}"


def short(value: Any) -> str:
    """The value as it is quoted in a message, whatever its length."""
    text = str(value)
    return f"'{text if len(text) <= 60 else text[:57] + '...'}'"


@dataclass(frozen=True)
class _Kind:
    """A type and its metadata, without `Annotated` and `| None`."""

    type: Any
    metadata: tuple[Any, ...] = ()
    nullable: bool = False

    @classmethod
    def of(cls, annotation: Any, metadata: Iterable[Any] = (), nullable: bool = False) -> _Kind:
        metadata = tuple(metadata)
        if get_origin(annotation) is Annotated:
            return cls.of(annotation.__origin__, (*annotation.__metadata__, *metadata), nullable)
        if get_origin(annotation) in (Union, types.UnionType):
            others = [part for part in get_args(annotation) if part is not types.NoneType]
            if len(others) == 1:
                return cls.of(others[0], metadata, True)
        return cls(annotation, tuple(_flat(metadata)), nullable)

    def allowed(self) -> str:
        """Return the words that a message puts after "is not"."""
        for part in self.metadata:
            if isinstance(part, Says):
                return part.allowed
        return self._by_type() + (", or null" if self.nullable else "")

    def near(self) -> tuple[str, ...]:
        """The values of which a message suggests the nearest."""
        return next((part.near for part in self.metadata if isinstance(part, Says) and part.near), self._choices())

    def _choices(self) -> tuple[str, ...]:
        return next((part.values for part in self.metadata if isinstance(part, OneOf)), ())

    def _by_type(self) -> str:
        if self._choices():
            return f"one of {', '.join(self._choices())}"
        if self.type is bool:
            return "true or false"
        if self.type is int:
            return f"a whole number{self._range(' of')}"
        if self.type is float:
            return f"a number{self._range(' from')}"
        if get_origin(self.type) in (tuple, list, Sequence):
            return "a list: [A,B]"
        if get_origin(self.type) in (dict, Mapping):
            return "a mapping: {key: value}"
        if self.type is Path:
            return "a path"
        if _fields(self.type):
            return f"an object with {', '.join(_fields(self.type))}"
        return "a word"

    def _range(self, start: str) -> str:
        bound = {
            name: f"{value:g}"
            for part in self.metadata
            for name in ("gt", "ge", "lt", "le")
            if (value := getattr(part, name, None)) is not None
        }
        upper = f" to {bound['le']}" if "le" in bound else f" to below {bound['lt']}" if "lt" in bound else ""
        if "gt" in bound:
            return f" above {bound['gt']}{upper.replace(' to below', ' and below').replace(' to ', ' up to ')}"
        if "ge" in bound:
            return f"{start} {bound['ge']}{upper}" if upper else f" of {bound['ge']} or more"
        return upper


def _walk(model: Any, path: Iterable[Any]) -> tuple[list[str], _Kind]:
    """The keys and the type at a place of a model, as pydantic names places; an unknown key leaves the type."""
    names, kind = [], _Kind.of(model)
    for part in path:
        inner = get_args(kind.type)
        if part in _fields(kind.type):
            names.append(part)
            kind = _Kind.of(_fields(kind.type)[part].annotation, _fields(kind.type)[part].metadata)
        elif isinstance(part, int):  # of a list
            kind = _Kind.of(inner[0]) if inner else kind
        elif get_origin(kind.type) in (Union, types.UnionType):
            kind = _Kind.of(next(branch for branch in inner if Tag(part) in get_args(branch)))
        else:
            names.append(str(part))
            kind = _Kind.of(inner[1]) if inner else kind
    return names, kind


def _fields(model: Any) -> Mapping[str, FieldInfo]:
    """The fields of a model, by key; none of anything else."""
    return getattr(model, "__pydantic_fields__", {}) if isinstance(model, type) else {}


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for part in metadata:
        yield from part.metadata if isinstance(part, FieldInfo) else (part,)
