"""Small networks of every kind that an export meets, and a run that holds one."""

from __future__ import annotations

import copy
from typing import Any

import torch
import yaml
from tests.support.crafted_runs import Convolutions, metadata_of, write_checkpoint
from torch import Tensor, nn

from streetlab.datasets.labels import LabelSpace
from streetlab.io import files
from streetlab.networks.segmentation import SegmentationOutput
from streetlab.records.record import RunRecord


class Segmenter(nn.Module):
    """Each pixel's class by its neighbours, with an auxiliary head as torchvision's networks have one."""

    def __init__(self, num_classes: int, further: nn.Module | None = None) -> None:
        super().__init__()
        self.classifier = Convolutions(num_classes, [3, 1])
        self.aux_classifier = Convolutions(num_classes, [1])
        self.further = further or nn.Identity()

    def forward(self, images: Tensor) -> SegmentationOutput:
        logits = self.further(self.classifier(images))
        return SegmentationOutput(logits, None if self.aux_classifier is None else self.aux_classifier(images))


class Classifier(nn.Module):
    """A photo's class by its mean colours."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(3, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(images.mean(dim=(2, 3)))


class Branch(nn.Module):
    """Decides by values, which no graph can."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.mean() > 0 else -x


class Orthogonal(nn.Module):
    """Computes what ONNX has no operation for."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.qr(x)[0] @ torch.linalg.qr(x)[1]


def undecided(num_classes: int) -> Segmenter:
    return Segmenter(num_classes, Branch())


def untranslatable(num_classes: int) -> Segmenter:
    return Segmenter(num_classes, nn.Sequential(nn.ReLU(), Orthogonal()))


def swap_network(record: RunRecord, target: str) -> RunRecord:
    """The record with another network, by its name in this module and with random weights, in place of its own."""
    config: dict[str, Any] = copy.deepcopy(dict(record.config))
    config["model"] = {"_target_": f"tests.support.export_stand_ins.{target}", "_partial_": True}
    files.write_text(record.path / "config.yaml", yaml.safe_dump(config))
    space = LabelSpace.from_dict(record.metrics["label_space"])
    height, width = config["image_size"]
    torch.manual_seed(0)
    network = globals()[target](num_classes=len(space))
    write_checkpoint(
        record.checkpoints / "best.ckpt",
        metadata_of(config["model"], space, (height, width)) | {"config": config},
        network,
    )
    return record
