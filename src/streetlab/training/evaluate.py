"""`streetlab evaluate`: test a run's checkpoint again, into a folder below the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig

from streetlab.config import instantiate, plain
from streetlab.config.options import CLOSED, OneOf, Says, command_options
from streetlab.config.quoting import quote_paths
from streetlab.config.recorded import RecordedConfig
from streetlab.config.run_names import config_hash, matches, run_name
from streetlab.datasets.manifest import Manifest
from streetlab.errors import UserError, was_interrupted
from streetlab.io.filenames import one_line
from streetlab.loading.datamodule import StreetData
from streetlab.metrics.expected_precision import Prior, read_prior
from streetlab.networks.cost import describe
from streetlab.records.identity import has_photos, other_photos, unique_hash
from streetlab.records.locate import locate_run
from streetlab.records.record import RunRecord, now
from streetlab.training.elsewhere import TESTABLE, names_other_data, tested_splits, tests_everything
from streetlab.training.evaluate_splits import evaluate_splits, summarize
from streetlab.training.provenance import provenance
from streetlab.training.rebuild import rebuild
from streetlab.training.rendezvous import check_size
from streetlab.training.run_request import OverrideKeys, RunRequest, read_run_request
from streetlab.training.terminal import print_summary, quiet_lightning

TESTED = ("dataset", "model", "task", "loss", "metrics", "trainer", "image_size", "batch_size", "num_workers")
"""The parts of a run's config that an evaluation is made of."""
TRAINED_ONLY = (
    "model.weights",
    "task.aux_weight",
    "trainer.accumulate_grad_batches",
    "trainer.checkpointing",
    "trainer.compile",
    "trainer.gradient_clip_val",
    "trainer.limit_train_batches",
    "trainer.log_every_n_steps",
)
"""What decides in those parts how a run trains, and nothing else."""


@pydantic.dataclasses.dataclass(frozen=True, config=CLOSED)
class Keys(OverrideKeys):
    """The keys of conf/evaluate.yaml, which says what each is for."""

    split: Annotated[
        Annotated[str, OneOf(TESTABLE)] | None,
        Says(f"one of {', '.join(TESTABLE)}, or null for val and test", TESTABLE),
    ]
    prior: Any


@dataclass(frozen=True, eq=False)
class EvaluateRequest(RunRequest):
    """Request to test a run, and the record that its result goes into.

    Attributes:
        state: the run's.
        split: train, val, test or all; None: val and test, or all of a tree from elsewhere without split folders.
        other_data: the words name other data than the run's and leave their splits open.
        names_limit: the words say how much of a split is tested.
        precision: what the Trainer computes in; None: what the config says.
        prior: the share of a class at which its precision is asked for.
        name: made of the words and the config.
        answer: the record to write, unless it is of other photos or weights.
    """

    state: str
    split: str | None
    other_data: bool
    names_limit: bool
    precision: str | None
    prior: Prior | None
    name: str
    answer: RunRecord


def run(cfg: DictConfig) -> None:
    """Entry point of the command; `cfg` is conf/evaluate.yaml composed."""
    record, metrics = perform(cfg)
    if metrics:
        print_summary(record, metrics, f"epoch {metrics['best_epoch']} of {locate_run(str(cfg.run)).name}")


def perform(cfg: DictConfig) -> tuple[RunRecord, dict[str, Any]]:
    """Test as the config asks; returns what `evaluate` does."""
    request = read_request(cfg)
    with quiet_lightning():
        return evaluate(request)


def read_request(cfg: DictConfig) -> EvaluateRequest:
    """Everything that can be wrong before data is touched.

    Raises:
        UserError: no such run, checkpoint or split; an override that does not fit the run's config or changes
            nothing; a prior that is no share of a class.
    """
    keys = command_options(Keys, cfg)
    base = read_run_request(keys, "evaluate", lambda _, recorded: refuse_without_effect(recorded))
    run, status = base.run, base.run.known_status
    precision = _precision(base, status)  # before the config names the answer
    prior = read_prior(cfg.prior, base.weights.label_space)
    asked = {"checkpoint": keys.checkpoint, "split": keys.split}
    if prior is not None:
        asked["prior"] = f"{{{prior.name}: {prior.share:g}}}"
    own_words = quote_paths([f"{key}={value}" for key, value in asked.items() if value not in ("best", None)])
    words = [*base.words, *own_words]
    name = run_name(words, plain(base.config) | asked, keep=[word.partition("=")[0] for word in words])
    return EvaluateRequest(
        **vars(base) | {"words": words},
        state=str(status.get("state", "unknown")),
        split=keys.split,
        other_data=names_other_data(base.changed),
        names_limit=any(key in ("trainer", "trainer.limit_test_batches") for key in base.changed),
        precision=precision,
        prior=prior,
        name=name,
        answer=RunRecord(keys.output or run.path / "evaluate" / name),
    )


def refuse_without_effect(
    recorded: RecordedConfig, parts: Sequence[str] = TESTED, answer: str = "an evaluation"
) -> None:
    """Refuse a key without effect: its result would be filed as another.

    Raises:
        UserError: a word is about none of the `parts` of a config that its result follows from.
    """
    for key in recorded.keys:
        if key == "data" and "dataset" in recorded.choices:
            continue  # the data set that is chosen anew lies there
        if not matches(key, parts) or matches(key, TRAINED_ONLY):
            raise UserError(f"{key}: has no part in {answer}; what has: {', '.join(parts)}")


