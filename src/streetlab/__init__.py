"""Hydra-configured PyTorch Lightning experiments for urban street imagery.

The public names load on first use: `import streetlab` imports nothing else.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streetlab.api import Run as Run
    from streetlab.api import audit as audit
    from streetlab.api import compare as compare
    from streetlab.api import evaluate as evaluate
    from streetlab.api import explain as explain
    from streetlab.api import export as export
    from streetlab.api import find_runs as find_runs
    from streetlab.api import load_run as load_run
    from streetlab.api import predict as predict
    from streetlab.api import survey as survey
    from streetlab.api import survey_plan as survey_plan
    from streetlab.api import train as train
    from streetlab.errors import UserError as UserError
    from streetlab.inference.predictor import Predictor as Predictor

__version__ = "0.1.0"
_API = {
    **dict.fromkeys(("Run", "evaluate", "find_runs", "load_run", "predict", "survey_plan", "train"), "streetlab.api"),
    "Predictor": "streetlab.inference.predictor",
    "UserError": "streetlab.errors",
}
_VERBS = ("audit", "compare", "explain", "export", "survey")
"""Functions that share their names with the packages that do their work."""

__all__ = [*_API, *_VERBS, "__version__"]


class _Verb(ModuleType):
    """A package that is called as the function of its name in `streetlab.api`.

    Importing `streetlab.compare.select` binds the package to `streetlab.compare`, where the function would stand.
    """

    @property
    def __wrapped__(self) -> Any:
        return getattr(import_module("streetlab.api"), self.__name__.rpartition(".")[2])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)


class _Streetlab(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        if name in _VERBS and isinstance(value, ModuleType):
            value.__class__ = _Verb
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        return import_module(f"{__name__}.{name}")
    if name not in _API:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(_API[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _Streetlab
