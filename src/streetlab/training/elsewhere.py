"""Choose the photos that a finished run is tested on: its own splits, or all of another data set."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from omegaconf import DictConfig

from streetlab.config import instantiate
from streetlab.config.targets import locate
from streetlab.datasets.everything import Everything
from streetlab.datasets.labels import LabelSpace
from streetlab.datasets.scan import SPLITS
from streetlab.datasets.source import DataSource
from streetlab.errors import UserError
from streetlab.records.identity import has_photos
from streetlab.records.record import RunRecord

ALL = "all"
"""The value of `split=` for all photos of a data set, whatever split they are in."""
TESTABLE = (*SPLITS, ALL)
"""The values of `split=`."""
_OTHER_DATA = ("dataset", "dataset.root", "data")
_SAYS_SPLITS = ("split_file", "split_seed", "folds", "fold", "test_from")


def names_other_data(keys: Iterable[str]) -> bool:
    """Tell whether overrides of a run's config name a data set, or a place, and leave its splits open."""
    keys = list(keys)
    if any(key == f"dataset.{part}" for key in keys for part in _SAYS_SPLITS):
        return False
    return any(key in _OTHER_DATA for key in keys)


def build_source(config: DictConfig, label_space: LabelSpace, everything: bool = False) -> DataSource:
    """The config's data set for a network that has learned the classes; class folders may be missing from it.

    Args:
        label_space: the classes.
        everything: `test` holds all images; no split is drawn for that.
    """
    given: dict[str, Any] = {"label_space": label_space} if _takes(config.dataset, "label_space") else {}
    if not everything:
        return instantiate(config.dataset, **given)
    if _takes(config.dataset, "test_from"):
        return instantiate(config.dataset, **given, test_from=ALL)
    return Everything(instantiate(config.dataset, **given))


def tests_everything(
    split: str | None, other_data: bool, config: DictConfig, label_space: LabelSpace, run: RunRecord
) -> bool:
    """Tell whether to test all photos: on request, or of a tree with one split folder or none.

    The run's own photos in another place are tested in the run's own splits.

    Args:
        other_data: see `names_other_data`.
    """
    if split is not None or not other_data:
        return split == ALL
    node = config.dataset
    if not _takes(node, "test_from") or node.get("split_file") is not None:
        return False
    source = build_source(config, label_space, everything=True)
    if len(source.tree_splits or ()) > 1 and node.get("folds") is None:
        return False
    return not _holds_the_runs_photos(config, label_space, run)


def _holds_the_runs_photos(config: DictConfig, label_space: LabelSpace, run: RunRecord) -> bool:
    """Tell whether the photos, split by the config, are the run's, in the very splits that it recorded."""
    if not run.known_status.get("split_hash"):
        return False
    try:
        return has_photos(run, build_source(config, label_space).manifest())
    except UserError:  # too few photos to split
        return False


def tested_splits(source: DataSource, splits: Sequence[str]) -> tuple[str, ...]:
    """Those of the splits that have images.

    Raises:
        UserError: none has.
    """
    kept = tuple(split for split in splits if source.samples(split))
    if not kept:
        raise UserError(
            f"dataset {source.name}: no images in {' or '.join(splits)}; split=train or split=all tests others"
        )
    return kept


def _takes(node: DictConfig, name: str) -> bool:
    """Tell whether the target of a config has a parameter of that name."""
    return name in inspect.signature(locate(node["_target_"])).parameters
