"""Private parts of Hydra and OmegaConf behave as streetlab needs them; only one module touches them."""

from __future__ import annotations

import re

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from streetlab import hydra_compat as compat
from tests.support.private_parts import lines_that_touch

PRIVATE = re.compile(
    r"hydra\._|omegaconf\._|get_args_parser|\boverride\._|\._get_(root|node|full_key|parent)|\._apply_overrides"
)


def parsed(*words: str):
    return OverridesParser.create().parse_overrides(list(words))


def test_every_option_says_how_many_words_it_takes():
    options = compat.command_line_options()
    assert {"-m", "--multirun", "--cfg", "-c", "--config-dir", "-cd", "--help"} <= options.keys()
    assert options["-m"].nargs == 0
    assert "job" in options["--cfg"].choices
    assert options["--config-dir"].nargs is None


def test_overrides_change_add_and_delete():
    config = OmegaConf.create({"a": {"b": 1, "c": 2}, "d": "${a.b}"})
    OmegaConf.set_struct(config, True)
    compat.apply_overrides(parsed("a.b=5", "+a.new=x", "~a.c"), config)
    assert OmegaConf.to_container(config, resolve=True) == {"a": {"b": 5, "new": "x"}, "d": 5}


def test_a_glob_is_told_from_other_sweeps():
    assert [compat.is_glob(override) for override in parsed("a=glob(x*)", "a=choice(x,y)", "a=x,y", "a=x")] == [
        True, False, False, False,
    ]  # fmt: skip


def test_a_node_knows_its_root_and_its_key():
    config = OmegaConf.create({"a": {"b": {"c": 1}}})
    assert compat.root_of(config.a.b) is config
    assert compat.full_key(config.a.b) == "a.b"
    assert compat.full_key(config) == ""


def test_a_mapping_is_seen_without_resolving_anything():
    config = OmegaConf.create({"mapping": {}, "value": 1, "missing": "???", "broken": "${nowhere}", "none": None})
    assert [key for key in config if compat.has_mapping(config, key)] == ["mapping"]


def test_no_other_module_touches_private_parts_of_hydra():
    assert not lines_that_touch(PRIVATE, "hydra_compat.py")
