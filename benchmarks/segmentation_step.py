"""What does a training step cost on the CPU, image by image, and what do layout, precision and the cheaper paths save?

    python benchmarks/segmentation_step.py
    python benchmarks/segmentation_step.py --networks unet --threads 2

Each way is a forward pass, the loss (cross-entropy and Dice on every pixel) and a backward pass on a batch of noise.
"before" is the same step without what has been made cheaper: depthwise convolutions' backward pass in bf16, logits that
are resized to the size that they have and cut along both sides, a softmax for each loss, and memory that glibc gives
back and gets again. The numbers are CPU time of the process, so that other processes count for little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from tables import Table, arguments, interleaved, publish, ratio, spread
from torch import Tensor, nn

from streetlab.networks.classifiers import timm_classifier
from streetlab.networks.depthwise import FastDepthwise
from streetlab.networks.hrnetv2 import hrnetv2
from streetlab.networks.segmentation import resize_logits
from streetlab.networks.smp_network import smp_network
from streetlab.tasks.losses import CrossEntropy, DiceLoss, WeightedSum
from streetlab.training.memory import kept_memory

CLASSES = 11
_LITE0 = "tu-tf_efficientnet_lite0"
_NARROW = {"decoder_pyramid_channels": 128, "decoder_segmentation_channels": 64, "decoder_merge_policy": "cat"}
MASKS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "fpn": ("FPN of half width on EfficientNet-Lite0", lambda: smp_network(CLASSES, "fpn", _LITE0, **_NARROW)),
    "fpn_smp": ("FPN on EfficientNet-Lite0", lambda: smp_network(CLASSES, "fpn", _LITE0)),
    "unet": ("U-Net on EfficientNet-Lite0", lambda: smp_network(CLASSES, "unet", _LITE0)),
    "linknet": ("LinkNet on EfficientNet-Lite0", lambda: smp_network(CLASSES, "linknet", _LITE0)),
    "deeplabv3plus": ("DeepLabV3+ on EfficientNet-Lite0", lambda: smp_network(CLASSES, "deeplabv3plus", _LITE0)),
    "hrnet": ("HRNetV2-W18-Small", lambda: hrnetv2(CLASSES, 18, small=True)),
}
LABELS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "lite0": ("EfficientNet-Lite0, photos of 224x224", lambda: timm_classifier(3, "tf_efficientnet_lite0")),
    "resnet18": ("ResNet-18, photos of 224x224", lambda: timm_classifier(3, "resnet18")),
}
NETWORKS = MASKS | LABELS


@dataclass(frozen=True)
class Way:
    """How a step is computed."""

    channels_last: bool
    bf16: bool
    before: bool


WAYS = {
    "float32, planes, before": Way(channels_last=False, bf16=False, before=True),
    "float32, channels last, before": Way(channels_last=True, bf16=False, before=True),
    "float32, channels last": Way(channels_last=True, bf16=False, before=False),
    "bf16, planes": Way(channels_last=False, bf16=True, before=False),
    "bf16, channels last, before": Way(channels_last=True, bf16=True, before=True),
    "bf16, channels last": Way(channels_last=True, bf16=True, before=False),
}
REFERENCE, USUAL, NOW = "float32, planes, before", "bf16, channels last, before", "bf16, channels last"


class Step:
    """One network with a batch; `milliseconds` of a step for each image."""

    def __init__(self, name: str, way: Way, batch_size: int, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        self.masks, self.way = name in MASKS, way
        layout = torch.channels_last if way.channels_last else torch.contiguous_format
        self.network = NETWORKS[name][1]().train().to(memory_format=layout)
        self.images = torch.randn(batch_size, 3, *size)
        shape = (batch_size, *size) if self.masks else (batch_size,)
        self.labels = torch.randint(0, CLASSES if self.masks else 3, shape)
        parts: dict[str, nn.Module] = {"cross_entropy": CrossEntropy()}
        if self.masks:
            parts["dice"] = DiceLoss()
        self.loss = WeightedSum(parts, dict.fromkeys(parts, 1.0))

    def milliseconds(self) -> float:
        with as_before() if self.way.before else kept_memory("cpu"):
            start = time.process_time()
            with nullcontext() if self.way.before else FastDepthwise(), _autocast(self.way.bf16):
                output: Any = self.network(self.images)
            logits: Tensor = output.logits if self.masks else output
            self.loss(logits.float(), self.labels).backward()
            return 1000 * (time.process_time() - start) / len(self.images)


def _autocast(bf16: bool) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=bf16)


@contextmanager
def as_before() -> Iterator[None]:
    """Undo what has been made cheaper outside of the convolutions."""
    with ExitStack() as undone:
        undone.enter_context(patch("streetlab.networks.smp_network.at_size", resize_logits))
        undone.enter_context(patch("streetlab.networks.smp_network.crop", lambda x, size: x[..., : size[0], : size[1]]))
        undone.enter_context(patch("streetlab.tasks.losses._SHARED", "never"))
        yield


def main(words: list[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["fpn", "unet", "linknet", "lite0"],
                        metavar="NAME", help=f"of {', '.join(NETWORKS)}")  # fmt: skip
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), default=(360, 480), help="of masks")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(words)
    torch.set_num_threads(options.threads)
    started = time.perf_counter()
    rounds = min(2, options.rounds) if options.quick else options.rounds
    rows, numbers = [], {}
    for name in options.networks:
        size = tuple(options.size) if name in MASKS else (224, 224)
        steps = {way: Step(name, WAYS[way], options.batch_size, size) for way in WAYS}
        found = interleaved({way: step.milliseconds for way, step in steps.items()}, rounds, what=name)
        numbers[name] = found
        saved = [str(ratio(found[other], found[NOW])) for other in (REFERENCE, USUAL)]
        rows.append([NETWORKS[name][0], *(str(spread(found[way])) for way in WAYS), *saved])
    headers = ["network", *WAYS, f"{REFERENCE} / now", f"{USUAL} / now"]
    height, width = options.size
    title = f"CPU time in ms for an image of {width}x{height}, batch {options.batch_size}, threads: {options.threads}"
    tables = [Table(headers, rows, title, [f"Medians of {rounds} rounds of all ways in turn."])]
    publish("segmentation_step", "What does a training step cost on the CPU?", tables, numbers, options.output,
            time.perf_counter() - started)  # fmt: skip


if __name__ == "__main__":
    main()
