"""What the app is told on the command line."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from streetlab.app.settings import Settings, settings_of
from streetlab.config.composition import config_folder
from streetlab.errors import UserError


def test_the_command_lines_defaults_are_the_settings_own(tmp_path):
    written = yaml.safe_load((Path(config_folder()) / "app.yaml").read_text(encoding="utf-8"))
    assert settings_of(written, tmp_path) == Settings(storage=tmp_path)
    own = {field.name for field in fields(Settings)} - {"storage"}
    assert set(written) - {"defaults", "hydra", "open"} == own


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("queue", 0, "queue: '0' is not a whole number of 1 or more"),
        ("queue", "many", "queue: 'many' is not a whole number"),
        ("upload_bytes", 1.5, "upload_bytes: '1.5' is not a whole number"),
        ("port", 70000, "port: '70000' is not a port"),
        ("expire_minutes", 0, "expire_minutes: '0' is not a number above 0"),
        ("idle_seconds", float("nan"), "idle_seconds: 'nan' is not a number above 0"),
        ("batch_size", True, "batch_size: 'True' is not a whole number"),
        ("precision", "bf16", r"precision: 'bf16' is not one of .*; did you mean 'bf16-mixed'\?"),
        ("device", "cudda", r"device: 'cudda' is not one of .*; did you mean 'cuda'\?"),
        ("models", "a.ckpt", r"models: 'a.ckpt' is not a list: \[A,B\]"),
        ("host", 5, "host: '5' is not a word"),
    ],
)
def test_a_bad_value_is_one_line(key, value, said, tmp_path):
    with pytest.raises(UserError, match=said) as refused:
        settings_of({key: value}, tmp_path)
    assert len(str(refused.value).splitlines()) == 1


def test_a_folder_that_is_not_there_is_named_with_the_nearest(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    with pytest.raises(UserError, match=r"runs: nothing is at .*resluts; did you mean 'results'\?"):
        settings_of({"runs": str(tmp_path / "resluts")}, tmp_path)
    with pytest.raises(UserError, match="models: nothing is at"):
        settings_of({"models": [str(tmp_path / "best.ckpt")]}, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert settings_of({"runs": "outputs"}, tmp_path).runs == Path("outputs"), "a newcomer has no outputs yet"
