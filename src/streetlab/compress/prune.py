"""Structured pruning of a trained network's channels with torch-pruning.

A channel cannot go alone: with an output of one convolution goes an input of the next, and where layers are added up
(residual connections, HRNet's exchange between resolutions) the same channels go in all of them. torch-pruning's
dependency graph (Fang et al. 2023, arXiv:2301.12900) finds these groups by tracing the network.

How many channels each group keeps is decided here. The library's `BasePruner` agrees for `scope=uniform` at
`round_to=8`, but its `global_pruning` leaves a layer a single channel (`max_pruning_ratio` is compared with what was
pruned in earlier steps only), and its `round_to` always rounds down: HRNet keeps 20% of its parameters instead of 26%.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from streetlab.errors import UserError
from streetlab.export.export_errors import layer_of, reason
from streetlab.networks.groups import declared_groups
from streetlab.networks.pruned import Size, sizes
from streetlab.networks.weights import title

IMPORTANCES = ("magnitude", "taylor", "bn_scale")
SCOPES = ("uniform", "global")
_LEAST = 0.1
"""The share of its channels that a layer keeps at least: ranked with all others, some would lose every one."""


@dataclass(frozen=True)
class Pruning:
    """Options of channel selection; conf/compress.yaml explains its keys."""

    ratio: float
    importance: str
    scope: str
    round_to: int


@dataclass(frozen=True, eq=False)
class _Coupled:
    """Channels that can only go together.

    Attributes:
        root: the layer that stands for all of them.
        cut: torch-pruning's function for its outputs.
        importance: (n,) of the channels that are free to go.
        parts: grouped convolutions lose the same channels in each of so many parts; 1 where there are none.
    """

    root: nn.Module
    cut: Any
    importance: Tensor
    parts: int


def torch_pruning() -> ModuleType:
    """The package.

    Raises:
        UserError: it is not installed.
    """
    try:
        import torch_pruning
    except ModuleNotFoundError:
        raise UserError("compress: torch-pruning is not installed (pip install 'streetlab[export]')") from None
    return torch_pruning


def prune(network: nn.Module, num_classes: int, image_size: tuple[int, int], pruning: Pruning) -> dict[str, Size]:
    """Take channels out of a trained network, in place.

    Args:
        network: for `taylor` with gradients of a loss in its parameters. It is left in eval mode, without gradients.
        num_classes: that many outputs of its last layers stay.
        image_size: height and width of the image that it is traced with.

    Returns:
        the layers that are narrower now, see `nets.pruned`.

    Raises:
        UserError: the network cannot be traced, has no channels to spare, or does not work with fewer; it names the
            layer.
    """
    before = sizes(network)
    network.eval().requires_grad_(True)  # the graph is read off autograd's
    example = torch.zeros(1, 3, *image_size, device=next(network.parameters()).device)
    with _quiet(), _names_the_layer(network):
        graph = _trace(network, example)
        coupled = _coupled(graph, _last_layers(network, num_classes), pruning.importance)
        if not coupled:
            raise UserError(
                f"compress: importance={pruning.importance} can't rank the channels of {title(network)}; allowed: "
                f"{', '.join(IMPORTANCES)}"
            )
        for group, count in zip(coupled, _kept(coupled, pruning), strict=True):
            _cut(graph, group, count)
        with torch.no_grad():
            network(example)
    network.zero_grad(set_to_none=True)
    after = sizes(network)
    changed = {name: size for name, size in after.items() if size != before[name]}
    if not changed:
        raise UserError(
            f"ratio: at {pruning.ratio:g} with round_to={pruning.round_to} no layer of {title(network)} loses "
            "a channel; a larger ratio, or round_to=1"
        )
    return changed


def _trace(network: nn.Module, example: Tensor) -> Any:
    def tensors(output: object) -> Any:
        return [tensor for tensor in output if tensor is not None] if isinstance(output, tuple) else output

    return torch_pruning().DependencyGraph().build_dependency(network, example, output_transform=tensors)


def _last_layers(network: nn.Module, num_classes: int) -> list[nn.Module]:
    """Those whose outputs are the logits, the auxiliary head's too."""
    head = declared_groups(network)["head"]
    last = [
        layer
        for name, layer in network.named_modules()
        if any(name == part or name.startswith(f"{part}.") for part in head)
        and num_classes in (getattr(layer, "out_channels", None), getattr(layer, "out_features", None))
    ]
    if not last:
        raise UserError(f"compress: {title(network)} has no layer in its head that gives {num_classes} logits")
    return last


