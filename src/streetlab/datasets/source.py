"""The interface of every data set: samples by split, and reading one sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetlab.datasets.content import PassedOver
from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.manifest import Entry, Manifest
from streetlab.datasets.scan import SPLITS
from streetlab.datasets.splits import SplitFile, split_hash
from streetlab.errors import UserError, did_you_mean
from streetlab.io.archive import ZipMember

ON_ERROR = ("fail", "skip")


@dataclass(frozen=True)
class Sample:
    """One image of a data set.

    Attributes:
        id: what names it in records, the same on every machine (a path under the root, a scene's number).
        label: the class of the whole image; None where each pixel has one.
        group: images of one group show the same thing; equal to the id where nothing is known.
        path: the file, where there is one.
        mask_path: the file of the pixels' classes; None where they are drawn with the image, or withheld.
    """

    id: str
    label: int | None
    group: str
    path: Path | ZipMember | None = None
    mask_path: Path | ZipMember | None = None


def cannot_write(path: Path, error: OSError) -> UserError:
    """The error of every failed write below `dataset.cache_dir`."""
    reason = error.strerror or str(error)
    return UserError(f"dataset.cache_dir: cannot write {path} ({reason}); give another with dataset.cache_dir=DIR")


def make_cache_folder(folder: Path) -> None:
    """Make a folder below `dataset.cache_dir`, or raise a UserError with the reason."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from None


class DataSource(ABC):
    """Base of data sets without tensors: an index of samples and a way to read each as an RGB image.

    Args:
        name: the data set's name in records and cache folders.
        cache_dir: where decoded images are kept; never under the data.
        on_error: `fail` stops at an image that does not decode, `skip` leaves it out and says so.
        on_device: decoded images stay in the memory of the device that trains.

    Attributes:
        eval_split: the split whose numbers are reported: `val` where the truth of `test` is withheld.
        drawn_when_read: reading computes the picture, in Python, instead of decoding a file.
        split_file: the file that the splits are from, where one was asked for.
        tree_splits: the splits that the folders of a tree name; None where its splits come from elsewhere.
        passed: the files of a tree that were not taken.
        required_classes: the ids of classes without which no training makes sense, since the user named them.
    """

    label_space: LabelSpace
    eval_split: str = "test"
    drawn_when_read: bool = False
    split_file: SplitFile | None = None
    tree_splits: frozenset[str] | None = None
    passed: PassedOver
    required_classes: frozenset[int] = frozenset()

    def __init__(self, name: str, cache_dir: str | Path, on_error: str = "fail", on_device: bool = False) -> None:
        if on_error not in ON_ERROR:
            near = did_you_mean(str(on_error), ON_ERROR)
            raise UserError(f"dataset.on_error: '{on_error}' is not one of {', '.join(ON_ERROR)}{near}")
        if not name or name.startswith(".") or "/" in name or "\\" in name:
            raise UserError(f"dataset.name: '{name}' cannot name a folder of the cache (no / and no leading dot)")
        self.name = name
        self.cache_dir = Path(cache_dir).expanduser()
        self.on_error = on_error
        self.on_device = on_device
        self.passed = PassedOver()

    @property
    def split_file_sha256(self) -> str | None:
        """SHA-256 (hex) of the file that the splits are from, where one was asked for."""
        return None if self.split_file is None else self.split_file.sha256

    @property
    def has_masks(self) -> bool:
        """True if each pixel has a class, False if each image has one."""
        return self.label_space.spec.per_pixel

    @abstractmethod
    def samples(self, split: str) -> Sequence[Sample]:
        """The samples of `train`, `val` or `test`, in a fixed order."""

    @abstractmethod
    def read(self, sample: Sample, min_side: int | None = None) -> Image.Image:
        """One image, RGB. Raises `UnreadablePhoto` where the file is broken."""

    def read_pair(self, sample: Sample, min_side: int | None = None) -> tuple[Image.Image, np.ndarray]:
        """One image, RGB, and its mask `(H, W)` uint8 of class ids, 255 = ignore, at the data set's own size.

        Raises `UnreadablePhoto` where a file is broken, the two do not fit each other, or the mask holds a
        value that stands for no class.
        """
        raise NotImplementedError(f"{type(self).__name__} has no masks")

    def recording(self, sample: Sample) -> str:
        """Name of what the image is a frame of: a video, a sequence, a city; empty where nothing is known.

        Frames of one recording are no independent evidence, so that intervals and tests resample recordings.
        """
        return "" if sample.group == sample.id else sample.group

    def soft_labels(self, samples: Sequence[Sample]) -> NDArray[np.float32] | None:
        """Probabilities `(N, K)` that training learns in place of the labels; None where labels are all there is."""
        return None

    def evidence(self, sample: Sample) -> NDArray[np.bool_] | None:
        """The pixels (H, W) that the label follows from, at the image's own size; None where unknown."""
        return None

    @abstractmethod
    def fingerprint(self, sample: Sample) -> str:
        """Fingerprint that changes whenever what `read` returns may have changed; cheap, and never fails."""

    def content_hashes(self, samples: Sequence[Sample]) -> list[str | None]:
        """Identify what `read` returns for each sample, wherever its files lie; None where one cannot be read."""
        return [self.fingerprint(sample) for sample in samples]

    def manifest(self) -> Manifest:
        """List all samples of all splits with their labels and contents."""
        by_split = {split: list(self.samples(split)) for split in SPLITS}
        hashes = iter(self.content_hashes([sample for samples in by_split.values() for sample in samples]))
        entries = [
            Entry(split, sample.id, self._label_name(sample), next(hashes) or "unreadable")
            for split, samples in by_split.items()
            for sample in samples
        ]
        return Manifest(entries, self.split_hash())

    def split_hash(self, samples: Callable[[str], Sequence[Sample]] | None = None) -> str:
        """Identifies which sample is in which split with which label.

        Args:
            samples: the samples of a split, where some are left out (those that do not decode).
        """
        samples = samples or self.samples
        return split_hash((split, sample.id, self.truth_name(sample)) for split in SPLITS for sample in samples(split))

    def split_record(self, samples: Callable[[str], Sequence[Sample]] | None = None) -> dict[str, Any]:
        """The split's entry in status.json: its hash (see `split_hash`), and the file that it is from."""
        file = self.split_file
        about = None if file is None else {"name": file.path.name, "sha256": file.sha256}
        return {"split_hash": self.split_hash(samples), "split_file": about}

    def _label_name(self, sample: Sample) -> str:
        return "" if sample.label is None else self.label_space.names[sample.label]

    def ignored_values(self, samples: Sequence[Sample]) -> dict[int, int]:
        """The values in the files of these samples' masks that count for nothing, and their pixels."""
        return {}

    def truth_name(self, sample: Sample) -> str:
        """The name of the sample's class; where pixels have classes, how the masks are read."""
        return self._label_name(sample) or self.label_space.name
