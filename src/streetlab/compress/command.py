"""`streetlab compress`: prune the channels of a finished run's network and fine-tune it as a new run."""

from __future__ import annotations

import copy
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig

from streetlab.checkpoints.write import write_checkpoint
from streetlab.compress.gradients import accumulate_gradients
from streetlab.compress.measure import cost, latency, quality, shown
from streetlab.compress.options import Options, about_photos, read_options
from streetlab.compress.prune import prune, torch_pruning
from streetlab.compress.recipe import pruned_model, rebuilt, tuned_config
from streetlab.compress.report import REPORT, print_report, read_report, write_report
from streetlab.config import bind, instantiate, plain
from streetlab.config.recorded import recorded_config
from streetlab.datasets.manifest import Manifest
from streetlab.datasets.source import DataSource
from streetlab.errors import UserError
from streetlab.io import files
from streetlab.io.filenames import one_line
from streetlab.records.identity import identify
from streetlab.records.record import now
from streetlab.records.resume import opened_record
from streetlab.training.build import build_experiment
from streetlab.training.evaluate_splits import evaluate_best
from streetlab.training.provenance import provenance
from streetlab.training.rebuild import as_built, rebuild
from streetlab.training.run_log import run_log
from streetlab.training.session import RunSession
from streetlab.training.terminal import quiet_lightning
from streetlab.training.train import RUNTIME_ARGS, train

START = "pruned.ckpt"
"""The checkpoint that training goes on from, among the new run's."""


def run(cfg: DictConfig) -> None:
    """Entry point of the command; conf/compress.yaml says what the keys are for. The last line is the run's path.

    Raises:
        UserError: see `options.read_options`, `prune.prune` and `training.train`; or the output holds something else.
    """
    options = read_options(cfg)
    torch_pruning()
    source: DataSource = instantiate(options.config.dataset)
    photos = source.manifest()
    options = about_photos(options, photos)
    record = options.output
    report = _found(options)
    if report is not None and "tuned" in report["quality"]:
        print(one_line(f"already completed, skipped: {record.path}"))
        return
    with quiet_lightning():
        report = report or _begin(options, photos)
        if record.state != "completed":
            _go_on(options, source)
    report["after"]["checkpoint_bytes"] = record.model["checkpoint_bytes"]
    report["quality"]["tuned"] = shown(report["metrics"], record.metrics)
    write_report(record, report)
    print_report(report)
    print(one_line(str(record.path)))


def _found(options: Options) -> dict[str, Any] | None:
    """The report that an earlier call of the same command began; None where there is nothing to go on from.

    Raises:
        UserError: the folder holds something else, or is being written.
    """
    record, asked = options.output, options.about()
    if not record.path.exists() or (record.path.is_dir() and not any(record.path.iterdir())):
        return None
    there = record.known_status.get("compressed")
    # the run may have been moved
    if there is None or {**there, "run": None} != {**asked, "run": None}:
        what = "is not empty and holds no compressed run" if there is None else "holds a run compressed in another way"
        raise UserError(f"output: {record.path} {what}; give another with output=DIR")
    begun = all(path.is_file() for path in (record.path / REPORT, record.checkpoints / START))
    return read_report(record) if begun else None


def _begin(options: Options, photos: Manifest) -> dict[str, Any]:
    """Test the run's network, prune it, test and time what is left, and open the new record with it."""
    config, record, run = as_built(options.config, options.weights), options.output, options.run
    if "checkpointing" in config.trainer:
        config.trainer.checkpointing = False  # only training needs it, and what it wraps could not be traced
    task, data = rebuild(config, options.weights)
    data.open(data.splits[1:])
    size, classes = data.image_size, len(data.label_space)
    device = _device(config)
    print(one_line(f"testing {run.path} before"))
    quality_before = quality(config, task, data, record)
    original = copy.deepcopy(task.network).to(device).eval()
    if options.pruning.importance == "taylor":
        accumulate_gradients(task, data, device)
    channels = prune(task.network.to(device), classes, size, options.pruning)
    model = pruned_model(plain(config.model), channels, options.pruning)
    narrow = rebuilt(model, task.network, classes, bool(config.trainer.get("channels_last", False)))
    task.network = narrow
    print(f"{len(channels)} layers pruned; testing what is left")
    quality_pruned = quality(config, task, data, record)
    state = task.state_dict()
    times = latency(original, narrow, size, device)
    report = {
        "compressed": options.about(),
        "image_size": list(size),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "layers": len(channels),
        "metrics": list(task.metrics),
        "before": cost(original, size)
        | {"checkpoint_bytes": options.weights.path.stat().st_size, "latency_ms": times["before"]},
        "after": cost(narrow, size) | {"latency_ms": times["after"]},
        "quality": {"before": quality_before, "pruned": quality_pruned},
    }
    new = tuned_config(options, model, str(record.checkpoints / START))
    record.write_status(state="running", started=now(), compressed=options.about(), **provenance())
    record.write_photos(photos)
    record.write_config(new, options.words)
    metadata = options.weights.metadata | {"config": new}
    write_checkpoint(record.checkpoints / START, state, metadata)
    write_report(record, report)
    return report


def _go_on(options: Options, source: DataSource) -> None:
    """Train the new record's network, from where it stopped, and complete the record."""
    config = recorded_config(options.output.config, []).config
    bind(config, RUNTIME_ARGS)
    identity = identify(plain(config), source)
    with opened_record(options.output.path, identity, "auto") as (record, checkpoint), run_log() as log:
        session = RunSession(record, checkpoint, identity, log, options.words, options.choices)
        with session.running():
            if options.epochs:
                train(config, session, source)
            else:
                _evaluate_untrained(config, session, source)


def _evaluate_untrained(cfg: DictConfig, session: RunSession, source: DataSource) -> None:
    """Test the pruned network as it is, and write what a training would have left in the record."""
    record, experiment = session.record, build_experiment(cfg, session.config, source)
    experiment.data.setup()
    record.write_status(**experiment.source.split_record(experiment.data.samples))
    files.write_csv(record.path / "metrics.csv", [], ("epoch", "step", "phase"))
    for name in ("best.ckpt", "last.ckpt"):
        write_checkpoint(record.checkpoints / name, experiment.task.state_dict(), experiment.task.metadata)
    trainer: pl.Trainer = instantiate(cfg.trainer, root=record.path, enable_checkpointing=False)
    evaluate_best(trainer, experiment, record, phases=())


def _device(config: DictConfig) -> torch.device:
    """The GPU where there is one, unless the config asks for the CPU."""
    wanted = config.trainer.get("accelerator", "auto")
    return torch.device("cuda" if torch.cuda.is_available() and wanted != "cpu" else "cpu")
