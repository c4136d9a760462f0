"""Named groups of a network's parameters: which are trained and which are frozen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import nn

from streetlab.errors import UserError, did_you_mean

Groups = dict[str, tuple[str, ...]]
"""Group name → names of the submodules (or of parameters that a module holds itself) that make it up."""

_STEMS = (("conv1", "bn1"), ("conv_stem", "bn1"))
_LAST_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


def classifier_groups(network: nn.Module) -> Groups:
    """The groups of a timm classifier.

    - `head`: the classifier that timm names in `pretrained_cfg["classifier"]` (two of them in distilled
      models), and nothing beside it: a norm in front of it is the backbone's.
    - every other top-level module or parameter by its own name (`layer4`, `blocks`, `cls_token`), and each
      element of those that hold a long row of them (`blocks.11`, `stages.3`).
    - `stem` where the first layers have no module of their own; `backbone`: all but the head; `all`.

    `head` and `backbone` share no parameter and together hold every one.

    Raises:
        UserError: the network has no classifier.
    """
    return _groups_around(network, _classifier_names(network))


def found_groups(network: nn.Module) -> Groups:
    """The groups of a network that declares none.

    They are those of a timm classifier where it names its classifier as timm does. Otherwise its last linear or
    convolution layer, in the order of registration, is the head.

    Raises:
        UserError: it has no such layer.
    """
    try:
        return classifier_groups(network)
    except UserError:
        layers = [name for name, module in network.named_modules() if name and isinstance(module, _LAST_LAYERS)]
    if not layers:
        raise UserError(
            f"model: {type(network).__name__} has no linear or convolution layer that could be its head; give it an "
            "attribute parameter_groups = {'head': (...), 'backbone': (...)} with names of its modules"
        )
    return _groups_around(network, (layers[-1],))


def _groups_around(network: nn.Module, head: tuple[str, ...]) -> Groups:
    backbone = tuple(_outside(network, head))
    groups: Groups = {"head": head}
    children = {name: child for name, child in network.named_children() if _has_state(child)}
    stem = next((names for names in _STEMS if all(name in children for name in names)), None)
    if stem and "stem" not in children:
        groups["stem"] = stem
    for name in dict.fromkeys(part.partition(".")[0] for part in backbone):
        child = children.get(name)
        if name in groups or any(_within(part, (name,)) for part in head):
            continue  # SelecSLS calls a part of its backbone `head`; ConvNeXt's `head` holds both
        if child is not None and next(child.parameters(), None) is None:
            continue
        groups[name] = tuple(part for part in backbone if _within(part, (name,)))
        # layer1 ... layer4 are elements themselves; `blocks` or `stages` are rows of them
        if isinstance(child, nn.Sequential | nn.ModuleList) and name != "stem" and not name[-1].isdigit():
            for element, module in child.named_children():
                path = f"{name}.{element}"
                if next(module.parameters(), None) is not None:
                    groups[path] = (path,)
    groups["backbone"] = backbone
    groups["all"] = (*backbone, *head)
    return groups


def declared_groups(network: nn.Module) -> Groups:
    """The groups that the network declares as `parameter_groups`, else those of a timm classifier."""
    declared: Any = getattr(network, "parameter_groups", None)
    return dict(declared) if declared is not None else classifier_groups(network)


def select_parameters(network: nn.Module, names: Sequence[str]) -> list[tuple[str, nn.Parameter]]:
    """The parameters of all `names`, in the network's order and each once.

    Args:
        names: group names, or names of submodules or parameters (`layer4.1`, `blocks.11.attn`, `pos_embed`).
            Where both exist, the group is meant.

    Raises:
        UserError: a name matches no parameter.
    """
    chosen = _resolve(network, names)
    return [(name, parameter) for name, parameter in network.named_parameters() if _within(name, chosen)]


def freeze_except(network: nn.Module, names: Sequence[str]) -> list[tuple[str, nn.Parameter]]:
    """Let exactly the parameters of `names` take gradients; returns them as `select_parameters` does.

    This is one half of freezing; `set_training_mode` is the other, and has to follow every `network.train()`.

    Raises:
        UserError: a name matches no parameter; nothing is changed then.
    """
    chosen = select_parameters(network, names)
    network.requires_grad_(False)
    for _, parameter in chosen:
        parameter.requires_grad_(True)
    return chosen


def set_training_mode(network: nn.Module, names: Sequence[str]) -> None:
    """Put the network in train mode, and what is frozen while `names` train in eval mode.

    Without it a frozen BatchNorm goes on averaging the new images into its running statistics, and a frozen
    backbone's dropout goes on disturbing the features that the head learns from.

    Raises:
        UserError: a name matches no parameter; nothing is changed then.
    """
    frozen = modules_to_keep_in_eval(network, names)
    network.train()
    for module in frozen:
        module.training = False


def layer_depths(network: nn.Module) -> dict[str, int]:
    """The number of layers above each parameter's own: 0 for the head, most for the stem.

    The layers are those that timm names for its networks (`group_matcher(coarse=False)`: each residual or transformer
    block is one), by which its `param_groups_layer_decay` scales learning rates.

    Raises:
        UserError: the network names no layers.
    """
    matcher: Any = getattr(network, "group_matcher", None)
    if matcher is None:
        raise UserError(f"regime.layer_decay: {type(network).__name__} names no layers, as timm's classifiers do")
    from timm.models import group_parameters  # two seconds, which who only predicts need not wait

    layers: dict[str, int] = group_parameters(network, matcher(coarse=False), reverse=True)
    highest = max(layers.values())
    return {name: highest - layer for name, layer in layers.items()}


def modules_to_keep_in_eval(network: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Every module that is frozen while `names` train (a pure function; `set_training_mode` applies it).

    A module is frozen when all its parameters and buffers are outside `names`. A module without any
    (dropout, stochastic depth) follows its parent where that is frozen or trains as a whole; otherwise it
    follows the layer that it feeds, which is the next one with parameters in the order of registration, so
    that a classifier's dropout is on while the classifier trains and a backbone's is off.

    Raises:
        UserError: a name matches no parameter.
    """
    chosen = _resolve(network, names)
    modules = list(network.named_modules())
    trains: list[set[bool]] = [
        {_within(name, chosen) for name in _state_names(module, prefix)} for prefix, module in modules
    ]
    own: list[bool | None] = []
    for prefix, module in modules:
        direct = [_within(name, chosen) for name in _state_names(module, prefix, recurse=False)]
        own.append(any(direct) if direct else None)

    position = {prefix: i for i, (prefix, _) in enumerate(modules)}
    modes: dict[str, bool] = {}
    for i, (prefix, _) in enumerate(modules):
        if trains[i]:
            modes[prefix] = True in trains[i]
            continue
        parent = prefix.rpartition(".")[0] if prefix else None
        if parent is None or _within(prefix, chosen):
            modes[prefix] = True
        elif len(trains[position.get(parent, 0)]) == 2:
            following = [mode for mode in own[i:] if mode is not None]
            preceding = [mode for mode in own[:i] if mode is not None]
            modes[prefix] = following[0] if following else preceding[-1]
        else:
            modes[prefix] = modes.get(parent, True)
    return [module for prefix, module in modules if not modes[prefix]]


