"""Map the targets of recorded configs, which keep the first names of classes and functions, to the current ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MODULES = {
    "streetlab.data.augment": "streetlab.loading.augment",
    "streetlab.data.camvid": "streetlab.datasets.camvid",
    "streetlab.data.cityscapes": "streetlab.datasets.cityscapes",
    "streetlab.data.concat": "streetlab.datasets.concat",
    "streetlab.data.image_folder": "streetlab.datasets.image_folder",
    "streetlab.data.mask_folder": "streetlab.datasets.mask_folder",
    "streetlab.data.synthetic_cleanliness": "streetlab.datasets.synthetic_cleanliness",
    "streetlab.data.synthetic_streets": "streetlab.datasets.synthetic_streets",
    "streetlab.nets.classifiers": "streetlab.networks.classifiers",
    "streetlab.nets.deeplabv3": "streetlab.networks.deeplabv3",
    "streetlab.nets.hrnetv2": "streetlab.networks.hrnetv2",
    "streetlab.nets.pruned": "streetlab.networks.pruned",
    "streetlab.nets.smp_network": "streetlab.networks.smp_network",
}
"""Each module that a config has named, by its first name; hashes of configs go by that one."""
_FIRST = {now: first for first, now in _MODULES.items()}


def current_target(target: str) -> str:
    """The current dotted name of a target."""
    return _renamed(target, _MODULES)


def first_target(target: str) -> str:
    """The dotted name that a target had in the first records."""
    return _renamed(target, _FIRST)


def with_current_targets(node: object) -> Any:
    """Rename every `_target_` of a plain config to its current name."""
    if isinstance(node, Mapping):
        return {
            key: current_target(value) if key == "_target_" and isinstance(value, str) else with_current_targets(value)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [with_current_targets(item) for item in node]
    return node


def _renamed(target: str, modules: Mapping[str, str]) -> str:
    module, _, name = target.rpartition(".")
    return f"{modules[module]}.{name}" if module in modules else target
