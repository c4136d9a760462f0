"""Choose the scores of a network's maps, and the photos that they are computed on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from streetlab.datasets.decode import resize_mask
from streetlab.explain.faithfulness import score_faithfulness
from streetlab.explain.localization import score_localization
from streetlab.explain.maps import Wanted, as_images
from streetlab.explain.request import ExplainRequest
from streetlab.explain.sanity import cascading_randomization
from streetlab.metrics.predictions import Predictions

_RANDOMIZED = 16
"""Photos whose maps are compared with those of a network without memory."""


def score_classifier(
    request: ExplainRequest,
    network: nn.Module,
    predictions: Predictions,
    scored: Sequence[int],
    maps: Mapping[Wanted, NDArray[np.float32]],
    evidence: Mapping[int, NDArray[np.bool_] | None],
    read: Callable[[int], NDArray[np.uint8]],
    device: torch.device,
) -> dict[str, Any]:
    """`faithfulness` and `sanity` of the predicted classes' maps, `localization` of the true classes'.

    The latter, `{all, by_class}`, is None where the data set knows of no photo what its label follows from. A class
    that follows from the absence of something is not to be found where that is: hence the scores by class.

    Args:
        scored: positions of the photos.
        maps: the predicted class's of each, and the true class's where there is evidence, at the network's size.
        evidence: (h, w) of each photo, of any size, or None.
        read: a photo at the network's size, by its position.
    """
    labels = [int(predictions.predictions[position]) for position in scored]
    groups = [predictions.groups[position] for position in scored]
    images = as_images([read(position) for position in scored], device)
    batch_size = int(request.config.batch_size)

    @torch.inference_mode()
    def probabilities(batch: Tensor) -> Tensor:
        return network(batch.to(device)).float().softmax(dim=1)

    faithfulness = score_faithfulness(
        probabilities,
        images,
        labels,
        np.stack([maps[Wanted(position, label)] for position, label in zip(scored, labels, strict=True)]),
        groups,
        cells=request.cells,
        seed=request.seed,
        batch_size=2 * batch_size,
    )
    localization = _localize(predictions, [i for i in scored if evidence[i] is not None], maps, evidence)
    few = np.unique(np.linspace(0, len(scored) - 1, _RANDOMIZED).round().astype(int))  # neighbours are of one class
    sanity = cascading_randomization(
        network,
        images[few],
        [labels[i] for i in few],
        method=request.method,
        layer=request.layer,
        seed=request.seed,
    )
    return {"faithfulness": faithfulness, "localization": localization, "sanity": sanity}


def _localize(
    predictions: Predictions,
    known: Sequence[int],
    maps: Mapping[Wanted, NDArray[np.float32]],
    evidence: Mapping[int, NDArray[np.bool_] | None],
) -> dict[str, Any] | None:
    """Scores of the true classes' maps of the `known` positions, of all together and of each class."""
    if not known:
        return None
    labels = predictions.labels[known]
    stacked = np.stack([maps[Wanted(i, int(predictions.labels[i]))] for i in known])
    masks = np.stack([resize_mask(np.asarray(evidence[i]), stacked.shape[1:]) for i in known])
    groups = np.array([predictions.groups[i] for i in known])

    def score(rows: NDArray[np.bool_]) -> dict[str, Any]:
        return score_localization(stacked[rows], masks[rows], groups[rows].tolist())

    by_class = {predictions.names[label]: score(labels == label) for label in np.unique(labels)}
    return {"all": score(np.ones(len(known), dtype=bool)), "by_class": by_class}


def score_regions(
    maps: Mapping[Wanted, NDArray[np.float32]], truths: Sequence[NDArray[np.uint8]], names: Sequence[str]
) -> dict[str, Any]:
    """`regions`: for each class, how much of its maps lies on the pixels that are of the class in truth.

    Args:
        maps: by image and class, at the truth's size.
        truths: (H, W) class ids of each image.
    """
    found = {}
    for label in sorted({wanted.label for wanted in maps}):
        images = [wanted.photo for wanted in maps if wanted.label == label]
        stacked = np.stack([maps[Wanted(image, label)] for image in images])
        found[names[label]] = score_localization(stacked, np.stack([truths[image] == label for image in images]))
    return {"regions": found}
