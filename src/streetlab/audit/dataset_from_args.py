"""Build the data set that a command line chooses, such that unreadable files are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import DictConfig

from streetlab.config import instantiate
from streetlab.config.command_line import CommandLine, without_null_choices
from streetlab.config.composition import composer
from streetlab.config.translation import translate
from streetlab.config.values import check_nothing_missing
from streetlab.datasets.source import DataSource
from streetlab.errors import UserError
from streetlab.hydra_compat import has_mapping

ROOT = "train"
"""The root config whose words choose a data set."""
_CHOOSE = ("dataset", "experiment")


@dataclass(frozen=True, eq=False)
class Chosen:
    """A data set and its config's keys about splits.

    Attributes:
        takes_split_file: whether it can use a split that is written for it.
        notes: what is to be known of how it was read, in sentences.
    """

    source: DataSource
    takes_split_file: bool
    notes: tuple[str, ...] = ()


def chosen_data(words: Sequence[str]) -> Chosen:
    """Build the data set that `streetlab train` with these overrides would use, without unreadable files.

    Raises:
        UserError: no data set is named, a word that is wrong, data that is not there.
    """
    try:
        with composer() as compose:
            if not any(word.partition("=")[0] in _CHOOSE for word in words):
                known = ", ".join(compose.choices("dataset"))
                raise UserError(f"which data set? Give dataset=NAME ({known})")
            config = compose.compose(ROOT, without_null_choices(words, ROOT))
    except Exception as error:
        known_error = translate(error, ROOT, CommandLine([], list(words)))
        if known_error is None:
            raise
        raise known_error from error
    check_nothing_missing(config)
    _skip_unreadable(config.dataset)
    takes_split_file = "split_file" in config.dataset
    try:
        source, notes = instantiate(config.dataset), []
    except UserError as error:  # what keeps a split from being drawn keeps nobody from looking at the images
        if "test_from" not in config.dataset or config.dataset.split_file is not None:
            raise
        try:
            source = instantiate(config.dataset, test_from="all")
        except UserError:
            raise error from None
        notes = [f"No split of the images as they are ({error}): all of them are shown as test."]
    if source.passed.counts:
        notes.append(f"{source.passed.sentence()}.")
    return Chosen(source, takes_split_file, tuple(notes))


def _skip_unreadable(node: DictConfig) -> None:
    """Set `on_error: skip` wherever a data set has the key, those inside another one included."""
    for key in list(node):
        if key == "on_error":
            node[key] = "skip"
        elif has_mapping(node, str(key)):
            _skip_unreadable(node[key])