def _coupled(graph: Any, fixed: list[nn.Module], importance: str) -> list[_Coupled]:
    score = {
        "magnitude": torch_pruning().importance.GroupMagnitudeImportance,
        "taylor": torch_pruning().importance.GroupTaylorImportance,
        "bn_scale": torch_pruning().importance.BNScaleImportance,
    }[importance]()
    found = []
    for group in graph.get_all_groups(ignored_layers=fixed):
        values = score(group)
        if values is None:  # of such a group this importance knows nothing
            continue
        parts = _parts(group)
        found.append(
            _Coupled(group[0].dep.target.module, group[0].dep.handler, values.view(parts, -1).sum(dim=0).cpu(), parts)
        )
    return found


def _parts(group: Any) -> int:
    """Count the equal parts of a group's channels. Depthwise convolutions have as many groups as channels."""
    counts = [1]
    for dependency, _ in group:
        layer = dependency.target.module
        if isinstance(layer, nn.GroupNorm):
            counts.append(layer.num_groups)
        groups = getattr(layer, "groups", 1)
        if groups > 1 and groups != layer.out_channels:
            counts.append(groups)
    return math.lcm(*counts)


def _kept(coupled: Sequence[_Coupled], pruning: Pruning) -> list[int]:
    """Count the channels that each group keeps, in each of its parts."""
    if pruning.scope == "global":
        # each importance is relative to the mean of its group
        every = torch.cat([group.importance / group.parts for group in coupled])
        threshold = every.sort().values[int(len(every) * pruning.ratio)]
        wanted = [float((group.importance / group.parts >= threshold).sum()) for group in coupled]
    else:
        wanted = [len(group.importance) * (1 - pruning.ratio) for group in coupled]
    return [
        rounded(count, len(group.importance), max(1, pruning.round_to // math.gcd(pruning.round_to, group.parts)))
        for count, group in zip(wanted, coupled, strict=True)
    ]


def rounded(wanted: float, channels: int, multiple: int) -> int:
    """The multiple nearest to `wanted`; at least one of them and a tenth of the channels, at most all."""
    least = max(1, math.ceil(channels * _LEAST / multiple))
    return min(max(least, math.floor(wanted / multiple + 0.5)) * multiple, channels)


def _cut(graph: Any, group: _Coupled, count: int) -> None:
    size = len(group.importance)
    gone = group.importance.argsort()[: size - count].tolist()
    if not gone:
        return
    channels = sorted(channel + part * size for part in range(group.parts) for channel in gone)
    together = graph.get_pruning_group(group.root, group.cut, channels)
    if graph.check_pruning_group(together):  # what shares channels with several may have none left to lose
        together.prune()


@contextmanager
def _names_the_layer(network: nn.Module) -> Iterator[None]:
    """Turn what goes wrong in a forward pass into one line about the layer where it did."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # whatever a network or torch-pruning raises on what it does not foresee
        raise _unfit(network, layer_of(error, network), reason(error)) from error


def _unfit(network: nn.Module, layer: str, why: str) -> UserError:
    return UserError(
        f"compress: {title(network)} can't be pruned: {layer} does not take fewer channels ({why}); "
        "`streetlab export precision=int8` makes it smaller too"
    )


def fits(narrow: nn.Module, network: nn.Module) -> None:
    """Check that a network that was built from its description has the shapes of the one that was pruned.

    Raises:
        UserError: a parameter of a layer that has no `Size` was pruned too; it names the layer.
    """
    found: Mapping[str, Tensor] = narrow.state_dict()
    for key, tensor in network.state_dict().items():
        if key not in found or found[key].shape != tensor.shape:
            name, _, own = key.rpartition(".")
            layer = f"its layer {name} ({type(network.get_submodule(name)).__name__})"
            raise _unfit(network, layer, f"a convolution, linear layer or norm would; it has {own} of its own")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch-pruning's warnings of parameters that it guesses at: what came of them is checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
