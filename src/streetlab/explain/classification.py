"""Explain a classifier: select photos, compute the maps of their classes, draw panels, score the maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from streetlab.datasets.decode import UnreadablePhoto
from streetlab.datasets.source import Sample
from streetlab.explain.maps import MapStore, Wanted, as_images, make_maps
from streetlab.explain.page import Card, Layer, inline_heat, inline_photo
from streetlab.explain.panels import TALL, Tile, draw_panel, file_names, heat_tile, photo_for_panel
from streetlab.explain.request import ExplainRequest, begin_answer, rows_of
from streetlab.explain.result import ExplainResult, timed
from streetlab.explain.scores import score_classifier
from streetlab.explain.selection import WRONG_FIELDS, Pick, count_pairs, pick_photos, sample_positions, wrong_rows
from streetlab.io import files
from streetlab.loading.datamodule import StreetData
from streetlab.metrics.classification import confusion_counts
from streetlab.metrics.predictions import Predictions
from streetlab.networks.cam import class_activation
from streetlab.progress import track
from streetlab.tasks.base import StreetTask
from streetlab.training.report_classification import most_probable

Heat = Callable[[int], NDArray[np.float32]]
"""A photo's map (h, w) of 0 to 1, by class."""
ALL_SHOWN = 6
"""Up to so many classes, the maps of all are shown where nobody says whose."""


@dataclass(frozen=True, eq=False)
class Photos:
    """The photos of the split that is explained, in the order of the predictions.

    Args:
        data: where they are.
        split: the split.
        predictions: what is explained.
        rows: their places in the data set's split.
        samples: what the data set says of them.
    """

    data: StreetData
    split: str
    predictions: Predictions
    rows: Sequence[int]
    samples: Sequence[Sample]

    def pixels(self, position: int) -> NDArray[np.uint8]:
        """(H, W, 3) at the size that the network sees."""
        return self.data.cached_image(self.split, self.rows[position])

    def picture(self, position: int) -> Image.Image:
        """The photo in its own shape; what the cache holds of it, where its file is gone."""
        try:
            return self.data.source.read(self.samples[position], min_side=TALL)
        except UnreadablePhoto:
            return Image.fromarray(self.pixels(position))


def explain_classifier(
    request: ExplainRequest, task: StreetTask, data: StreetData, device: torch.device
) -> ExplainResult:
    """Write wrong.csv, panels and maps.npz; return the result.

    Raises:
        UserError: the run has no predictions of the split, or of photos that are not in the data set; the layer
            makes no map.
    """
    network, space, output = task.network, request.space, request.output
    photos = find_photos(request, task, data, device)
    predictions = photos.predictions
    begin_answer(request)
    files.write_csv(output / "wrong.csv", wrong_rows(predictions), WRONG_FIELDS)
    picks = pick_photos(predictions, request.n)
    shown = request.classes
    if shown is None:
        shown = list(range(len(space))) if len(space) <= ALL_SHOWN else []
    scored = sample_positions(len(predictions), request.scored_photos, request.seed) if request.scores else []
    evidence = {position: data.source.evidence(photos.samples[position]) for position in scored}
    wanted = {Wanted(pick.position, label): None for pick in picks for label in (pick.predicted, pick.true, *shown)}
    for position in scored:
        wanted[Wanted(position, int(predictions.predictions[position]))] = None
        if evidence[position] is not None:
            wanted[Wanted(position, int(predictions.labels[position]))] = None

    def activate(images: Tensor, batch: Sequence[Wanted]) -> Tensor:
        return class_activation(network, images, [item.label for item in batch], request.method, request.layer)

    with timed("maps") as seconds:
        store = MapStore([predictions.ids[pick.position] for pick in picks], space.names)
        place = {pick.position: i for i, pick in enumerate(picks)}
        full: dict[Wanted, NDArray[np.float32]] = {}
        batch_size = int(request.config.batch_size)
        for made in make_maps(photos.pixels, list(wanted), activate, batch_size, device):
            if made.wanted.photo in evidence:
                full[made.wanted] = made.values
            if made.wanted.photo in place:
                store.add(made._replace(wanted=made.wanted._replace(photo=place[made.wanted.photo])))
    scale = store.scale([Wanted(i, pick.predicted) for i, pick in enumerate(picks)])
    store.write(
        output / "maps.npz",
        data.image_size,
        true=np.array([pick.true for pick in picks]),
        predicted=np.array([pick.predicted for pick in picks]),
        scale=np.array(scale),
    )
    scores: dict[str, Any] = {}
    if scored:
        with timed("scores") as scoring:
            scores = score_classifier(request, network, predictions, scored, full, evidence, photos.pixels, device)
        seconds |= scoring
    with timed("panels") as drawing:
        cards = _draw(request, photos, picks, store, scale)
    counts = confusion_counts(predictions.labels, predictions.predictions, len(space))
    return ExplainResult(
        cards=cards,
        scale=scale,
        numbers={"n": len(predictions), "shown": len(picks), "pairs": count_pairs(predictions, picks)},
        scores=scores,
        seconds=seconds | drawing,
        notes=_notes(predictions, picks),
        pairs=counts,
    )


