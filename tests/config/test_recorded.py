"""A recorded config takes the words of a later command as train would have, and says in one line which it cannot."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from streetlab.config import plain
from streetlab.config.command_line import CommandLine, arrange, collect
from streetlab.config.composition import composer
from streetlab.config.recorded import recorded_config
from streetlab.errors import UserError


@pytest.fixture(scope="module")
def _recorded() -> dict[str, Any]:
    with composer() as compose:
        return plain(
            compose.compose("train", ["dataset=street_cleanliness", "image_size=[64,96]", "model.dropout=0.5"])
        )


@pytest.fixture
def recorded(_recorded) -> dict[str, Any]:
    return copy.deepcopy(_recorded)


def test_without_words_it_is_the_same_config(recorded):
    assert plain(recorded_config(recorded, []).config) == recorded


def test_a_choice_replaces_its_node_alone_and_reads_the_recorded_values(recorded):
    found = recorded_config(recorded, ["dataset.train=9", "dataset=synthetic_streets"])
    config = plain(found.config)
    assert config["dataset"]["_target_"].endswith("SyntheticStreets")
    assert config["dataset"]["size"] == [64, 96], "the file says ${image_size}, which is the run's"
    assert config["dataset"]["train"] == 9, "values come after choices, whatever their order"
    rest = {key: value for key, value in recorded.items() if key != "dataset"}
    assert {key: config[key] for key in rest} == rest, "the data set's file brings a task and a network along"
    assert found.choices == {"dataset": "synthetic_streets"}
    assert found.keys == ("dataset.train", "dataset")


def test_a_choice_with_defaults_of_its_own_is_composed(recorded):
    config = plain(recorded_config(recorded, ["dataset=concat", "data='/else where'"]).config)
    assert {source["root"] for source in config["dataset"]["sources"].values()} == {
        "/else where/cityscapes",
        "/else where/camvid",
    }
    assert plain(recorded_config(recorded, ["trainer=ddp_cpu"]).config)["trainer"]["devices"] == 2


def test_values_are_changed_added_and_deleted(recorded):
    words = ["image_size=[32,32]", "+model.drop_path_rate=0.1", "~model.dropout", "callbacks.ema={decay: 0.5}"]
    config = plain(recorded_config(recorded, words).config)
    assert config["image_size"] == [32, 32]
    assert config["model"]["drop_path_rate"] == 0.1
    assert "dropout" not in config["model"]
    assert config["callbacks"]["ema"] == {"decay": 0.5}


def test_paths_are_taken_as_they_are_called(recorded):
    name = "/my data/${oc.env:HOME} (1), it's [v=2]"
    recorded["model"]["weights"] = name
    words = arrange([f"dataset.root={name}"]).overrides
    config = plain(recorded_config(recorded, words).config)
    assert config["dataset"]["root"] == config["model"]["weights"] == name


def test_a_key_that_came_after_the_run_has_its_default(recorded):
    del recorded["pretrained"]
    assert plain(recorded_config(recorded, []).config)["pretrained"] == "imagenet"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("model.droput=0", "no key 'model.droput'; did you mean 'model.dropout'?"),
        ("modle.dropout=0", "no key 'modle.dropout'; did you mean 'model.dropout'?"),
        ("lr=1", "no key 'lr'; did you mean 'optimizer.lr'?"),
        ("split_=val", "no key 'split_'; did you mean 'split'?"),
        ("~model.nothing", "no key 'model.nothing' (model has"),
        ("optimizer.amsgrad=true", "no key 'optimizer.amsgrad' in the config; to add it say +optimizer.amsgrad=true"),
        ("+seed=1", "write seed=... without the +"),
        ("seed=many", "seed=many: Value 'many'"),
        ("image_size=[a,b]", "could not be converted to Integer"),
        ("image_size=[1", "cannot read 'image_size=[1'"),
        ("batch_size=1,2", "names several values"),
        ("dataset=camvd", "no dataset 'camvd'; did you mean 'camvid'?"),
        ("model=null", "model takes a name; it has"),
        ("experiment=cleanliness_pretrained", "only a choice of one part (task, dataset, model"),
        ("+dataset@dataset.sources.more=camvid", "only a choice of one part"),
    ],
)
def test_a_word_that_does_not_fit_is_one_line(recorded, word, said):
    with pytest.raises(UserError) as caught:
        recorded_config(recorded, [word], command_keys=["run", "split"])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_config_of_another_version_is_one_line(recorded):
    with pytest.raises(UserError, match="no key 'phases' in this version"):
        recorded_config(recorded | {"phases": {}}, [])


def test_a_value_that_a_choice_needs_is_asked_for(recorded):
    with pytest.raises(UserError, match=r"dataset\.root is missing: give dataset\.root="):
        plain(recorded_config(recorded, ["dataset=image_folder"]).config)


def test_words_for_the_runs_config_travel_as_one_value():
    words = ["run=a b", "dataset.root=it's (1)", "split=val", "hydra.verbose=true", "+model.x='y'", "trainer=ddp_cpu"]
    line = collect(arrange(words), "evaluate")
    *kept, collected = line.overrides
    assert kept == ["run='a b'", "split=val", "hydra.verbose=true"]
    with composer() as compose:
        config = compose.compose("evaluate", [*kept[:2], collected])
    assert config.run == "a b"
    assert list(config.overrides) == [r"dataset.root='it\'s (1)'", "+model.x='y'", "trainer=ddp_cpu"]
    assert collect(arrange(words), "train").overrides == arrange(words).overrides


@pytest.mark.parametrize("option", ["-m", "--multirun", "hydra.mode=MULTIRUN"])
def test_a_command_about_one_run_sweeps_nothing(option):
    with pytest.raises(UserError, match="-m: evaluate is about one run"):
        collect(CommandLine([], [option]), "evaluate")
