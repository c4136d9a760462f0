"""The reference of config keys says what the files say: OmegaConf reads the same keys and values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.site_extensions import load_extension

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in (ROOT / "conf").rglob("*.yaml") if "hydra" not in path.parts)


@pytest.fixture(scope="module")
def reference() -> Any:
    return load_extension("config_reference")


def leaves(values: Any, above: str = "") -> dict[str, Any]:
    if not isinstance(values, dict) or not values:
        return {above.rstrip("."): values}
    return {key: leaf for name, value in values.items() for key, leaf in leaves(value, f"{above}{name}.").items()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT / "conf").as_posix())
def test_keys_and_defaults_are_those_of_the_file(reference, path):
    text = path.read_text(encoding="utf-8")
    values = {key: value for key, value in (yaml.safe_load(text) or {}).items() if key not in ("defaults", "hydra")}
    documented = {key.name: key for key in reference.read_keys(text) if key.kind != "group"}
    expected: dict[str, Any] = {}
    for name, value in leaves(values).items() if values else ():
        # a mapping written in braces is one value
        parents = [name.rsplit(".", cut)[0] for cut in range(name.count(".") + 1)]
        if name in documented:
            expected[name] = value
        else:
            assert any(parent in documented for parent in parents), f"{name} is missing"
    for name, value in expected.items():
        assert yaml.safe_load(documented[name].default) == value, name


def test_comments_and_headers(reference):
    text = "# What it is,\n# in two lines.\na: 1 # first\n# above\nb: {x: 2} # behind\nc:\n  d: [1, 2] # of c\n"
    assert reference.read_header(text) == "What it is, in two lines."
    keys = [(key.name, key.default, key.comment) for key in reference.read_keys(text)]
    assert keys == [("a", "1", "first"), ("b", "{x: 2}", "above behind"), ("c", "", ""), ("c.d", "[1, 2]", "of c")]
