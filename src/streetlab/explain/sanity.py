"""Cascading randomisation: test that maps depend on learned weights (Adebayo et al. 2018, arXiv:1810.03292)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn

from streetlab.metrics.statistics.mean_interval import mean_interval
from streetlab.networks.cam import class_activation
from streetlab.networks.groups import declared_groups, select_parameters

PASSES_BELOW = 0.3
"""|mean rank correlation| that a network without memory may leave."""
_SUMS = ("head", "backbone", "all")
_STD = 0.02
"""Of parameters whose module has no way to start anew, as timm's own for tokens and positions."""


def cascading_randomization(
    network: nn.Module,
    images: Tensor,
    classes: Sequence[int],
    method: str = "grad_cam",
    layer: str | None = None,
    seed: int = 0,
    draws: int = 5,
    batch_size: int = 32,
) -> dict[str, Any]:
    """Correlate maps with the network's own while its layers are randomised, one after another from the head.

    A map that shows edges rather than evidence survives this. Likeness is Spearman's rank correlation over the
    map's pixels; a constant map resembles nothing and counts 0. Photos whose own map is constant are left out.
    One random network has its own liking for borders or bright places, so there are several.

    Args:
        network: a classifier, as `class_activation` takes it; copies of it are changed, never itself.
        images: (N, 3, H, W), normalised, on the network's device.
        classes: N class ids.
        draws: networks that are started anew.

    Returns:
        `n` photos that count, `silent` ones left out, `draws`, `stages`: for each step `group` (the parameter group
        that was started anew, all before it being new already), `mean` and `interval` (see `mean_interval`, over
        photos, of their means over the draws), `constant` (the share of maps that were constant); `final`: the last
        step with `by_draw`, the mean of each draw; `passes`: whether its |mean| is below `PASSES_BELOW`. Where no
        photo counts, `stages` is empty, `final` and `passes` are None.

    Raises:
        UserError, ValueError: as `class_activation`.
    """
    labels = [int(label) for label in classes]

    def maps_of(asked: nn.Module, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(chosen), batch_size):
            rows = chosen[start : start + batch_size]
            parts.append(class_activation(asked, images[rows], [labels[row] for row in rows], method, layer).numpy())
        return np.concatenate(parts)

    own = maps_of(network, np.arange(len(images)))
    telling = np.flatnonzero(np.ptp(own.reshape(len(own), -1), axis=1) > 0)
    found: dict[str, Any] = {"n": len(telling), "silent": len(own) - len(telling), "draws": draws}
    if not len(telling):
        return found | {"stages": [], "final": None, "passes": None}
    groups = _from_the_head(network)
    likeness = np.zeros((len(groups), draws, len(telling)))
    constant = np.zeros(len(groups))
    for draw in range(draws):
        renewed = copy.deepcopy(network)
        with torch.random.fork_rng(), torch.inference_mode(False), torch.no_grad():
            torch.manual_seed(seed + draw)
            for step, group in enumerate(groups):
                _start_anew(renewed, group)
                maps = maps_of(renewed, telling)
                constant[step] += float(np.mean(np.ptp(maps.reshape(len(maps), -1), axis=1) == 0)) / draws
                pairs = zip(own[telling], maps, strict=True)
                likeness[step, draw] = [rank_correlation(one, other) for one, other in pairs]
    stages = [
        {"group": group} | mean_interval(values.mean(axis=0)) | {"constant": float(share)}
        for group, values, share in zip(groups, likeness, constant, strict=True)
    ]
    final = stages[-1] | {"by_draw": likeness[-1].mean(axis=1).tolist()}
    return found | {"stages": stages, "final": final, "passes": abs(final["mean"]) < PASSES_BELOW}


def rank_correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Spearman's of two maps' pixels, ties at their mean rank; 0 where a map is constant."""
    ranks = [rankdata(values, axis=None) for values in (one, other)]
    deviations = [values - values.mean() for values in ranks]
    scale = float(np.sqrt(np.prod([(values**2).sum() for values in deviations])))
    return float((deviations[0] * deviations[1]).sum() / scale) if scale > 0 else 0.0


def _from_the_head(network: nn.Module) -> list[str]:
    """The smallest parameter groups that hold each parameter once, the head first and then backwards."""
    groups = declared_groups(network)
    stem = groups.get("stem", ())
    names = [
        name
        for name in groups
        if name not in _SUMS
        and (name == "stem" or name not in stem)
        and not any(other.startswith(f"{name}.") for other in groups)
    ]
    return ["head", *reversed(names)]


def _start_anew(network: nn.Module, group: str) -> None:
    """Give a group's parameters, and the running statistics beside them, the values of an untrained network."""
    wanted = {id(parameter) for _, parameter in select_parameters(network, [group])}
    for module in network.modules():
        mine = list(module.parameters(recurse=False))
        if not any(id(parameter) in wanted for parameter in mine):
            continue
        restart: Any = getattr(module, "reset_parameters", None)
        if restart is not None:
            restart()
        else:
            for parameter in mine:
                if id(parameter) in wanted:
                    nn.init.normal_(parameter, std=_STD)
