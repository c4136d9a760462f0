"""Load a network onto a device from a run, a checkpoint or an exported file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from streetlab.checkpoints.load_network import rebuild_network
from streetlab.checkpoints.metadata import read_metadata
from streetlab.checkpoints.read import TrainedWeights, find_checkpoint, read_weights
from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.training_domain import TrainingDomain
from streetlab.errors import UserError
from streetlab.inference.exported import ExportedNetwork, runs_on
from streetlab.inference.hardware import choose_device, choose_precision, fitting
from streetlab.records.locate import locate_run, make_importable
from streetlab.records.record import RunRecord
from streetlab.training.run_request import fitted_temperature


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A trained network in eval mode on its device, and what is known of it; `Predictor` says what each part is."""

    network: nn.Module
    name: str
    label_space: LabelSpace
    image_size: tuple[int, int]
    path: Path
    sha256: str
    epoch: int
    temperature: float | None
    device: torch.device
    precision: str
    data_set: str | None = None
    domain: TrainingDomain | None = None
    tested_with: str = ""


def load_run(run: RunRecord | Path | str, checkpoint: str, device: str, precision: str) -> LoadedModel:
    """The network of a run; see `Predictor.from_run`."""
    record = run if isinstance(run, RunRecord) else locate_run(str(run))
    make_importable(record)
    weights = read_weights(find_checkpoint(record, checkpoint))
    own = weights.belong_to(record)
    temperature = fitted_temperature(record, weights)
    recorded = record.known_status.get("precision") if own else None
    return _loaded(weights, record.name, device, precision, own, temperature, recorded)


def load_checkpoint(path: Path, device: str, precision: str) -> LoadedModel:
    """The network of a checkpoint alone; see `Predictor.from_checkpoint`."""
    file = path.expanduser()
    if not file.is_file():
        raise UserError(f"checkpoint: no file {file}")
    name = file.resolve().parents[1].name if file.resolve().parent.name == "checkpoints" else file.stem
    return _loaded(read_weights(file), name, device, precision, trusted=False, temperature=None, recorded=None)


def load_export(path: Path, device: str, precision: str) -> LoadedModel:
    """The model of an exported file; see `Predictor.from_export`."""
    file = path.expanduser()
    chosen = choose_device(device)
    if device == "auto" and not runs_on(file, chosen):
        chosen = torch.device("cpu")
    with fitting(f"the weights of {file}", chosen):
        network = ExportedNetwork.open(file, chosen)
    metadata = network.metadata
    if precision not in ("auto", metadata.precision):
        raise UserError(f"precision: {file} computes in {metadata.precision}; leave precision={precision} out")
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return LoadedModel(
        network.eval(), metadata.name, metadata.label_space, metadata.image_size, file, sha256, metadata.epoch,
        metadata.temperature, chosen, metadata.precision, metadata.data_set, metadata.domain,
    )  # fmt: skip


def _loaded(
    weights: TrainedWeights, name: str, device: str, precision: str, trusted: bool, temperature: float | None,
    recorded: str | None,
) -> LoadedModel:  # fmt: skip
    chosen = choose_device(device)
    metadata = read_metadata(weights)
    computed_in = choose_precision(precision, recorded or metadata.precision, chosen)
    network = rebuild_network(weights, trusted=trusted)
    with fitting(f"the weights of {weights.path}", chosen):
        network = network.to(chosen)
    return LoadedModel(
        network, name, metadata.label_space, metadata.image_size, weights.path, weights.sha256, weights.epoch,
        temperature, chosen, computed_in, metadata.data_set, metadata.domain, metadata.tested_with,
    )  # fmt: skip
