"""Words of the command line reach the program as typed; what does not fit is said before any data loads."""

from __future__ import annotations

import functools
import pickle
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from streetlab.config import bind, instantiate, instantiate_with, plain
from streetlab.config.command_line import arrange
from streetlab.config.quoting import PATH_KEYS, quote, quote_paths, unquote
from streetlab.config.targets import binding_faults, signature_of
from streetlab.errors import UserError

NASTY = [
    "Straße (1).jpg",
    "my data,v=2 [x]",
    "it's",
    'the "one"',
    "a'b\"c",
    "#1 50% $HOME",
    "${oc.env:HOME}/x",
    r"\${a}",
    r"C:\new\table",
    "ends with \\",
    r"\'",
    "{a: 1}",
    "a:b",
    "-dash",
    " lead and trail ",
    "日本/ß",
    "a,b",
    "x=y=z",
    "true",
    "12",
    "[x]",
]


def read_back(word: str) -> object:
    """Read an override's value back through Hydra's parser and OmegaConf."""
    value = OverridesParser.create().parse_override(word).value()
    config = OmegaConf.create({"x": None})
    OmegaConf.update(config, "x", value)
    return config.x


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("key", ["output", "+dataset.root", "dataset.sources.camvid.root"])
def test_a_path_of_any_name_arrives_as_it_was_typed(name, key):
    (word,) = quote_paths([f"{key}={name}"])
    assert word.startswith(f"{key}=")
    assert read_back(word) == name


def test_any_string_survives_quoting():
    generator = random.Random(0)
    for _ in range(500):
        text = "".join(generator.choices("ab \\'\"${}[](),=~#%ß:/", k=generator.randint(1, 9)))
        assert read_back(f"x={quote(text)}") == text
        assert unquote(quote(text)) == text


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (word,) = quote_paths(["dataset.root=~/my data,v=2 [x]"])
    assert read_back(word) == f"{tmp_path}/my data,v=2 [x]"
    assert read_back(quote_paths(["source=~nobody-of-that-name/x"])[0]) == "~nobody-of-that-name/x"


@pytest.mark.parametrize(
    "word",
    ["source='a b'", 'source="a b"', "output=null", "output=", "seed=1,2", "model=resnet18", "~model", "run"],
)
def test_other_words_and_quoted_values_stay(word):
    assert quote_paths([word]) == [word]


@pytest.mark.parametrize("key", ["runs", "source", "models"])
def test_lists_of_paths_are_lists_unless_a_folder_is_called_so(monkeypatch, tmp_path, key):
    monkeypatch.chdir(tmp_path)
    assert read_back(quote_paths([f"{key}=[A (1),Straße]"])[0]) == ["A (1)", "Straße"]
    Path("[A,B]").mkdir()
    assert read_back(quote_paths([f"{key}=[A,B]"])[0]) == "[A,B]"


@pytest.mark.parametrize("name", [name for name in NASTY if name != "[x]"] + ["in/*.jpg", "in/[ab]?.png", "[ab].png"])
def test_a_source_arrives_as_it_was_typed(name):
    assert read_back(quote_paths([f"source={name}"])[0]) == name


def test_sweeps_over_paths_stay_sweeps_unless_a_file_is_called_so(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    parse = OverridesParser.create().parse_override
    (word,) = quote_paths(["dataset.root=a b,Straße"], multirun=True)
    assert [unquote(value) for value in parse(word).sweep_string_iterator()] == ["a b", "Straße"]
    assert quote_paths(["output=glob(*)"], multirun=True) == ["output=glob(*)"]
    Path("a,b").touch()
    assert read_back(quote_paths(["source=a,b"], multirun=True)[0]) == "a,b"


def test_path_keys_are_those_that_the_commands_have():
    assert {"dataset.root", "model.weights", "output", "resume", "run", "runs", "source", "models"} <= PATH_KEYS


def test_options_may_stand_anywhere():
    line = arrange(["seed=1", "-m", "model=resnet18", "--cfg", "job", "--info", "lr=2"])
    assert line.options == ["-m", "--cfg", "job", "--info"]
    assert line.overrides == ["seed=1", "model=resnet18", "lr=2"]
    assert arrange(["--config-dir", "x"]).config_dir == "x"
    assert arrange(["--config-dir=x"]).config_dir == "x"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--mutlirun"], "did you mean '--multirun'"),
        (["--cfg", "jop"], "job, hydra, all"),
        (["--config-dir"], "needs a value"),
        (["cleanliness_pretrained"], "write key=value"),
        (["trainer.max_epochs=5"], "regime.max_epochs"),
        (["+trainer.max_epochs=5"], "regime.max_epochs"),
    ],
)
def test_a_command_line_that_cannot_work_is_refused(words, said):
    with pytest.raises(UserError, match=said):
        arrange(words)


@dataclass
class Space:
    names: list[str]


class Base:
    def __init__(self, name: str, cache: str = "") -> None:
        self.name, self.cache = name, cache


class Child(Base):
    def __init__(self, size: int = 1, extra: object = None, **options: str) -> None:
        super().__init__(**options)
        self.size, self.extra = size, extra


