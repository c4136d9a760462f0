"""The modules of `docs/_ext`, which belong to no package, for tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXTENSIONS = Path(__file__).parents[2] / "docs" / "_ext"


def load_extension(name: str) -> ModuleType:
    """Import `docs/_ext/NAME.py`; the test is skipped where the site's packages are not installed."""
    pytest.importorskip("sphinx", reason="the site is built with the extra [docs]")
    spec = importlib.util.spec_from_file_location(name, EXTENSIONS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
