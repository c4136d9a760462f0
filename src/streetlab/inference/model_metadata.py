"""The metadata in an exported model's file: all that predicting with the file alone needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from streetlab.datasets.labels import IGNORE_INDEX, LabelSpace
from streetlab.datasets.task_spec import TASKS
from streetlab.datasets.training_domain import TrainingDomain
from streetlab.errors import UserError

KEY = "streetlab"
"""The entry of the metadata that holds all of the metadata as JSON."""
FORMAT = 1
"""Version of the metadata; a reader refuses those that it does not know."""
INPUT = "images"
"""The graph's one input: `(B, H, W, 3)` uint8, RGB; B, H and W are free."""
OUTPUT = "logits"
"""The graph's one output: float32, `(B, K)` or `(B, K, H, W)`."""


@dataclass(frozen=True)
class ModelMetadata:
    """Facts about an exported model that predicting needs besides its graph.

    Attributes:
        name: of the run.
        label_space: the classes.
        image_size: height and width that the network was trained at.
        sha256, epoch: of the checkpoint that was exported, and how many epochs it has behind it.
        precision: fp32, fp16 or int8.
        temperature: what logits are divided by before the softmax; None where the run fitted none.
        made_with: the packages' versions.
        data_set: name of the data set that the network was trained on; None where that is not known.
        domain: what tells photos that are unlike the training photos; None where none was fitted.
    """

    name: str
    label_space: LabelSpace
    image_size: tuple[int, int]
    sha256: str
    epoch: int
    precision: str
    temperature: float | None
    made_with: Mapping[str, str]
    data_set: str | None = None
    domain: TrainingDomain | None = None

    def to_metadata(self) -> dict[str, str]:
        """Texts by key: the metadata, and beside it the labels and colours for programs that know nothing of it."""
        domain = None if self.domain is None else self.domain.to_dict()
        plain = asdict(self) | {"format": FORMAT, "label_space": self.label_space.to_dict(), "domain": domain}
        return {
            KEY: json.dumps(plain),
            "task": self.label_space.task,
            "labels": json.dumps(self.label_space.names),
            "palette": json.dumps(self.label_space.palette),
            "image_size": json.dumps(self.image_size),
        }

    @classmethod
    def from_metadata(cls, texts: Mapping[str, str], file: object) -> ModelMetadata:
        """The inverse of `to_metadata`.

        Args:
            file: named in errors.

        Raises:
            UserError: no metadata, one of a later format, or a damaged one.
        """
        if KEY not in texts:
            raise UserError(f"{file} is no model that `streetlab export` wrote (its metadata has no '{KEY}')")
        try:
            plain: dict[str, Any] = json.loads(texts[KEY])
            if plain["format"] != FORMAT:
                raise UserError(f"{file} has format {plain['format']}; this version of streetlab reads {FORMAT}")
            height, width = (int(side) for side in plain["image_size"])
            temperature, domain = plain["temperature"], plain.get("domain")
            metadata = cls(
                str(plain["name"]), LabelSpace.from_dict(plain["label_space"]), (height, width), str(plain["sha256"]),
                int(plain["epoch"]), str(plain["precision"]), None if temperature is None else float(temperature),
                dict(plain["made_with"]), plain.get("data_set"),
                None if domain is None else TrainingDomain.from_dict(domain),
            )  # fmt: skip
            space = metadata.label_space
            whole = space.task in TASKS and 1 <= len(space) <= IGNORE_INDEX and min(metadata.image_size) >= 1
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise UserError(f"what {file} says of itself is damaged ({type(error).__name__}: {error})") from None
        if not whole:
            raise UserError(f"what {file} says of itself is damaged ({len(space)} classes of '{space.task}')")
        return metadata