def _precision(request: RunRequest, status: Mapping[str, Any]) -> str | None:
    """Keep the run's precision, unless another is asked for: other hardware is no reason to compute other numbers.

    The config says what was asked of the run, also where another `trainer` is chosen; what `auto` came to stands
    in the run's status.
    """
    trainer, own = request.config.trainer, request.run.config
    if "trainer.precision" in request.changed or "precision" not in trainer or "precision" not in own["trainer"]:
        return None
    trainer.precision = own["trainer"]["precision"]
    return status.get("precision")


def evaluate(request: EvaluateRequest) -> tuple[RunRecord, dict[str, Any]]:
    """Test the splits and write the results.

    Returns:
        the record that was written, and what its metrics.json holds; nothing in processes other than the first.

    Raises:
        UserError: the data set cannot be read or has other classes; the folder holds something else.
    """
    weights = request.weights
    check_size(request.config.trainer)
    options: dict[str, Any] = {"precision": request.precision} if request.precision else {}
    everything = tests_everything(request.split, request.other_data, request.config, weights.label_space, request.run)
    if everything and not request.names_limit:
        options |= {"limit_test_batches": 1.0}  # a part was enough to debug the training
    trainer: pl.Trainer = instantiate(request.config.trainer, enable_checkpointing=False, **options)
    task, data = rebuild(request.config, weights, everything)
    splits = ("test",) if everything else _splits(request.split, data)
    photos = data.source.manifest()
    answer = _answer(request, photos)
    data.open(splits)
    evaluated = {
        "run": str(request.run.path.resolve()),
        "state": request.state,
        "checkpoint": str(weights.path.resolve()),
        "sha256": weights.sha256,
        "epoch": weights.epoch,
        "splits": list(splits),
        "everything": everything,
        "precision": trainer.precision,
        "name": request.name,
    }
    if trainer.is_global_zero:
        if everything:
            print(f"tested are all {len(data.samples('test'))} images of {data.source.name}, whatever their split")
        if request.own_data and (note := other_photos(request.run, photos, everything)) is not None:
            print(one_line(note))
        _open(request, answer, evaluated, data, trainer)
        answer.write_status(data_hash=photos.data_hash, photos_hash=photos.photos_hash)
    try:
        report, numbers = evaluate_splits(trainer, task, data, answer, splits)
        if request.split is None and not everything:
            report.predict_withheld()
        if not trainer.is_global_zero:
            return answer, {}
        report.conclude(numbers, splits[-1], request.temperature, request.prior)
        metrics = summarize(task, numbers, splits[-1], weights.epoch, evaluated=evaluated)
        answer.write_metrics(metrics)
        cost = describe(task.network, data.image_size)
        answer.write_model(cost | {"checkpoint_bytes": weights.path.stat().st_size})
        report.write(metrics)
    except BaseException as error:
        interrupted = isinstance(error, SystemExit) or was_interrupted(error)  # Lightning exits after Ctrl-C
        if trainer.is_global_zero:
            answer.write_end("interrupted" if interrupted else "failed", "interrupted" if interrupted else error)
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    answer.write_end("completed")
    return answer, metrics


def _answer(request: EvaluateRequest, photos: Manifest) -> RunRecord:
    """The answer's record; where that is about other photos or weights, another one beside it.

    Raises:
        UserError: the folder was chosen, and holds such an answer.
    """
    answer, sha256 = request.answer, request.weights.sha256
    earlier = answer.known_status.get("evaluated") or {}
    if has_photos(answer, photos) and earlier.get("sha256", sha256) == sha256:
        return answer
    if answer.path.parent != request.run.path / "evaluate":
        raise UserError(f"output: {answer.path} holds a test of other photos or weights; give another with output=DIR")
    return RunRecord(answer.path.with_name(f"{answer.path.name}-{unique_hash(photos, sha256)}"))


def _splits(asked: str | None, data: StreetData) -> tuple[str, ...]:
    return tested_splits(data.source, data.splits[1:] if asked is None else (data.labelled_split(asked),))


def _open(
    request: EvaluateRequest, answer: RunRecord, evaluated: Mapping[str, Any], data: StreetData, trainer: pl.Trainer
) -> None:
    """Begin the record: one of the same request is replaced, anything else is in the way."""
    if answer.path.exists() and (not answer.path.is_dir() or any(answer.path.iterdir())):
        there = answer.known_status.get("evaluated")
        if there is None or there["name"] != request.name:
            what = "holds no evaluation" if there is None else f"holds another evaluation ({there['name']})"
            raise UserError(f"output: {answer.path} {what}; give another with output=DIR")
    config = plain(request.config)
    answer.write_config(config, request.words)
    device = trainer.strategy.root_device
    answer.write_status(
        state="running", started=now(), ended=None, error=None, traceback=None, config_hash=config_hash(config),
        choices=request.choices, evaluated=evaluated, **data.source.split_record(data.samples),
        **provenance() | {"device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type},
    )  # fmt: skip
    if request.state != "completed":
        line = f"{request.run.path} is {request.state}: tested is its epoch {evaluated['epoch']}"
        print(one_line(line))
