"""Runs that were never trained: a network with random weights in a record of its own, made in no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from streetlab.config import instantiate
from streetlab.datasets.labels import CITYSCAPES, CLEANLINESS, LabelSpace
from streetlab.io import files
from streetlab.loading.augment import normalize
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD
from streetlab.records.record import RunRecord
from streetlab.synthetic import draw_scene

SEGMENTER = {
    "_target_": "streetlab.networks.smp_network.smp_network",
    "_partial_": True,
    "decoder": "linknet",
    "encoder": "tu-test_resnet",
    "weights": "/gone/imagenet.pt",
}
CLASSIFIER = {
    "_target_": "streetlab.networks.classifiers.timm_classifier",
    "_partial_": True,
    "name": "test_resnet",
    "weights": "imagenet",
}
RED_IS_PERSON = {"_target_": "tests.support.crafted_runs.RedIsPerson", "_partial_": True}
POINTWISE = {"_target_": "tests.support.crafted_runs.Convolutions", "_partial_": True, "sides": [1]}


class Convolutions(nn.Module):
    """A segmentation network that sees as far as its convolutions' sides reach.

    Args:
        damped: what the weights of all but the middle of each side are multiplied by.
    """

    def __init__(self, num_classes: int, sides: list[int], damped: float = 1.0) -> None:
        super().__init__()
        channels = [3, *[8] * (len(sides) - 1), num_classes]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, side, padding=side // 2, padding_mode="replicate")
            for before, after, side in zip(channels, channels[1:], sides, strict=False)
        )
        with torch.no_grad():
            for layer, side in zip(self.layers, sides, strict=True):
                middle = layer.weight[..., side // 2, side // 2].clone()
                layer.weight *= damped
                layer.weight[..., side // 2, side // 2] = middle

    def forward(self, images: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            images = layer(images).relu()
        return self.layers[-1](images)


class RedIsPerson(nn.Module):
    """A segmentation network of Cityscapes' classes that takes red pixels for people (11) and all others for road."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, num_classes, 1)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.weight[11, :2, 0, 0] = torch.tensor([1.0, -1.0])
            self.head.bias.fill_(-9).index_fill_(0, torch.tensor([0]), 0).index_fill_(0, torch.tensor([11]), -1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images)


def metadata_of(model: dict[str, Any], space: LabelSpace, image_size: tuple[int, int]) -> dict[str, Any]:
    """Build the metadata of that run's checkpoint."""
    return {
        "config": {"model": model, "trainer": {"precision": "32-true", "channels_last": True}},
        "label_space": space.to_dict(),
        "image_size": list(image_size),
        "normalization": {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)},
    }


def write_checkpoint(path: Path, metadata: dict[str, Any], network: nn.Module) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"network.{key}": tensor for key, tensor in network.state_dict().items()}
    torch.save({"epoch": 4, "state_dict": tensors, "streetlab": metadata}, path)
    return path


def settle(network: nn.Module, image_size: tuple[int, int]) -> None:
    """Give BatchNorm the statistics of photos: with fresh ones a few classes win in every pixel."""
    photos = np.stack([draw_scene(number, *image_size).image for number in range(4)])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean
    with torch.no_grad():
        network.train()(normalize(torch.from_numpy(photos).permute(0, 3, 1, 2)))


def write_run(
    folder: Path,
    model: dict[str, Any] = SEGMENTER,
    space: LabelSpace | None = None,
    image_size: tuple[int, int] = (64, 96),
    temperature: float | None = None,
) -> RunRecord:
    """A completed run of five epochs with the network that `model` describes; the same weights every time."""
    space = space or (CLEANLINESS if model["_target_"] == CLASSIFIER["_target_"] else CITYSCAPES)
    torch.manual_seed(0)
    network = instantiate(model | ({"weights": "none"} if "weights" in model else {}))(num_classes=len(space))
    settle(network, image_size)
    record = RunRecord(folder)
    metadata = metadata_of(model, space, image_size)
    write_checkpoint(record.checkpoints / "best.ckpt", metadata, network)
    files.write_text(folder / "config.yaml", yaml.safe_dump(metadata["config"]))
    record.write_status(state="completed", precision="32-true")
    record.write_metrics({"eval_split": "test", "test": {"temperature": temperature} if temperature else {}})
    return record
