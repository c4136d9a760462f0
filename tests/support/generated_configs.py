"""Generated YAML for every group of `conf/` and every command's own keys, and what reads it before any work begins."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytorch_lightning as pl
import yaml
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from tests.support.generated import refused
from torch import nn

from streetlab.app.settings import settings_of
from streetlab.audit.options import options_of as audit_options
from streetlab.compare.options import options_of as compare_options
from streetlab.config import instantiate, of_kind, plain
from streetlab.config.call import register, translated
from streetlab.config.command_line import CommandLine
from streetlab.config.composition import composer, config_folder
from streetlab.config.options import command_options
from streetlab.config.schema import TrainConfig
from streetlab.config.values import check_nothing_missing
from streetlab.datasets.source import DataSource
from streetlab.explain.request import Keys as ExplainKeys
from streetlab.export.options import Keys as ExportKeys
from streetlab.fetch.command import Options as FetchOptions
from streetlab.inference.options import read_options as predict_options
from streetlab.loading.cache_command import Options as CacheOptions
from streetlab.networks.build import build_network
from streetlab.records.open_command import Options as OpenOptions
from streetlab.records.record import RunRecord
from streetlab.survey.options import Keys as SurveyKeys
from streetlab.survey.plan_command import Options as PlanOptions
from streetlab.survey.scales import read_scale
from streetlab.training.build import build_callbacks, build_experiment, build_loggers
from streetlab.training.evaluate import Keys as EvaluateKeys
from streetlab.training.loggers import RecordLogger
from streetlab.training.train import check

PHOTOS = ("dataset=synthetic_cleanliness", "dataset.train=6", "dataset.val=3", "dataset.test=3", "image_size=[64,64]",
          "model=timm_classifier", "model.name=test_resnet", "trainer=cpu")  # fmt: skip
STREETS = ("dataset=synthetic_streets", "dataset.train=4", "dataset.val=2", "dataset.test=2", "image_size=[64,96]",
           "model=hrnetv2_w18", "model.small=true", "trainer=cpu")  # fmt: skip
GROUPS = ("task", "dataset", "model", "regime", "optimizer", "scheduler", "loss", "augment", "transforms", "mix",
          "trainer", "logger", "callbacks")  # fmt: skip
PRESETS = ("experiment", "debug", "recipe", "sweep")
ROOT_KEYS = ("study", "seed", "data", "pretrained", "teacher", "distillation", "image_size", "batch_size",
             "num_workers", "resume", "output")  # fmt: skip
OF_MASKS = {"segmentation", "dice_cross_entropy", "lovasz_cross_entropy", "ohem_lovasz", "smp", "mask_folder", "camvid",
            "cityscapes", "concat", "synthetic_streets"}  # fmt: skip
STARTS_A_RUN = {("logger", "wandb")}

Change = tuple[str, str, float, Any]
"""What is changed, the kind of change, which of the places (0 to 1), and the value that comes in."""

_WORDS = ("abc", "auto", "null", "", "[1,2]", "1e-3", "/nowhere", "${nope}", "???", "ä'\"{}=", "a\nb", "\x00",
          "x" * 200, "builtins.print", "torch.nn.ReLU")  # fmt: skip
_NUMBERS = st.integers(-3, 300) | st.sampled_from([10**30, -(10**12)]) | st.floats() | st.sampled_from([0.1, 0.5, 1.5])
_SCALARS = st.none() | st.booleans() | _NUMBERS | st.sampled_from(_WORDS) | st.text(max_size=6)
_NODES = st.sampled_from([{"_target_": "builtins.dict"}, {"_target_": "nope.x"}, {"_target_": 5}, {"a": 1}, {}, []])
VALUES = _SCALARS | _NODES | st.lists(_SCALARS, max_size=3) | st.dictionaries(st.text(max_size=4), _SCALARS, max_size=2)
KINDS = st.sampled_from(["replaced"] * 5 + ["misspelled", "deleted", "nested", "listed"])


def changes(names: list[str]) -> st.SearchStrategy[Change]:
    """Changes of the configs of these names."""
    return st.tuples(st.sampled_from(names), KINDS, st.floats(0, 1, exclude_max=True), VALUES)


def changed(node: Any, kind: str, where: float, value: Any) -> tuple[Any, tuple[str, ...]]:
    """The node with one of its values changed, and the words of which a message has to hold one."""
    node = copy.deepcopy(node)
    places = list(_places(node, ()))
    if not places:
        return node, ()
    path = places[int(where * len(places))]
    parent = node
    for part in path[:-1]:
        parent = parent[part]
    key = path[-1]
    words = [str(part) for part in path if isinstance(part, str)]
    if kind == "misspelled" and isinstance(parent, dict):
        wrong = f"{key[:-1]}x"
        parent[wrong] = parent.pop(key)
        words.append(wrong)
    elif kind in ("misspelled", "deleted"):
        del parent[key]
    elif kind == "nested":
        parent[key] = {str(key): parent[key]}
    elif kind == "listed":
        parent[key] = [parent[key]]
    else:
        parent[key] = value
        words += map(str, value if isinstance(value, dict) else ())
    return node, tuple(words)


def _places(node: Any, above: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, child in members:
        yield (*above, name)
        yield from _places(child, (*above, name))


def read_presets() -> dict[str, Any]:
    """The choices of the groups that change a whole config, by group and name; sweeps have one job each.

    Not the search, which has as many trials as it is asked for.
    """
    presets: dict[str, Any] = {
        f"{group}/{file.stem}": yaml.safe_load(file.read_text())
        for group in PRESETS for file in sorted((config_folder() / group).glob("*.yaml"))
    }  # fmt: skip
    del presets["sweep/optuna"]
    for name in (name for name in presets if name.startswith("sweep/")):
        presets[name]["hydra"]["sweeper"]["params"] = {"experiment": "demo_pretrained"}
    return presets


class TrainConfigs:
    """Every choice of every group that `streetlab train` has, in a config that is otherwise small.

    Args:
        folder: with a tree of photos in `photos`; takes caches and records.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        register()
        with composer() as compose:
            words = (f"dataset.cache_dir={folder / 'cache'}", f"output={folder / 'run'}")
            self._bases = {
                masks: OmegaConf.to_container(compose.compose("train", [*more, *words]), resolve=False)
                for masks, more in ((False, PHOTOS), (True, STREETS))
            }
        files = [file for group in GROUPS for file in sorted((config_folder() / group).glob("*.yaml"))]
        self.files = {f"{file.parent.name}/{file.stem}": file for file in files}
        self.names = [*self.files, "train"]
        self._networks: dict[Any, Any] = {}

    def read(self, change: Change) -> None:
        """Compose a changed config and build from it all that a training has before its first step, or is refused."""
        name, kind, where, value = change
        group, _, choice = name.rpartition("/")
        base: dict[str, Any] = dict(self._bases[choice in OF_MASKS or choice.startswith(("hrnet", "deeplab"))])  # type: ignore[arg-type]
        if not group:
            node, words = changed({key: base[key] for key in ROOT_KEYS}, kind, where, value)
            full = {key: value for key, value in base.items() if key not in ROOT_KEYS} | node
        else:
            node, words = changed(self._node(name, base[group]), kind, where, value)
            full = base | {group: node}
        if words[-1:] == ("num_ops",) and kind == "replaced" and value == 10**30:
            return  # RandAugment begins with as many operations as it is asked for

        def read() -> None:
            with translated("train", CommandLine([], [])):
                cfg = OmegaConf.merge(OmegaConf.structured(TrainConfig), OmegaConf.create(full))
            assert isinstance(cfg, DictConfig)
            self._prepare(cfg, group, (group, choice) not in STARTS_A_RUN)

        # a mapping for a list: composed by Hydra, the line says in which file or word; merged here, it cannot
        refused(read, *(word for word in (*words, group) if word), "where a list is expected")

    def _node(self, name: str, base: Any) -> Any:
        node: Any = OmegaConf.to_container(OmegaConf.load(self.files[name]), resolve=False)
        defaults = node.pop("defaults", None) if isinstance(node, dict) else None
        if name.startswith("trainer/"):
            node = base | node if defaults else node
        if name.startswith("dataset/"):
            small = {"train": 6, "val": 3, "test": 3} if "train" in node else {}
            root = {"root": str(self.folder / "photos")} if "root" in node else {}
            node |= small | root | {"cache_dir": str(self.folder / "cache")}
        if name.startswith("model/") and "timm" in node["_target_"]:
            node["name"] = "test_resnet"
        return node

    def _prepare(self, cfg: DictConfig, group: str, logs: bool) -> None:
        """Do what `streetlab train` does before its first step, photos left aside."""
        check_nothing_missing(cfg)
        config = plain(cfg)
        check(cfg)
        source = of_kind(instantiate(cfg.dataset), DataSource, cfg.dataset, "dataset")
        with mock.patch("streetlab.training.build.build_network", build_network if group == "model" else self._network):
            experiment = build_experiment(cfg, config, source)
        record = RunRecord(self.folder / "run")
        callbacks = build_callbacks(cfg, experiment, record.checkpoints)
        loggers = build_loggers(cfg, RecordLogger(record, lambda: "train")) if logs else []
        of_kind(
            instantiate(cfg.trainer, callbacks=callbacks, loggers=loggers, root=record.path),
            pl.Trainer, cfg.trainer, "trainer",
        )  # fmt: skip

    def _network(self, node: Any, label_space: Any, image_size: Any = None) -> tuple[nn.Module, dict[str, Any]]:
        """One network for all configs that leave the model as it is."""
        key = (str(node), len(label_space), image_size)
        if key not in self._networks:
            self._networks[key] = build_network(node, label_space, image_size)
        return self._networks[key]


