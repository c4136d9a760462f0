"""What the six variants cost, beside the original study's table: parameters, state dict, multiply-accumulates.

python experiments/segmentation/sizes.py
"""

from __future__ import annotations

import io

import torch

from streetlab.config import instantiate
from streetlab.config.composition import composer
from streetlab.datasets.labels import CITYSCAPES
from streetlab.networks.cost import describe

SIZE = (256, 512)
ORIGINAL = {  # parameters (M) and file (MB), as the original study printed them
    "deeplabv3_1": ("~42", "~164"),
    "deeplabv3_2": ("~42", "~164"),
    "deeplabv3_3": ("~60", "~239"),
    "hrnet_1": ("~65", "~256"),
    "hrnet_2": ("~65", "~256"),
    "hrnet_3": ("~38", "~263"),
}


def main() -> None:
    print("| variant | parameters | state dict, MB (MiB) | GMACs at 512x256 | original: M | original: MB |")
    print("|---|---|---|---|---|---|")
    with composer() as compose:
        names = [name for name in compose.choices("experiment") if name.startswith("segmentation_")]
        words = {name.removeprefix("segmentation_"): [f"experiment={name}"] for name in names}
        words["hrnetv2_w48, official head"] = ["model=hrnetv2_w48", "model.head=official"]
        for variant, overrides in words.items():
            cfg = compose.compose("train", [*overrides, "model.weights=none"])
            network = instantiate(cfg.model)(num_classes=len(CITYSCAPES))
            buffer = io.BytesIO()
            torch.save(network.state_dict(), buffer)
            size, cost = buffer.tell(), describe(network, SIZE)
            parameters, megabytes = ORIGINAL.get(variant, ("", ""))
            print(
                f"| {variant} | {cost['parameters']:,} | {size / 1e6:.1f} ({size / 2**20:.1f}) | {cost['gmacs']:.1f} "
                f"| {parameters} | {megabytes} |"
            )


if __name__ == "__main__":
    main()
