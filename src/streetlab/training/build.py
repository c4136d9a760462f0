"""Build the objects of a training from its config: data, network, task, regime, Trainer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf
from pytorch_lightning.loggers import Logger
from torch import nn

from streetlab.config import check_node, instantiate, instantiate_with, of_kind, values_named
from streetlab.config.composition import config_folder
from streetlab.config.targets import locate, signature_of
from streetlab.datasets.labels import IGNORE_INDEX, LabelSpace
from streetlab.datasets.source import DataSource
from streetlab.datasets.task_spec import TASKS
from streetlab.errors import UserError, did_you_mean, first_line
from streetlab.loading.augment import Augment
from streetlab.loading.datamodule import StreetData
from streetlab.loading.mix import build_mix
from streetlab.loading.transforms import build_transforms
from streetlab.loading.workers import checked_workers
from streetlab.networks.build import build_network
from streetlab.networks.contract import as_network
from streetlab.networks.image_size import check_image_size
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD
from streetlab.tasks.added_metrics import build_metrics
from streetlab.tasks.base import StreetTask
from streetlab.tasks.losses import ClassWeighted
from streetlab.training.activation_checkpointing import check_checkpointing, checkpoint_blocks
from streetlab.training.batch_size import written_batch_size
from streetlab.training.compile_callback import CompileCallback
from streetlab.training.loggers import RecordLogger
from streetlab.training.phases import PhaseSchedule
from streetlab.training.schedules import Horizon, build_schedule
from streetlab.training.stopwatch import Stopwatch

log = logging.getLogger(__name__)

_PHOTOS_PER_CLASS = "photos_per_class"
"""The entry of the metadata for the number of training photos of each class, where the loss needs it."""


@dataclass(frozen=True)
class Experiment:
    """Everything one run needs, built and checked, nothing trained yet."""

    source: DataSource
    data: StreetData
    task: StreetTask
    regime: PhaseSchedule
    stopwatch: Stopwatch
    compiled: CompileCallback


def build_experiment(cfg: DictConfig, plain: dict[str, Any], source: DataSource) -> Experiment:
    """Build in the order in which faults are cheap: data first, then network, then regime.

    Args:
        cfg: the run's config.
        plain: the same, resolved to plain Python; it travels in checkpoints.
        source: the config's data set.

    Raises:
        UserError: anything that the config asks for and that cannot be had.
    """
    augment = of_kind(instantiate(cfg.augment), Augment, cfg.augment, "augment")
    data = build_data(cfg, augment, source)
    data.transforms = build_transforms(cfg.get("transforms"), data.image_size, source.has_masks)
    data.mix = build_mix(cfg.get("mix"), len(data.label_space), source.has_masks)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    metadata = {
        "config": plain,
        "label_space": data.label_space.to_dict(),
        "image_size": list(data.image_size),
        "normalization": {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)},
    }
    compiled = CompileCallback(cfg.trainer.get("compile", False))
    task = build_task(cfg, data.source, metadata, data.image_size)
    with values_named(cfg.model, "model"):  # some values are used in the first forward pass alone
        check_image_size(task.network, data.image_size)
    if data.mix is not None or data.source.soft_labels(data.source.samples("train")) is not None:
        _check_takes_probabilities(task.loss, len(data.label_space))
    regime = _build_regime(cfg)
    regime.check(task.network)
    _check_sizes(regime, task.network, data.image_size)
    _try_optimizers(cfg, regime, task.network)
    return Experiment(data.source, data, task, regime, Stopwatch(), compiled)


def _build_regime(cfg: DictConfig) -> PhaseSchedule:
    node = with_choices(cfg.regime)
    parts = {group: instantiate(cfg[group]) for group in ("optimizer", "scheduler")}
    for group, part in parts.items():
        if not callable(part):  # without `_target_`
            raise UserError(f"{group}: _target_ is missing; it names the class or function that makes the {group}")
    if node.get("_target_") is None:
        raise UserError("regime: _target_ is missing; it names the class that runs the phases")
    return of_kind(instantiate(node, **parts, seed=cfg.seed), PhaseSchedule, node, "regime")


def _try_optimizers(cfg: DictConfig, regime: PhaseSchedule, network: nn.Module) -> None:
    """Build the optimizer and schedule of each phase once: what they do not take is said before photos are read."""
    for phase in regime.phases:
        with values_named(cfg.optimizer, "optimizer"):
            optimizer = regime.build_optimizer(phase, network)
        with values_named(cfg.scheduler, "scheduler"):
            build_schedule(phase.scheduler or regime.scheduler, optimizer, Horizon(phase.epochs, 2))


def _check_sizes(regime: PhaseSchedule, network: nn.Module, size: tuple[int, int]) -> None:
    for phase in regime.phases:
        if phase.image_size is None:
            continue
        if phase.image_size[0] > size[0] or phase.image_size[1] > size[1]:
            raise UserError(
                f"phase '{phase.name}': image_size {list(phase.image_size)} is larger than the run's, {list(size)}, "
                "which its photos are read at"
            )
        try:
            check_image_size(network, phase.image_size)
        except UserError as error:
            raise UserError(f"phase '{phase.name}': {error}") from None


def build_data(cfg: DictConfig, augment: Augment, source: DataSource | None = None) -> StreetData:
    """The config's data set in batches, its training images augmented so.

    Args:
        source: the data set, where it has been opened already.
    """
    size, batch_size, workers = loading_numbers(cfg)  # before the data set, which may be drawn only now
    source = source or of_kind(instantiate(cfg.dataset), DataSource, cfg.dataset, "dataset")
    return StreetData(source, augment, size, batch_size, num_workers=workers, seed=cfg.seed)


def loading_numbers(cfg: DictConfig) -> tuple[tuple[int, int], int, int]:
    """The size of images, of batches and the number of workers, each checked."""
    return image_size(cfg), written_batch_size(cfg.batch_size), checked_workers(cfg.num_workers)


def build_task(
    cfg: DictConfig, source: DataSource, metadata: dict[str, Any], image_size: tuple[int, int] | None = None
) -> StreetTask:
    """The config's network for the classes of a data set, and what it is trained and tested for.

    Args:
        metadata: what checkpoints carry. A network that is fitted to an image size notes there how it was, a loss
            whose class weights follow from the training photos how many there are.
        image_size: what a network that can be fitted to one is fitted to; None where it was, see `build_network`.
    """
    network, fitted = build_network(cfg.model, source.label_space, image_size)
    if fitted:
        metadata = {**metadata, "config": {**metadata["config"], "model": {**metadata["config"]["model"], **fitted}}}
    _check_task(network, source)
    if cfg.trainer.get("channels_last", False):
        network = network.to(memory_format=torch.channels_last)
    if check_checkpointing(cfg.trainer.get("checkpointing", False)):
        checkpoint_blocks(network)
    space = source.label_space
    loss = _build_loss(cfg, space)
    weighted = [part for part in loss.modules() if isinstance(part, ClassWeighted) and part.rule is not None]
    if weighted and _PHOTOS_PER_CLASS not in metadata:  # a trained network is evaluated on other photos
        metadata = {**metadata, _PHOTOS_PER_CLASS: _photos_per_class(source)}
    for part in weighted:
        part.weigh(metadata[_PHOTOS_PER_CLASS])
    added = build_metrics(cfg.get("metrics"), space)
    build = instantiate(cfg.task)
    if not callable(build):
        raise UserError("task: _target_ is missing; it names the class that is trained and tested")
    with values_named(cfg.task, "task"):
        task = build(network=network, label_space=space, loss=loss, metadata=metadata, added=added)
    return of_kind(task, StreetTask, cfg.task, "task")


def _build_loss(cfg: DictConfig, label_space: LabelSpace) -> nn.Module:
    """The config's loss; one of another package learns the number of classes and the label that counts for nothing."""
    offered = {"num_classes": len(label_space)}
    if label_space.spec.per_pixel:
        offered["ignore_index"] = IGNORE_INDEX
    return of_kind(instantiate_with(cfg.loss, **offered), nn.Module, cfg.loss, "loss")