COMMANDS: Mapping[str, Callable[[DictConfig], object]] = {
    "audit": audit_options,
    "app": lambda cfg: settings_of(plain(cfg), Path("storage")),
    "cache": lambda cfg: command_options(CacheOptions, cfg),
    "compare": compare_options,
    "evaluate": lambda cfg: command_options(EvaluateKeys, cfg),
    "explain": lambda cfg: command_options(ExplainKeys, cfg),
    "export": lambda cfg: command_options(ExportKeys, cfg),
    "fetch": lambda cfg: command_options(FetchOptions, cfg),
    "open": lambda cfg: command_options(OpenOptions, cfg),
    "predict": predict_options,
    "survey": lambda cfg: command_options(SurveyKeys, cfg),
    "survey_plan": lambda cfg: command_options(PlanOptions, cfg),
}
"""What reads the keys of a command, before anything is opened."""


class CommandConfigs:
    """The own keys of every command but `train`, and the scales of a survey.

    Args:
        folder: takes an empty file that passes for an exported model.
    """

    def __init__(self, folder: Path) -> None:
        register()
        (folder / "model.onnx").touch()
        given = {"run": str(folder / "model.onnx"), "runs": str(folder), "source": "photos", "shell": "bash"}
        self._roots: dict[str, Any] = {}
        for name in COMMANDS:
            root: Any = OmegaConf.to_container(OmegaConf.load(config_folder() / f"{name}.yaml"), resolve=False)
            keys = {key: value for key, value in root.items() if key not in ("defaults", "hydra", "scale", "dataset")}
            self._roots[name] = {
                key: given.get(key, "given") if value == "???" else value for key, value in keys.items()
            }
        for file in sorted((config_folder() / "scale").glob("*.yaml")):
            self._roots[f"scale/{file.stem}"] = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        for name in ("survey", "survey_plan"):
            self._roots[name]["scale"] = self._roots["scale/severity"]
        self.names = list(self._roots)

    def read(self, change: Change) -> None:
        """Read the changed keys of a command as it does, or is refused by the key's name."""
        name, kind, where, value = change
        node, words = changed(self._roots[name], kind, where, value)

        def read() -> None:
            cfg = OmegaConf.create(node)
            check_nothing_missing(cfg)
            read_scale(plain(cfg)) if name.startswith("scale/") else COMMANDS[name](cfg)

        refused(read, *words)
