"""Explain a segmentation network: its worst and best images, and the evidence for each predicted class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from streetlab.datasets.labels import LabelSpace
from streetlab.explain.maps import MapStore, Wanted, make_maps
from streetlab.explain.page import Card, Layer, inline_heat, inline_mask, inline_photo
from streetlab.explain.panels import Tile, draw_panel, heat_tile, photo_for_panel
from streetlab.explain.request import ExplainRequest, begin_answer, rows_of
from streetlab.explain.result import ExplainResult, timed
from streetlab.explain.scores import score_regions
from streetlab.explain.selection import worst_and_best
from streetlab.io import files
from streetlab.loading.datamodule import StreetData
from streetlab.metrics.classification import confusion_counts
from streetlab.metrics.confusions import Confusions
from streetlab.metrics.segmentation import image_mious
from streetlab.networks.cam import region_activation
from streetlab.plots.paint import PaintStyle, paint
from streetlab.progress import track
from streetlab.tasks.segmentation import SegmentationTask
from streetlab.training.report_segmentation import predict_mask

_EACH = 6
"""Images shown of the worst and of the best where nobody says how many."""
_SAME_FOR_ANY_REGION = ("eigen_cam", "score_cam")
"""Methods whose maps are no larger for a score that is summed over more pixels."""
_CLASSES = 4
"""Classes whose maps are shown where nobody says whose."""


@dataclass(frozen=True, eq=False)
class SegmentedImage:
    """One image that is explained.

    Attributes:
        name: its id.
        outcome, rank: `worst` or `best`, and the position in that order, from 1.
        miou: of this image on its own.
        pixels: (H, W, 3) at the size that the network sees.
        truth, prediction: (H, W) class ids, 255 = ignored in the truth.
    """

    name: str
    outcome: str
    rank: int
    miou: float
    pixels: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    prediction: NDArray[np.uint8]


def explain_segmenter(
    request: ExplainRequest, task: SegmentationTask, data: StreetData, device: torch.device
) -> ExplainResult:
    """Write panels and maps.npz; return the result.

    A class has a map in the images where it is predicted: of its logits summed over the pixels predicted so. Where
    such a map grows with the region, it is divided by the region's pixels, so that a class of few of them is on one
    scale with one of many.

    Raises:
        UserError: the run has no confusion matrices of the split, or of images that are not in the data set; the
            layer makes no map.
    """
    network, space, split = task.network, request.space, request.split
    confusions = _confusions(request, task, data)
    rows = rows_of(request, data, confusions.ids, "confusions.npz", "images")
    begin_answer(request)
    mious = image_mious(confusions.matrices)
    images = []
    for position, outcome, rank in track(worst_and_best(mious, request.n or _EACH), "predicting"):
        pixels, truth = data.cached_pair(split, rows[position])
        prediction = predict_mask(task, pixels)
        name, miou = confusions.ids[position], float(mious[position])
        images.append(SegmentedImage(name, outcome, rank, miou, pixels, truth, prediction))
    shown = request.classes if request.classes is not None else _most_pixels(confusions, _CLASSES)
    wanted = [
        Wanted(i, label) for i, image in enumerate(images) for label in shown if (image.prediction == label).any()
    ]

    def activate(inputs: Tensor, batch: Sequence[Wanted]) -> Tensor:
        regions = torch.from_numpy(np.stack([images[item.photo].prediction == item.label for item in batch]))
        labels = [item.label for item in batch]
        maps = region_activation(
            network, inputs, labels, regions.to(device), method=request.method, layer=request.layer
        )
        grows = request.method not in _SAME_FOR_ANY_REGION
        return maps / regions.sum(dim=(1, 2)).to(maps)[:, None, None] if grows else maps

    with timed("maps") as seconds:
        store = MapStore([image.name for image in images], space.names)
        full: dict[Wanted, NDArray[np.float32]] = {}
        batch_size = int(request.config.batch_size)
        for made in make_maps(lambda photo: images[photo].pixels, wanted, activate, batch_size, device):
            store.add(made)
            full[made.wanted] = made.values
    scale = store.scale(wanted)
    store.write(request.output / "maps.npz", data.image_size, scale=np.array(scale))
    scores: dict[str, Any] = {}
    if request.scores:
        with timed("scores") as scoring:
            scores = score_regions(full, [image.truth for image in images], space.names)
        seconds |= scoring
    with timed("panels") as drawing:
        cards = [_draw(request, image, i, store, scale) for i, image in enumerate(track(images, "panels"))]
    return ExplainResult(
        cards=cards,
        scale=scale,
        numbers={
            "n": len(confusions),
            "shown": len(images),
            "classes": [space.names[label] for label in shown],
            "images": [{"id": i.name, "outcome": i.outcome, "rank": i.rank, "miou": i.miou} for i in images],
        },
        scores=scores,
        seconds=seconds | drawing,
        notes=[
            f"{len(images)} of {len(confusions)} images: those with the lowest and the highest mIoU of their own.",
            f"Maps of {', '.join(space.names[i] for i in shown)}, each for the pixels that are predicted to be of it.",
        ],
    )


def _confusions(request: ExplainRequest, task: SegmentationTask, data: StreetData) -> Confusions:
    """One matrix for each image: the record's, or new ones where the record's are of something else."""
    split = request.split
    if request.recorded and split != "train":
        return request.run.confusions(split)
    samples, k = data.samples(split), len(request.space)
    matrices = []
    for row in track(range(len(samples)), f"predicting {split}"):
        pixels, truth = data.cached_pair(split, row)
        valid = truth < k
        matrices.append(confusion_counts(truth[valid], predict_mask(task, pixels)[valid], k))
    return Confusions([sample.id for sample in samples], np.stack(matrices), request.space.names)


def _most_pixels(confusions: Confusions, count: int) -> list[int]:
    """The classes with the most pixels in the truth, the largest first."""
    pixels = confusions.total.sum(axis=1)
    order = np.argsort(-pixels, kind="stable")[:count]
    return [int(label) for label in order if pixels[label]]


def _draw(request: ExplainRequest, image: SegmentedImage, number: int, store: MapStore, scale: float) -> Card:
    """Write the image's panel; return its card."""
    space = request.space
    photo = Image.fromarray(image.pixels)
    shown = photo_for_panel(photo)
    labels = store.labels(number)
    tiles = [
        Tile("photo", np.asarray(shown)),
        Tile("prediction", _over(shown, image.prediction, space)),
        Tile("truth", _over(shown, image.truth, space)),
        *(
            heat_tile(space.names[label], shown, store.heat(number, label, scale), space.palette[label])
            for label in labels
        ),
    ]
    heading = f"{image.outcome} {image.rank}, mIoU {image.miou:.3f}"
    panel = draw_panel(heading, image.name, tiles, scale)
    files.write_bytes(request.output / image.outcome / f"{image.rank:03d}.jpg", panel)
    layers = [
        Layer("prediction", inline_mask(image.prediction, space)),
        Layer("truth", inline_mask(image.truth, space)),
        *(Layer(space.names[label], inline_heat(store.heat(number, label, scale)), label) for label in labels),
    ]
    return Card(image.name, image.outcome, image.miou, inline_photo(photo), photo.width / photo.height, layers)


def _over(photo: Image.Image, mask: NDArray[np.uint8], space: LabelSpace) -> NDArray[np.uint8]:
    """The mask's colours over the photo, at the photo's size."""
    grown = Image.fromarray(mask).resize(photo.size, Image.Resampling.NEAREST)
    return paint(np.asarray(photo), np.asarray(grown), PaintStyle(space.palette, alpha=0.6))
