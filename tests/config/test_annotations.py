"""A value that a class or function does not take is named, in one line, instead of where the code stumbled over it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from omegaconf import OmegaConf

from streetlab.config import check_node, instantiate, of_kind, values_named
from streetlab.config.annotations import check_values
from streetlab.errors import UserError


class Box:
    def __init__(self, size: int, names: Sequence[str] = (), share: float = 0.5, inner: object = None) -> None:
        if size < 1 or share > 1 or size > 10:
            raise ValueError("a box of this size")
        self.names = [name.upper() for name in names]


BOX = f"{__name__}.Box"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"size": "abc"}, "part.size: 'abc' is not a whole number"),
        ({"size": [1]}, "part.size: '[1]' is not a whole number"),
        ({"size": None}, "part.size: 'None' is not a whole number"),
        ({"size": "3"}, "part.size: '3' is not a whole number"),
        ({"size": 1, "names": 5}, "part.names: '5' is not a list: [A,B]"),
        ({"size": 1, "names": ["a", {}]}, "part.names: '{}' is not a word"),
        ({"size": 1, "share": {"a": 1}}, "part.share: '{'a': 1}' is not a number"),
        ({"size": 11}, f"part: {BOX} does not take these values (ValueError: a box of this size)"),
        ({"size": 1, "inner": {"_target_": BOX, "size": None}}, "part.inner.size: 'None' is not a whole number"),
    ],
)
def test_the_value_that_a_target_stumbles_over_is_named(values, line) -> None:
    node = OmegaConf.create({"part": {"_target_": BOX, **values}}).part
    with pytest.raises(UserError) as refused:
        instantiate(node)
    assert str(refused.value) == line
    assert isinstance(refused.value.__cause__, TypeError | ValueError | AttributeError)


def test_a_partial_that_is_called_later_is_named_as_well() -> None:
    node = OmegaConf.create({"_target_": BOX, "_partial_": True, "share": "half"})
    build = instantiate(node)
    with pytest.raises(UserError, match=r"^part\.share: 'half' is not a number$"), values_named(node, "part"):
        build(size=1)


def test_a_right_value_and_the_users_own_errors_pass() -> None:
    assert instantiate({"_target_": BOX, "size": 2, "names": ["a"]}).names == ["A"]
    check_values(Box, {"size": 2, "share": 1, "names": ("a",), "unknown": {}}, "part")
    with pytest.raises(UserError, match="mine"), values_named({"_target_": BOX}, "part"):
        raise UserError("mine")
    with pytest.raises(RuntimeError), values_named({"_target_": BOX}, "part"):
        raise RuntimeError("a fault of the program or the device")
    misfit = values_named({"_target_": BOX, "share": "half"}, "part")
    with pytest.raises(UserError, match=r"^part\.share: 'half' is not a number$"), misfit:
        raise RuntimeError("what it led to")


def test_what_a_node_makes_is_of_the_kind_that_is_needed() -> None:
    box = Box(1)
    assert of_kind(box, Box, {"_target_": BOX}, "part") is box
    with pytest.raises(UserError, match=r"^part: builtins\.dict makes a dict, not a Box$"):
        of_kind({}, Box, {"_target_": "builtins.dict"}, "part")
    with pytest.raises(UserError, match="part: _target_ is missing; it names the class or function that makes the Box"):
        of_kind({}, Box, {"size": 1}, "part")
    with pytest.raises(UserError, match=r"^part: 5 is not \{_target_: \.\.\.\}"):
        check_node(5, "part")
