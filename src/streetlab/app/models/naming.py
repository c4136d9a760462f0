"""Titles of runs on the page: the variants of the original study by their names, other networks by theirs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_VARIANT = re.compile(r"segmentation_(deeplabv3|hrnet)_([123])(_r101)?(_plus)?")
_FAMILIES = {"deeplabv3": "DeepLabV3", "hrnet": "HRNet"}


def variant_name(experiment: str | None) -> str | None:
    """The variant of a preset: HRNet 2+ for `segmentation_hrnet_2_plus`; None for other presets.

    >>> variant_name("segmentation_deeplabv3_1")
    'DeepLabV3 1'
    """
    match = _VARIANT.fullmatch(experiment or "")
    if match is None:
        return None
    family, number, deeper, ours = match.groups()
    return f"{_FAMILIES[family]} {number}{' ResNet-101' if deeper else ''}{'+' if ours else ''}"


def network_name(model: Mapping[str, Any]) -> str:
    """The name of the network that the config node `model` builds."""
    target = str(model.get("_target_", "")).rpartition(".")[2]
    if target == "deeplabv3":
        return f"DeepLabV3 {str(model.get('backbone', '')).replace('resnet', 'ResNet-')}".strip()
    if target == "hrnetv2":
        return f"HRNetV2-W{model.get('width', '?')}{' small' if model.get('small') else ''}"
    if target == "smp_network":
        return f"{model.get('decoder', '?')} {model.get('encoder', '?')}"
    if target == "timm_classifier":
        return str(model.get("name", "?")).partition(".")[0]
    return target or "network"


def titles(named: Sequence[tuple[str, Any, str]]) -> list[str]:
    """Make titles unique: equal ones get the seed, or else the folder's name, appended.

    Args:
        named: title, seed and folder of each.
    """
    plain = Counter(title for title, _, _ in named)
    seeded = Counter((title, seed) for title, seed, _ in named)
    unique = []
    for title, seed, folder in named:
        if plain[title] == 1:
            unique.append(title)
        elif seed is not None and seeded[title, seed] == 1:
            unique.append(f"{title}, seed {seed}")
        else:
            unique.append(f"{title}, {folder}")
    return unique
