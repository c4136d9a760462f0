"""`streetlab explain`: show and score where in its photos a run's network finds its evidence."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from streetlab.datasets.task_spec import CLASSIFICATION, SEGMENTATION
from streetlab.explain.classification import explain_classifier
from streetlab.explain.figures import score_figures
from streetlab.explain.page import Gallery, gallery_page
from streetlab.explain.request import NUMBERS, PAGE, ExplainRequest, about_photos, read_request
from streetlab.explain.result import ExplainResult
from streetlab.explain.segmentation import explain_segmenter
from streetlab.explain.summary_text import sentences
from streetlab.io import files
from streetlab.io.filenames import one_line
from streetlab.loading.datamodule import StreetData
from streetlab.networks.cam import find_layer, is_guessed
from streetlab.training.elsewhere import tested_splits, tests_everything
from streetlab.training.rebuild import rebuild
from streetlab.training.terminal import quiet_lightning


@dataclass(frozen=True, eq=False)
class Explanation:
    """The files of an explanation, and what they say.

    Attributes:
        page: the gallery; maps.npz, metrics.json and the panels lie beside it.
        metrics: what metrics.json holds: scores, what was explained, seconds.
        sentences: notes on the selection and what the scores say.
    """

    page: Path
    metrics: dict[str, Any]
    sentences: tuple[str, ...]


EXPLAINERS: dict[str, Any] = {CLASSIFICATION: explain_classifier, SEGMENTATION: explain_segmenter}


def run(cfg: DictConfig) -> None:
    """Entry point of the command; conf/explain.yaml says what the keys are for. The last line is the page's path.

    Raises:
        UserError: see `request.read_request`, `classification.explain_classifier` and
            `segmentation.explain_segmenter`; or the answer cannot be written.
    """
    explanation = perform(cfg)
    console = Console()
    for line in explanation.sentences:
        console.print(Text(line), soft_wrap=True)
    print(one_line(str(explanation.page)))


def perform(cfg: DictConfig) -> Explanation:
    """Explain as the config asks."""
    request = read_request(cfg)
    with quiet_lightning():
        return explain(request)


def explain(request: ExplainRequest) -> Explanation:
    """Write all results."""
    started = time.perf_counter()
    asked = None if request.other_data else request.split
    everything = tests_everything(asked, request.other_data, request.config, request.space, request.run)
    task, data = rebuild(request.config, request.weights, everything)
    request = replace(request, split=_split(asked, data, everything))
    request = about_photos(request, data.source.manifest(), everything)
    layer = find_layer(task.network, request.layer)
    guessed = []
    if request.layer is None and is_guessed(task.network):
        owner = type(task.network).__name__
        guessed = [f"{owner} declares no cam_layer: maps are of its last convolution, {layer}; layer= names another."]
    data.open((request.split,))
    device = _device(request.config)
    task.to(device).eval()
    answer: ExplainResult = EXPLAINERS[task.task](request, task, data, device)
    said = sentences(answer.scores)
    metrics = {
        "explained": request.about() | {"layer": layer, "dataset": data.source.name},
        "state": "completed",
        "image_size": list(data.image_size),
        "scale": answer.scale,
        **answer.numbers,
        "scores": answer.scores,
        "seconds": answer.seconds | {"all": round(time.perf_counter() - started, 2)},
    }
    files.write_json(request.output / NUMBERS, metrics)
    gallery = Gallery(
        title="What the network looks at",
        notes=[
            request.run.name,
            _how(request, layer, data, device),
            *guessed,
            *answer.notes,
            _scale_note(answer.scale),
        ],
        space=request.space,
        scale=answer.scale,
        cards=answer.cards,
        sentences=said,
        figures=score_figures(answer.scores),
        pairs=answer.pairs,
    )
    files.write_text(request.output / PAGE, gallery_page(gallery))
    return Explanation(request.output / PAGE, metrics, (*guessed, *answer.notes, *said))


def _split(asked: str | None, data: StreetData, everything: bool) -> str:
    """The split whose photos are explained.

    Raises:
        UserError: the split has no labels or no photos.
    """
    if everything:
        return "test"
    if asked is None:
        return tested_splits(data.source, data.splits[1:])[-1]
    return data.labelled_split(asked)


def _device(config: DictConfig) -> torch.device:
    """The GPU where there is one, unless the config asks for the CPU; maps are made in float32 on either."""
    wanted = config.trainer.get("accelerator", "auto")
    return torch.device("cuda" if torch.cuda.is_available() and wanted != "cpu" else "cpu")


def _how(request: ExplainRequest, layer: str, data: StreetData, device: torch.device) -> str:
    height, width = data.image_size
    return (
        f"{data.source.name}, {request.split}, epoch {request.weights.epoch}: {request.method} at {layer}, "
        f"photos at {height} × {width} pixels."
    )


def _scale_note(scale: float) -> str:
    return (
        f"All maps are divided by one number, {scale:.3g}, the 99.5th percentile of those shown first: a pale map "
        "means little evidence, in any photo. The raw values are in maps.npz."
    )
