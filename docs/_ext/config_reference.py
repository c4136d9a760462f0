"""Write the reference of every config group, command and REST route from the files and code that define them.

Two MyST directives: `config-groups` and `config-commands` read `conf/`, where each key stands with its default and a
comment; `rest-routes` reads the OpenAPI description of the app.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

CONF = Path(__file__).parents[2] / "conf"
_HIDDEN = {"defaults", "hydra"}
_TYPES = {
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "str": "text",
    "null": "null",
    "seq": "list",
}


@dataclass(frozen=True)
class Key:
    """One key of a config file: its dotted name, default as written, type of the default, and comment."""

    name: str
    default: str
    kind: str
    comment: str


def read_header(text: str) -> str:
    """Return the comment at the top of a config file, as one paragraph."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").strip())
    return " ".join(lines)


def read_keys(text: str) -> list[Key]:
    """List the keys of a config file in their order, those of mappings by their dotted names."""
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        return []
    return list(_keys(root, "", text.splitlines()))


def _keys(mapping: yaml.MappingNode, above: str, lines: list[str]) -> Iterator[Key]:
    for key, value in mapping.value:
        if not above and key.value in _HIDDEN:
            continue
        name = f"{above}{key.value}"
        comment = _comment(key, value, lines)
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            yield Key(name, "", "group", comment)
            yield from _keys(value, f"{name}.", lines)
        else:
            kind = value.tag.rsplit(":", 1)[-1]
            yield Key(name, _written(value, lines), _TYPES.get(kind, "mapping"), comment)


def _written(value: yaml.Node, lines: list[str]) -> str:
    """Return a value as it stands in the file; one over several lines on one."""
    start, end = value.start_mark, value.end_mark
    if start.line == end.line:
        return lines[start.line][start.column : end.column]
    plain = yaml.safe_load(yaml.serialize(value))
    return yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10_000).strip()


def _comment(key: yaml.Node, value: yaml.Node, lines: list[str]) -> str:
    """Return the comment behind a key's value, and before it the comment lines directly above the key."""
    above = []
    number = key.start_mark.line - 1
    while number >= 0 and lines[number].strip().startswith("#"):
        above.insert(0, lines[number].strip().lstrip("# "))
        number -= 1
    if number < 0:  # the file's header
        above = []
    line = lines[key.start_mark.line]
    if isinstance(value, yaml.MappingNode) and not value.flow_style:
        start = key.end_mark.column
    else:
        start = value.end_mark.column if value.end_mark.line == key.start_mark.line else len(line)
    behind = line[start:].partition("#")[2].strip()
    return " ".join(part for part in (*above, behind) if part)


class _Reference(SphinxDirective):
    """Turn generated Markdown into nodes of the page."""

    def markdown(self) -> str:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        for path in sorted(CONF.rglob("*.yaml")):
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(self.markdown(), allow_section_headings=True)


class ConfigGroups(_Reference):
    """All groups of `conf/` with their choices and keys."""

    def markdown(self) -> str:
        parts = []
        for folder in sorted(path for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"):
            parts.append(f"## `{folder.name}`\n")
            for path in sorted(folder.glob("*.yaml")):
                text = path.read_text(encoding="utf-8")
                parts.append(f"### `{folder.name}={path.stem}`\n\n{read_header(text)}\n")
                parts.append(_table(read_keys(text)))
        return "\n".join(parts)


class ConfigCommands(_Reference):
    """The keys of every command."""

    def markdown(self) -> str:
        from streetlab.cli import COMMANDS, SUBCOMMANDS

        parts = []
        for name, command in (COMMANDS | SUBCOMMANDS).items():
            path = CONF / f"{name.replace(' ', '_')}.yaml"
            parts.append(f"## `streetlab {name}`\n\nUse it to {command.help}.\n")
            if path.is_file():
                parts.append(_table(read_keys(path.read_text(encoding="utf-8"))))
        return "\n".join(parts)


class RestRoutes(_Reference):
    """The routes of the app, from its own OpenAPI description."""

    def markdown(self) -> str:
        from streetlab.app.server import create_app
        from streetlab.app.settings import Settings

        with TemporaryDirectory() as folder:
            schema: dict[str, Any] = create_app(Settings(storage=Path(folder))).openapi()
        parts = []
        for path, methods in schema["paths"].items():
            for method, operation in methods.items():
                parts.append(
                    f"## `{method.upper()} {path}`\n\n{operation.get('description') or operation['summary']}\n"
                )
                rows = [
                    f"| `{one['name']}` | {one['in']} | {_cell(one.get('description', ''))} |"
                    for one in operation.get("parameters", [])
                ]
                if rows:
                    parts.append("\n".join(["| name | in | meaning |", "|---|---|---|", *rows, ""]))
        return "\n".join(parts)


def _table(keys: list[Key]) -> str:
    if not keys:
        return ""
    rows = [
        f"| `{key.name}` | {f'`{_cell(key.default)}`' if key.default else ''} | {key.kind} | {_cell(key.comment)} |"
        for key in keys
    ]
    return "\n".join(["| key | default | type | meaning |", "|---|---|---|---|", *rows, ""])


def _cell(text: str) -> str:
    """Escape what would end a cell, or be taken for markup."""
    return text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text.replace("|", "\\|")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("config-groups", ConfigGroups)
    app.add_directive("config-commands", ConfigCommands)
    app.add_directive("rest-routes", RestRoutes)
    return {"parallel_read_safe": True}
