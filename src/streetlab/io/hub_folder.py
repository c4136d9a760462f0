"""Folders in the layout of the Hugging Face hub, and the names of its repositories."""

from __future__ import annotations

from pathlib import Path

HUB = "hf://"
"""Start of the name of a repository of the hub: `hf://owner/name`, `hf://owner/name@revision`."""

FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of the file of weights in a repository, the first that is there."""


def is_of_hub(text: str) -> bool:
    """True for the name of a repository of the hub."""
    return text.startswith(HUB)


def weights_file(path: Path) -> Path:
    """The file of weights in a folder of the hub's layout; any other path as it is."""
    return next((path / name for name in FILES if (path / name).is_file()), path)