def _photos_per_class(source: DataSource) -> list[int]:
    if source.has_masks:
        raise UserError(
            "loss.class_weights: the rules count photos, and this data set has masks; give a list of numbers"
        )
    labels = [sample.label for sample in source.samples("train")]
    counts = [labels.count(label) for label in range(len(source.label_space))]
    if 0 in counts:
        raise UserError(f"loss.class_weights: train has no photo of {source.label_space.names[counts.index(0)]}")
    return counts


def _check_takes_probabilities(loss: nn.Module, classes: int) -> None:
    logits = torch.zeros(2, classes)
    try:
        loss(logits, logits.softmax(dim=1))
    except Exception as error:
        raise UserError(
            f"loss: {type(loss).__name__} does not take probabilities (B, {classes}) for labels, which mix and "
            f"soft_labels need ({first_line(error)}); loss=cross_entropy does"
        ) from error


def _check_task(network: nn.Module, source: DataSource) -> None:
    """A network for pixels does not train on labels of whole photos, nor the other way round."""
    needed = source.label_space.spec
    gives = as_network(network).task
    if gives != needed.name:
        raise UserError(
            f"model: {type(network).__name__} gives {TASKS[gives].labels}, data set {source.name} has {needed.labels}; "
            f"choose model={needed.networks}"
        )


