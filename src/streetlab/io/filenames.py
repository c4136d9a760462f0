r"""Names of files and folders as text: any bytes that a file system holds, written so that they can be read back.

In memory, Python keeps a byte of a name that is not UTF-8 as a lone surrogate, which no UTF-8 file, database or page
can hold. In text such a byte is `\xe9`. A backslash in a name is doubled only where it would read as such a byte, so
that all other names are written as they are.
"""

from __future__ import annotations

import codecs
import os
import re
import unicodedata

ERRORS = "streetlab.io.filenames"
"""For `str.encode(errors=)` and streams: write bytes that are not UTF-8 as `as_text` does."""

_TO_TEXT = re.compile(r"(\\+)(?=x[89a-f][0-9a-f])|(\\*)([\udc80-\udcff])")
_TO_NAME = re.compile(r"(\\+)x([89a-f][0-9a-f])")
_CONTROLS = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def as_text(name: str | os.PathLike[str]) -> str:
    r"""Encode a name or path as valid text; `from_text` is the inverse.

    >>> as_text("caf\udce9.jpg")
    'caf\\xe9.jpg'
    """
    return _TO_TEXT.sub(_escaped, os.fspath(name))


def from_text(text: str) -> str:
    """Decode the name or path that `as_text` encoded."""
    return _TO_NAME.sub(_unescaped, text)


def encodable(text: str) -> str:
    """Make a text with names in it, such as a message, valid in any file; valid names stay as they are."""
    return text.encode("utf-8", errors=ERRORS).decode()


def fold(name: str) -> str:
    """Reduce a name to the form that its spellings share: Unicode NFC, in lower case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).lower())


def one_line(text: str) -> str:
    r"""Escape controls, line ends and separators (`\r`, `\x1b`), so that a terminal shows the text in one line."""
    if text.isprintable():  # long ones, such as a picture's `data:` address, cost no time
        return text
    return "".join(c if c.isprintable() else _visible(c) for c in encodable(text))


def _escaped(match: re.Match[str]) -> str:
    before_escape, before_byte, byte = match.groups()
    if byte is None:
        return before_escape * 2
    return f"{before_byte * 2}\\x{ord(byte) - 0xDC00:02x}"


def _unescaped(match: re.Match[str]) -> str:
    backslashes, digits = match.groups()
    half = "\\" * (len(backslashes) // 2)
    return half + (chr(0xDC00 + int(digits, 16)) if len(backslashes) % 2 else f"x{digits}")


def _visible(character: str) -> str:
    if unicodedata.category(character) == "Zs":  # a space of another width does no harm
        return character
    return _CONTROLS.get(character) or character.encode("unicode_escape").decode("ascii")


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(map(_as_escape, wrong)), error.end


def _as_escape(character: str) -> str:
    escaped = as_text(character)
    return escaped if escaped != character else character.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error(ERRORS, _replace)
