"""Build the network that a config describes, from any package."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from torch import nn

from streetlab.config import instantiate, of_kind, values_named
from streetlab.config.targets import signature_of
from streetlab.datasets.labels import LabelSpace
from streetlab.errors import UserError
from streetlab.networks.contract import adopt

log = logging.getLogger(__name__)


def build_network(
    node: Any, label_space: LabelSpace, image_size: tuple[int, int] | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """Build the network of a `model` node for those classes, with everything that the contract requires.

    Args:
        node: its `_target_` takes `num_classes`.
        image_size: given to targets that take one, unless the node has it.

    Returns:
        the network, and what it was built with because of `image_size`: keys that the node would need to describe the
        same network whatever the images' size.

    Raises:
        UserError: the target makes no network, or anything that the node asks for and that cannot be had.
    """
    build = instantiate(node)
    if not isinstance(build, partial):
        raise UserError("model: _target_ is missing; it names the class or function that makes the network")
    options: dict[str, Any] = {"num_classes": len(label_space)}
    arguments = signature_of(build.func)
    takes_size = arguments is not None and "image_size" in arguments.names
    if image_size is not None and takes_size and build.keywords.get("image_size") is None:
        options["image_size"] = list(image_size)
    with values_named(node, "model"):
        made = build(**options)
    network: Any = of_kind(made, nn.Module, node, "model", "network (torch.nn.Module)")
    for line in adopt(network, label_space.task):
        log.info("model: %s", line)
    options.pop("num_classes")
    return network, dict(getattr(network, "built_with", options))