def build_loggers(cfg: DictConfig, record_logger: RecordLogger) -> list[Any]:
    """metrics.csv always and first, and whatever the logger group adds.

    Raises:
        UserError: a logger's package is not installed.
    """
    added = []
    for name, node in ((name, node) for name, node in cfg.logger.items() if node):
        # Lightning's own loggers, and others' that are given by `_target_`, know nothing of the record
        check_node(node, f"logger.{name}")
        arguments = signature_of(locate(node["_target_"])) if "_target_" in node else None
        takes_it = arguments is not None and "record_logger" in arguments.names
        try:
            made = instantiate(node, record_logger=record_logger) if takes_it else instantiate(node)
            added.append(of_kind(made, Logger, node, f"logger.{name}"))
        except ModuleNotFoundError as error:
            raise UserError(
                f"logger.{name}: a package is missing for {node['_target_']} ({first_line(error)})"
            ) from error
    return [record_logger, *added]


def build_callbacks(
    cfg: DictConfig, experiment: Experiment, checkpoints: Path, further: Sequence[pl.Callback] = ()
) -> list[pl.Callback]:
    """The regime first, since others ask it for the phase; checkpoints last, since they save what others did."""
    task = experiment.task
    best = pl.callbacks.ModelCheckpoint(
        checkpoints, filename="best", monitor=task.monitor, mode=task.objective["mode"], save_top_k=1,
        save_on_train_epoch_end=True, enable_version_counter=False, auto_insert_metric_name=False,
    )  # fmt: skip
    last = pl.callbacks.ModelCheckpoint(
        checkpoints, filename="last", save_on_train_epoch_end=True, enable_version_counter=False,
        auto_insert_metric_name=False,
    )  # fmt: skip
    configured = []
    for name, node in ((name, node) for name, node in cfg.callbacks.items() if node):
        check_node(node, f"callbacks.{name}")
        configured.append(of_kind(instantiate(node), pl.Callback, node, f"callbacks.{name}"))
    return [experiment.regime, experiment.compiled, *further, experiment.stopwatch, *configured, best, last]


def image_size(cfg: DictConfig) -> tuple[int, int]:
    """Height and width, each at least 32."""
    size = list(cfg.image_size)
    if len(size) != 2 or not all(isinstance(side, int) and side >= 32 for side in size):
        raise UserError(f"image_size: {size} is not [height, width] of at least 32 each")
    return size[0], size[1]


def with_choices(regime: DictConfig) -> DictConfig:
    """The regime with names of optimizers and schedulers in its phases replaced by what those groups hold."""
    regime = OmegaConf.create({"regime": OmegaConf.to_container(regime, resolve=True)}).regime  # knows its key
    phases = regime.get("phases")
    for phase in phases if isinstance(phases, ListConfig) else ():
        for group in ("optimizer", "scheduler"):
            if isinstance(phase, DictConfig) and isinstance(phase.get(group), str):
                phase[group] = group_choice(group, phase[group], f"regime.phases.{phase.get('name')}.{group}")
    return regime


def group_choice(group: str, name: str, key: str) -> Mapping[str, Any]:
    """The config that `group=name` would bring, from the folders that this command line searches.

    Raises:
        UserError: no such choice; `key` is where it was asked for.
    """
    folders = [config_folder()]
    if HydraConfig.initialized():
        sources = HydraConfig.get().runtime.config_sources
        folders = [Path(source.path) for source in sources if source.schema == "file"]
    for folder in folders:
        file = folder / group / f"{name}.yaml"
        if file.is_file():
            return OmegaConf.load(file)  # type: ignore[return-value]
    choices = sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})
    raise UserError(f"{key}: no {group} '{name}' ({', '.join(choices)}){did_you_mean(name, choices)}")