def _classifier_names(network: nn.Module) -> tuple[str, ...]:
    config: Any = getattr(network, "pretrained_cfg", None) or {}
    declared = config.get("classifier") or ()
    names = (declared,) if isinstance(declared, str) else tuple(declared)
    modules = dict(network.named_modules())
    found = tuple(name for name in names if name in modules and _has_state(modules[name]))
    if not found and hasattr(network, "get_classifier"):
        # a few models declare no name, or another than the one they use
        get_classifier: Any = network.get_classifier
        classifier = get_classifier()
        parts = classifier if isinstance(classifier, tuple | list) else (classifier,)
        found = tuple(name for name, module in modules.items() if name and any(module is p for p in parts))
    if not found:
        raise UserError(f"{type(network).__name__} has no classifier to train as a head")
    return found


def _outside(module: nn.Module, head: Sequence[str], prefix: str = "") -> Iterator[str]:
    """Names of the largest parts of `module` with parameters or buffers that hold nothing of `head`."""
    yield from _state_names(module, prefix.rstrip("."), recurse=False)
    for name, child in module.named_children():
        path = prefix + name
        if _within(path, head) or not _has_state(child):
            continue
        if any(_within(part, (path,)) for part in head):
            yield from _outside(child, head, f"{path}.")
        else:
            yield path


def _resolve(network: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """Group names and prefixes as prefixes alone."""
    if isinstance(names, str):
        names = (names,)
    groups = declared_groups(network)
    parameters = [name for name, _ in network.named_parameters()]
    chosen: list[str] = []
    for name in names:
        parts = groups.get(name, (name,))
        if not any(_within(parameter, parts) for parameter in parameters):
            modules = (path for path, module in network.named_modules() if path and _has_state(module))
            near = did_you_mean(name, [*groups, *modules]) or ";"
            owner, listed = type(network).__name__, ", ".join(groups)
            raise UserError(f"no parameter of {owner} is called '{name}'{near} groups: {listed}")
        chosen.extend(parts)
    return tuple(chosen)


def _within(name: str, prefixes: Iterable[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _state_names(module: nn.Module, prefix: str = "", recurse: bool = True) -> Iterator[str]:
    for name, _ in module.named_parameters(prefix, recurse=recurse):
        yield name
    for name, _ in module.named_buffers(prefix, recurse=recurse):
        yield name


def _has_state(module: nn.Module) -> bool:
    return next(_state_names(module), None) is not None
