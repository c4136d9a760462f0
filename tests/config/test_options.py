"""Options are checked by their types, and every fault is one line that says what is allowed."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import pydantic
import pytest
import yaml
from pydantic import BaseModel, Field

from streetlab.config.composition import config_folder
from streetlab.config.options import (
    CLOSED,
    Flag,
    Fraction,
    Listed,
    NaturalNumber,
    Number,
    OneOf,
    Output,
    PositiveInt,
    PositiveNumber,
    Says,
    Share,
    WholeNumber,
    checked,
    command_options,
)  # fmt: skip
from streetlab.errors import UserError


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Limits:
    blurry: PositiveNumber | None = 0.1
    dark: PositiveNumber | None = 0.15


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Options:
    run: str
    count: PositiveInt = 1
    seed: NaturalNumber = 0
    cells: Annotated[WholeNumber, Field(ge=2, le=32)] = 8
    folds: Annotated[WholeNumber, Field(ge=3)] | None = None
    ratio: Fraction = 0.5
    alpha: Share = 0.5
    smooth: Annotated[Number, Field(ge=0, lt=1)] = 0
    scale: PositiveNumber = 1
    distil: Flag = False
    scope: Annotated[str, OneOf(("uniform", "global"))] = "uniform"
    parts: Annotated[tuple[Annotated[str, OneOf(("mask", "overlay"))], ...], Listed] = ()
    port: Annotated[WholeNumber, Field(ge=0, le=65535), Says("a port: 1 to 65535")] = 8000
    device: Annotated[str, Field(pattern="^(auto|cuda)$"), Says("one of auto, cuda", ("auto", "cuda"))] = "auto"
    output: Output = None
    limits: Limits = Limits()
    shares: dict[str, PositiveNumber] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("count", 0, "count: '0' is not a whole number of 1 or more"),
        ("count", 1.0, "count: '1.0' is not a whole number of 1 or more"),
        ("count", True, "count: 'True' is not a whole number of 1 or more"),
        ("count", "many", "count: 'many' is not a whole number of 1 or more"),
        ("count", None, "count: 'None' is not a whole number of 1 or more"),
        ("seed", -1, "seed: '-1' is not a whole number of 0 or more"),
        ("cells", 33, "cells: '33' is not a whole number of 2 to 32"),
        ("folds", 2, "folds: '2' is not a whole number of 3 or more, or null"),
        ("ratio", 1, "ratio: '1' is not a number above 0 and below 1"),
        ("ratio", True, "ratio: 'True' is not a number above 0 and below 1"),
        ("alpha", 1.5, "alpha: '1.5' is not a number from 0 to 1"),
        ("smooth", 1, "smooth: '1' is not a number from 0 to below 1"),
        ("scale", float("inf"), "scale: 'inf' is not a number above 0"),
        ("scale", float("nan"), "scale: 'nan' is not a number above 0"),
        ("distil", "maybe", "distil: 'maybe' is not true or false"),
        ("distil", 1, "distil: '1' is not true or false"),
        ("scope", "globl", "scope: 'globl' is not one of uniform, global; did you mean 'global'?"),
        ("scope", None, "scope: 'None' is not one of uniform, global"),
        ("parts", ["mask", "overlya"], "parts: 'overlya' is not one of mask, overlay; did you mean 'overlay'?"),
        ("parts", "masks", "parts: 'masks' is not one of mask, overlay; did you mean 'mask'?"),
        ("port", 70000, "port: '70000' is not a port: 1 to 65535"),
        ("device", "cudda", "device: 'cudda' is not one of auto, cuda; did you mean 'cuda'?"),
        ("output", 5, "output: '5' is not a path, or null"),
        ("limits", {"blurry": 0}, "limits.blurry: '0' is not a number above 0, or null"),
        ("limits", {"blury": 1}, "limits: no key 'blury' (allowed: blurry, dark); did you mean 'blurry'?"),
        ("limits", [1], "limits: '[1]' is not an object with blurry, dark"),
        ("shares", {"val": 0}, "shares.val: '0' is not a number above 0"),
        ("run", 5, "run: '5' is not a word"),
    ],
)  # fmt: skip
def test_a_value_that_its_key_does_not_take_is_one_line(key: str, value: Any, line: str) -> None:
    with pytest.raises(UserError) as refused:
        checked(Options, {"run": "r", key: value})
    assert str(refused.value) == line


def test_a_long_value_is_cut_and_a_missing_or_unknown_key_named() -> None:
    with pytest.raises(UserError, match=r"scope: 'x{57}\.\.\.' is not one of uniform, global$"):
        checked(Options, {"run": "r", "scope": "x" * 5000})
    with pytest.raises(UserError, match=r"^run is missing$"):
        checked(Options, {})
    with pytest.raises(UserError, match=r"^look: no key 'rnu' \(allowed: run, count, .*\); did you mean 'run'\?$"):
        checked(Options, {"run": "r", "rnu": 1}, "look")
    with pytest.raises(UserError, match=r"^look\.limits\.dark: 'x' is not a number above 0, or null$"):
        checked(Options, {"run": "r", "limits": {"dark": "x"}}, "look")


def test_a_plain_type_and_a_base_model_are_checked_as_well() -> None:
    class Body(BaseModel):
        model_config = CLOSED
        alpha: Share | None = None

    with pytest.raises(UserError, match=r"^n_trials: '0' is not a whole number of 1 or more$"):
        checked(PositiveInt, 0, "n_trials")
    with pytest.raises(UserError, match=r"^look\.alpha: '7' is not a number from 0 to 1, or null$"):
        checked(Body, {"alpha": 7}, "look")
    with pytest.raises(UserError, match=r"^look: '\[\]' is not an object with alpha$"):
        checked(Body, [], "look")


def test_a_command_reads_its_keys_and_leaves_hydras() -> None:
    options = command_options(Options, {"run": "r", "hydra": {}, "parts": "mask", "output": "~/x", "scale": 2})
    assert (options.parts, options.output, options.scale) == (("mask",), Path.home() / "x", 2)
    assert command_options(Options, {"run": "r", "output": ""}).output is None


MODELS = {
    "audit": ("streetlab.audit.options", "Options", {"output", "overrides"}),
    "cache": ("streetlab.loading.cache_command", "Options", set()),
    "compare": ("streetlab.compare.options", "Options", {"runs", "output"}),
    "compress": ("streetlab.compress.options", "Keys", set()),
    "evaluate": ("streetlab.training.evaluate", "Keys", set()),
    "explain": ("streetlab.explain.request", "Keys", set()),
    "export": ("streetlab.export.options", "Keys", set()),
    "predict": ("streetlab.inference.options", "Keys", set()),
    "survey": ("streetlab.survey.options", "Keys", set()),
}
"""Each command's model, and the keys of its config that are places and words, read beside it."""


@pytest.mark.parametrize("command", MODELS)
def test_every_key_of_a_command_is_checked_and_its_defaults_pass(command: str) -> None:
    module, name, beside = MODELS[command]
    model = getattr(import_module(module), name)
    written = yaml.safe_load((Path(config_folder()) / f"{command}.yaml").read_text(encoding="utf-8"))
    for entry in written["defaults"]:
        for group, choice in entry.items() if isinstance(entry, dict) else ():
            if not group.startswith("override "):
                written[group] = yaml.safe_load((Path(config_folder()) / group / f"{choice}.yaml").read_text("utf-8"))
    keys = written.keys() - {"defaults", "hydra"}
    assert keys - beside == {field.name for field in dataclasses.fields(model)}
    given = {key: "x" if value == "???" else value for key, value in written.items()}
    options = command_options(model, given)
    if name == "Options":
        assert options == model()


def test_the_help_needs_no_pydantic() -> None:
    code = "import sys; from streetlab.cli import run; run(['--help']); sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0