def refuse(value: int = 0) -> None:
    raise UserError("told you so")


def open_ended(**options: object) -> dict[str, object]:
    return _closed(**options)  # type: ignore[arg-type]


def _closed(a: int = 0) -> dict[str, object]:
    return {"a": a}


def node(target, **keys):
    return OmegaConf.create({"part": {"_target_": f"{__name__}.{target}", **keys}}).part


def test_an_object_gets_plain_lists_and_what_the_program_adds_untouched():
    space = Space(["a"])
    made = instantiate(node("Child", name="n", size=3), extra=space)
    assert made.extra is space
    made = instantiate(node("Child", name="n", extra=[1, {"k": [2]}]))
    assert type(made.extra) is list
    assert type(made.extra[1]) is dict


def test_a_partial_holds_plain_values_and_can_be_pickled():
    made = instantiate(node("Child", _partial_=True, extra=[1, 2]), size=4)
    again = pickle.loads(pickle.dumps(made))
    assert isinstance(made, functools.partial)
    assert again(name="n").extra == [1, 2]
    assert again(name="n").size == 4


def test_a_target_gets_what_is_offered_only_where_it_has_such_a_parameter_and_no_value():
    inner = {"_target_": "torch.nn.CrossEntropyLoss", "reduction": "sum"}
    outer = OmegaConf.create({"_target_": "builtins.dict", "losses": [inner, {**inner, "ignore_index": 7}]})
    made = instantiate_with(outer, ignore_index=255, num_classes=3)
    assert set(made) == {"losses"}
    assert [loss.ignore_index for loss in made["losses"]] == [255, 7]
    assert instantiate_with({**inner, "_partial_": True}, ignore_index=255).keywords["ignore_index"] == 255


def test_nothing_and_collections_of_nodes_instantiate():
    assert instantiate(None) is None
    several = OmegaConf.create({"one": {"_target_": f"{__name__}.Base", "name": "n"}, "two": None})
    made = instantiate(several)
    assert made["one"].name == "n"
    assert made["two"] is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"target": "Child", "name": "n", "siez": 3},
            r"part\.siez: .*Child takes no 'siez'; did you mean 'size'",
        ),
        ({"target": "Child"}, r"part: .*Child needs 'name'"),
        ({"target": "Chidl", "name": "n"}, r"part\._target_: cannot import .*Chidl"),
        ({"target": "NASTY"}, r"part\._target_: .* is a list"),
        ({"target": "refuse"}, "told you so"),
        ({"target": "open_ended", "b": 1}, r"part\.b: .*open_ended takes no 'b'"),
    ],
)
def test_a_node_that_does_not_fit_its_target_is_named_with_its_key(keys, said):
    target = keys.pop("target")
    with pytest.raises(UserError, match=said):
        instantiate(node(target, **keys))


def test_a_target_in_a_module_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"part\._target_: cannot import nowhere\.at_all \(ModuleNotFoundError"):
        instantiate(OmegaConf.create({"part": {"_target_": "nowhere.at_all"}}).part)


def test_binding_finds_faults_at_any_depth_without_calling_anything():
    config = OmegaConf.create(
        {
            "a": {"_target_": f"{__name__}.refuse"},
            "b": {"_target_": f"{__name__}.Child", "_partial_": True},
            "c": [{"deep": {"_target_": f"{__name__}.refuse", "valeu": 1}}],
            "d": {"_target_": f"{__name__}.Base"},
        }
    )
    faults = list(binding_faults(config))
    assert len(faults) == 2
    assert faults[0].startswith("c[0].deep.valeu: ")
    assert faults[1].startswith("d: ")
    bind(OmegaConf.create({"d": config.d}), given={"d": ["name"]})
    with pytest.raises(UserError, match="'valeu'; did you mean 'value'"):
        bind(config)


def test_a_child_that_hands_options_to_its_parent_is_read_with_the_parent():
    arguments = signature_of(Child)
    assert arguments is not None
    assert set(arguments.names) == {"size", "extra", "name", "cache"}
    assert arguments.required == ("name",)
    assert not arguments.open_ended


def test_a_child_of_a_library_may_give_its_parent_what_that_requires():
    from torchmetrics.classification import MulticlassF1Score, MulticlassFBetaScore

    assert "beta" in signature_of(MulticlassFBetaScore).required
    assert signature_of(MulticlassF1Score).required == ("num_classes",)


def test_trainer_max_epochs_in_a_preset_points_to_the_regime():
    config = OmegaConf.create({"trainer": {"_target_": f"{__name__}.refuse", "max_epochs": 3}})
    with pytest.raises(UserError, match=r"regime\.max_epochs"):
        bind(config)


def test_plain_says_which_value_is_missing():
    assert plain(OmegaConf.create({"a": [1, "${b}"], "b": 2})) == {"a": [1, 2], "b": 2}
    with pytest.raises(UserError, match=r"dataset\.root is missing: give dataset\.root=\.\.\."):
        plain(OmegaConf.create({"dataset": {"root": "???"}}))
    with pytest.raises(UserError, match="nowhere"):
        plain(OmegaConf.create({"a": "${nowhere}"}))
