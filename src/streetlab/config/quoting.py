"""Quote path values of the command line for Hydra, so that a path can be typed as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

PATH_KEYS = frozenset(
    {
        "dataset.root",
        "dataset.split_file",
        "dataset.soft_labels",
        "dataset.cache_dir",
        "model.weights",
        "data",
        "pretrained",
        "teacher",
        "output",
        "resume",
        "run",
        "runs",
        "baseline",
        "blur",
        "checkpoint",
        "segmentation",
        "source",
        "folder",
        "models",
        "streets",
        "base_map",
        "districts",
        "grades",
        "pilot",
        "track",
        "positions",
    }
)

_LIST_KEYS = frozenset({"runs", "source", "models"})
_OVERRIDE = re.compile(r"(?P<prefix>\+{0,2})(?P<key>[A-Za-z_][\w.]*)=(?P<value>.*)", re.DOTALL)
_SWEEP_FUNCTION = re.compile(r"(choice|glob|range|interval|shuffle|sort|tag)\(.*\)\s*", re.DOTALL)


def quote_paths(words: Sequence[str], multirun: bool = False) -> list[str]:
    """The overrides with every path value quoted; all other words as they are.

    What is already quoted, null, and an empty value stay. A list `[A,B]` for `runs`, `source` and `models`, and with
    `multirun` a comma list or a sweep function such as glob(), keep their meaning unless a path of that very name
    exists.
    """
    return [_quote_word(word, multirun) for word in words]


def _quote_word(word: str, multirun: bool) -> str:
    match = _OVERRIDE.fullmatch(word)
    # a data set may hold others: `dataset.sources.camvid.root` is a path like `dataset.root`
    if match is None or re.sub(r"^dataset\..*\.", "dataset.", match["key"]) not in PATH_KEYS:
        return word
    return f"{match['prefix']}{match['key']}={_quote_value(match['key'], match['value'], multirun)}"


def _quote_value(key: str, value: str, multirun: bool) -> str:
    if not value or value.lower() == "null" or (_is_quoted(value) and not _exists(value)):
        return value
    if _exists(value):
        return quote(expand_home(value))
    if key in _LIST_KEYS and value.startswith("[") and value.endswith("]"):
        return "[" + ",".join(_quote_element(part) for part in split_commas(value[1:-1])) + "]"
    if multirun and _SWEEP_FUNCTION.fullmatch(value):
        return value
    if multirun and "," in value:
        return ",".join(_quote_element(part) for part in split_commas(value))
    return quote(expand_home(value))


def _quote_element(text: str) -> str:
    text = text.strip()
    return text if not text or text.lower() == "null" or _is_quoted(text) else quote(expand_home(text))


def expand_home(text: str) -> str:
    """`~/x` and `~name/x` with the home folder in front; any other text, and an unknown name, unchanged."""
    if not text.startswith("~"):
        return text
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        return text


def quote(text: str) -> str:
    r"""`text` as a quoted value that Hydra's parser and OmegaConf read back as exactly `text`.

    Hydra drops a backslash before the quote character and halves the backslashes in front of it; OmegaConf
    does the same with `${`, which would otherwise be an interpolation.
    """
    escaped = re.sub(r"(\\*)'", lambda found: found[1] * 2 + r"\'", escape_interpolations(text))
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return "'" + escaped + "\\" * trailing + "'"


def escape_interpolations(text: str) -> str:
    r"""`text` as OmegaConf reads it back: `${` is escaped, and the backslashes in front of it are doubled."""
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)


def unquote(text: str) -> str:
    """The text that a quoted value stands for; an unquoted one unchanged."""
    if not _is_quoted(text):
        return text
    mark, inner = text[0], text[1:-1]
    trailing = len(inner) - len(inner.rstrip("\\"))
    inner = inner[: len(inner) - trailing // 2]
    inner = re.sub(rf"(\\+){mark}", lambda found: "\\" * (len(found[1]) // 2) + mark, inner)
    return re.sub(r"(\\+)\$\{", lambda found: "\\" * (len(found[1]) // 2) + "${", inner)


def split_commas(text: str) -> list[str]:
    """The parts between commas that stand outside quotes and brackets."""
    parts, depth, mark, start = [], 0, "", 0
    for position, character in enumerate(text):
        if mark:
            mark = "" if character == mark else mark
        elif character in "'\"" and not text[start:position].strip():
            mark = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth <= 0:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    return parts


def _is_quoted(text: str) -> bool:
    if len(text) < 2 or text[0] not in "'\"" or text[-1] != text[0]:
        return False
    # Every quote character inside has an odd number of backslashes before it, the last one an even number.
    marks = re.findall(rf"(\\*){text[0]}", text[1:])
    return all(len(slashes) % 2 for slashes in marks[:-1]) and len(marks[-1]) % 2 == 0


def _exists(text: str) -> bool:
    try:
        return Path(expand_home(text)).exists()
    except (OSError, ValueError):
        return False