def find_photos(request: ExplainRequest, task: StreetTask, data: StreetData, device: torch.device) -> Photos:
    """The split's photos with the run's predictions, or with new ones where the record's are of something else."""
    split = request.split
    if request.recorded and split != "train":
        predictions = request.run.predictions(split)
    else:
        predictions = predict(task, data, split, int(request.config.batch_size), device)
    chosen = rows_of(request, data, predictions.ids, "predictions.csv", "photos")
    samples = data.samples(split)
    return Photos(data, split, predictions, chosen, [samples[row] for row in chosen])


@torch.inference_mode()
def predict(task: StreetTask, data: StreetData, split: str, batch_size: int, device: torch.device) -> Predictions:
    """The network's probabilities for every photo of the split, in float32."""
    samples = data.samples(split)
    network = task.network.eval()
    parts = []
    for start in track(range(0, len(samples), batch_size), f"predicting {split}, batches"):
        pixels = [data.cached_image(split, row) for row in range(start, min(start + batch_size, len(samples)))]
        parts.append(network(as_images(pixels, device)).float().softmax(dim=1).cpu())
    return most_probable(samples, torch.cat(parts).double().numpy(), data.label_space.names)


def _draw(request: ExplainRequest, photos: Photos, picks: Sequence[Pick], store: MapStore, scale: float) -> list[Card]:
    """Write a panel for each photo; return the gallery's cards."""
    names = file_names(request.space.names)
    cards = []
    for i, pick in enumerate(track(picks, "panels")):
        photo = photos.picture(pick.position)
        heat: Heat = partial(store.heat, i, scale=scale)
        panel = _panel(request, photos.predictions, pick, photo_for_panel(photo), store.labels(i), heat, scale)
        file = f"true-{names[pick.true]}-predicted-{names[pick.predicted]}-{pick.rank:03d}.jpg"
        files.write_bytes(request.output / pick.outcome / file, panel)
        cards.append(_card(request, photos.predictions, pick, photo, store.labels(i), heat))
    return cards


def _panel(
    request: ExplainRequest,
    predictions: Predictions,
    pick: Pick,
    photo: Image.Image,
    labels: Sequence[int],
    heat: Heat,
    scale: float,
) -> bytes:
    """JPEG bytes: the photo, the predicted class's map, the true one's where it is another, then the others'."""
    space = request.space
    roles = dict.fromkeys((pick.predicted, pick.true, *labels), "")
    roles |= {pick.true: "true ", pick.predicted: "predicted "}
    tiles = [Tile("photo", np.asarray(photo))] + [
        heat_tile(role + space.names[label], photo, heat(label), space.palette[label]) for label, role in roles.items()
    ]
    taken = f" taken for {space.names[pick.predicted]}" if pick.outcome == "wrong" else ""
    heading = f"{space.names[pick.true]}{taken}, {pick.confidence:.2f}"
    probabilities = predictions.probabilities[pick.position]
    return draw_panel(heading, predictions.ids[pick.position], tiles, scale, probabilities, space)


def _card(
    request: ExplainRequest,
    predictions: Predictions,
    pick: Pick,
    photo: Image.Image,
    labels: Sequence[int],
    heat: Heat,
) -> Card:
    """The photo on the page, the predicted class's map over it."""
    first = sorted(labels, key=lambda label: (label != pick.predicted, label))
    probabilities = predictions.probabilities[pick.position]
    layers = [
        Layer(request.space.names[label], inline_heat(heat(label)), label, f"{probabilities[label]:.2f}")
        for label in first
    ]
    return Card(
        name=predictions.ids[pick.position],
        outcome=pick.outcome,
        score=pick.confidence,
        photo=inline_photo(photo),
        ratio=photo.width / photo.height,
        layers=layers,
        true=pick.true,
        predicted=pick.predicted,
    )


def _notes(predictions: Predictions, picks: Sequence[Pick]) -> list[str]:
    """Describe in words the photos and maps that are shown."""
    wrong = int((predictions.predictions != predictions.labels).sum())
    lines = [f"{wrong} of {len(predictions)} photos are wrong; all of them stand in wrong.csv."]
    if len(picks) < len(predictions):
        lines.append(
            f"{len(picks)} are shown: of each pair of true and predicted class the most confident wrong ones, and "
            "right ones spread evenly from the most to the least confident."
        )
    return lines
