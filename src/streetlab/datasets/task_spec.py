"""The tasks, and the plain facts that tell one from another: no code beside this table asks for a task's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class TaskSpec:
    """One task.

    Args:
        name: the value of `task` in configs, records and checkpoints.
        labels: what labels are given to, for messages.
        noun: what n counts.
        per_pixel: each pixel has a class, and not each photo.
        objective: key of the metric that ranks runs unless another is asked for.
        accuracy: key of the share of photos or pixels that are right.
        class_score: key and title of the score that is reported for each class.
        image_score: title of the number that ranks single images in a gallery.
        networks: `model=` groups that fit, for messages.
    """

    name: str
    labels: str
    noun: str
    per_pixel: bool
    objective: str
    accuracy: str
    class_score: tuple[str, str]
    image_score: str
    networks: str


TaskName = Literal["classification", "segmentation"]
CLASSIFICATION: Final = "classification"
SEGMENTATION: Final = "segmentation"

TASKS = {
    spec.name: spec
    for spec in (
        TaskSpec(
            name=CLASSIFICATION,
            labels="one label per photo",
            noun="photos",
            per_pixel=False,
            objective="macro_f1",
            accuracy="accuracy",
            class_score=("f1", "F1"),
            image_score="confidence",
            networks="resnet18 or timm_classifier",
        ),
        TaskSpec(
            name=SEGMENTATION,
            labels="one class per pixel",
            noun="images",
            per_pixel=True,
            objective="miou",
            accuracy="pixel_accuracy",
            class_score=("iou", "IoU"),
            image_score="mIoU",
            networks="hrnetv2_w18, smp, ...",
        ),
    )
}
