"""Describe a model for the page: from its run's record, an exported file, or a checkpoint alone."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streetlab.app.models.naming import network_name, variant_name
from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.names import data_set_name, training_data_name
from streetlab.errors import UserError
from streetlab.inference.export_metadata import ONNX, read_model_metadata, report_of
from streetlab.io.filenames import encodable
from streetlab.plots.figure import hex_color
from streetlab.records.record import RunRecord

if TYPE_CHECKING:
    from streetlab.inference.predictor import Predictor

_ID_LENGTH = 16


@dataclass(frozen=True, eq=False)
class Entry:
    """One model on disk.

    Attributes:
        path: its checkpoint or exported file.
        run: its record; None for a file without one.
        label_space: its classes.
        seed: of the run, where known.
        plain: its entry in `/api/models`.
    """

    path: Path
    run: RunRecord | None
    label_space: LabelSpace
    seed: Any
    plain: dict[str, Any]


def run_entry(checkpoint: Path, run: RunRecord) -> Entry:
    """Describe a completed run.

    Raises:
        UserError: a file of the record is missing or damaged.
        AttributeError, KeyError, TypeError, ValueError: it holds values of the wrong type.
    """
    status, metrics, config = run.status, run.metrics, run.config
    label_space = LabelSpace.from_dict(metrics["label_space"])
    split = str(metrics.get("eval_split") or "test")
    numbers = {key: value for key, value in metrics[split].items() if _is_number(value)}
    objective = metrics["objective"]["metric"]
    experiment = (status.get("choices") or {}).get("experiment") or _experiment(run)
    variant, data_set = variant_name(experiment), data_set_name(config["dataset"]["name"])
    title = f"{variant or network_name(config['model'])} on {data_set}"
    plain = _plain(
        id=_model_id(checkpoint), name=run.name, title=title, variant=variant, data_set=data_set,
        image_size=list(config["image_size"]), label_space=label_space, objective=objective,
        score=numbers.get(objective), metrics=numbers, split=split, cost=_cost(run), ended=status.get("ended"),
        calibrated=numbers.get("temperature") is not None, trained_on=training_data_name(config["dataset"]["name"]),
    )  # fmt: skip
    return Entry(checkpoint, run, label_space, config.get("seed"), plain)


def export_entry(file: Path, run: RunRecord | None) -> Entry:
    """Describe an exported file without loading it.

    Data set and title come from its run. The numbers come from the report beside the file if it holds a test, else
    from the run if the precision is the same.

    Raises:
        UserError, AttributeError, KeyError, TypeError, ValueError: as of `run_entry`; or the file is damaged.
    """
    metadata = read_model_metadata(file)
    made = f"{metadata.precision.upper()} {'ONNX' if file.suffix == ONNX else 'PyTorch'}"
    alone = _plain(
        id=_model_id(file), name=metadata.name, title=f"{metadata.name} · {made}", variant=None, data_set=None,
        image_size=list(metadata.image_size), label_space=metadata.label_space,
        cost={"checkpoint_bytes": file.stat().st_size}, calibrated=metadata.temperature is not None, activations=False,
        trained_on=None if metadata.data_set is None else training_data_name(metadata.data_set),
    )  # fmt: skip
    if run is None:
        return Entry(file, None, metadata.label_space, None, alone)
    trained = run_entry(run.checkpoints / "best.ckpt", run)
    kept = ("variant", "data_set", "trained_on", "objective", "parameters", "gmacs", "ended")
    plain = alone | {key: trained.plain[key] for key in kept} | {"title": f"{trained.plain['title']} · {made}"}
    split, numbers = _tested(file)
    if not numbers and metadata.precision == "fp32":
        split, numbers = trained.plain["split"], trained.plain["metrics"]
    plain |= {"split": split, "metrics": numbers, "score": numbers.get(plain["objective"])}
    return Entry(file, run, metadata.label_space, trained.seed, plain)


def checkpoint_entry(path: Path, predictor: Predictor) -> Entry:
    """Describe a checkpoint without a run; it has to be loaded for this."""
    plain = _plain(
        id=_model_id(path), name=predictor.name, title=predictor.name, variant=None, data_set=None,
        image_size=list(predictor.image_size), label_space=predictor.label_space,
        cost={"checkpoint_bytes": path.stat().st_size},
        trained_on=None if predictor.data_set is None else training_data_name(predictor.data_set),
    )  # fmt: skip
    return Entry(path, None, predictor.label_space, None, plain)


def _tested(file: Path) -> tuple[str | None, dict[str, float]]:
    """Split and numbers of the test in the report beside an exported file; empty without one."""
    try:
        quality = json.loads(report_of(file).read_text(encoding="utf-8"))["quality"]
        return str(quality["split"]), {key: value for key, value in quality["exported"].items() if _is_number(value)}
    except (OSError, AttributeError, KeyError, TypeError, ValueError):  # a file without its report can be shown
        return None, {}


def _plain(
    *, label_space: LabelSpace, cost: Mapping[str, Any], objective: str | None = None, score: float | None = None,
    metrics: Mapping[str, float] | None = None, split: str | None = None, ended: str | None = None,
    calibrated: bool = False, activations: bool = True, trained_on: str | None = None, **named: Any,
) -> dict[str, Any]:  # fmt: skip
    """An entry of `/api/models`; unknown values are null."""
    categories = label_space.categories or (None,) * len(label_space)
    criteria = label_space.criteria or (None,) * len(label_space)
    return {
        **{key: encodable(value) if isinstance(value, str) else value for key, value in named.items()},
        "task": label_space.task,
        "classes": [
            {"name": name, "color": hex_color(color), "category": category, "criterion": criterion}
            for name, color, category, criterion in zip(
                label_space.names, label_space.palette, categories, criteria, strict=True
            )
        ],
        "trained_on": trained_on,
        "label_space": label_space.name,
        "ordinal": label_space.ordinal,
        "objective": objective,
        "score": score,
        "metrics": dict(metrics or {}),
        "split": split,
        "parameters": cost.get("parameters"),
        "gmacs": cost.get("gmacs"),
        "checkpoint_bytes": cost.get("checkpoint_bytes"),
        "images_per_second": cost.get("images_per_second"),
        "ended": ended,
        "calibrated": calibrated,
        "activations": activations and not label_space.spec.per_pixel,
    }


def _experiment(run: RunRecord) -> str | None:
    """The preset of a record that keeps no choices, read from its overrides."""
    try:
        overrides = [word.partition("=") for word in run.overrides]
    except UserError:
        return None
    return next((value for key, _, value in reversed(overrides) if key.lstrip("+") == "experiment"), None)


def _cost(run: RunRecord) -> dict[str, Any]:
    try:
        return run.model
    except UserError:  # a run can be shown without what it costs
        return {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _model_id(file: Path) -> str:
    """A stable id that reveals no path: bookmarks may hold it and anyone may see it."""
    return hashlib.sha256(str(file).encode("utf-8", "surrogateescape")).hexdigest()[:_ID_LENGTH]
