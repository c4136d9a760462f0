"""Label spaces keep their order and survive a checkpoint."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest

from streetlab.datasets.labels import (
    CITYSCAPES,
    CLEANLINESS,
    LABEL_SPACES,
    LabelSpace,
    categorical_palette,
    class_ids,
    same_names,
    to_label_ids,
)
from streetlab.errors import UserError


def test_cleanliness_is_a_scale_from_clean_to_litter_with_its_written_criteria() -> None:
    assert CLEANLINESS.names == ("Clean", "Medium", "Litter")
    assert CLEANLINESS.ordinal
    assert len(CLEANLINESS.criteria) == len(CLEANLINESS) == 3


def test_cityscapes_has_the_nineteen_published_train_ids_and_colours() -> None:
    assert len(CITYSCAPES) == len(CITYSCAPES.palette) == 19
    published = {"road": (0, (128, 64, 128)), "sky": (10, (70, 130, 180)), "person": (11, (220, 20, 60)),
                 "car": (13, (0, 0, 142)),
                 "train": (16, (0, 80, 100)), "bicycle": (18, (119, 11, 32))}  # fmt: skip
    for name, (number, color) in published.items():
        assert (CITYSCAPES.names[number], CITYSCAPES.palette[number]) == (name, color)


def test_every_train_id_goes_back_to_its_label_id_and_ignored_pixels_to_unlabeled() -> None:
    found = to_label_ids(np.array([[0, 10, 18], [255, 16, 13]], np.uint8))
    assert found.dtype == np.uint8
    assert found.tolist() == [[7, 23, 33], [0, 31, 26]]
    with pytest.raises(ValueError, match="19 is not a train id of cityscapes"):
        to_label_ids(np.array([0, 19], np.uint8))


@pytest.mark.parametrize("space", LABEL_SPACES.values(), ids=LABEL_SPACES)
def test_a_checkpoint_gives_back_the_same_classes(space: LabelSpace) -> None:
    assert LabelSpace.from_dict(json.loads(json.dumps(space.to_dict()))) == space


def test_a_palette_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 names but 1 in palette"):
        LabelSpace("pair", "classification", ("a", "b"), ((0, 0, 0),))


def test_any_number_of_classes_gets_colours() -> None:
    assert len(categorical_palette(25)) == 25
    assert len(set(categorical_palette(10))) == 10


@pytest.mark.parametrize("entry", [None, True, 1000.0, float("nan")])
def test_a_value_of_yaml_names_no_class_even_where_one_is_called_like_its_text(entry: object) -> None:
    with pytest.raises(UserError, match=r"^hide: .* is no name of a class.* in quotes"):
        class_ids([entry], ["None", "True", "1000.0", "nan"], "hide")
    assert class_ids(["null", 1, "1E3"], ["null", "true", "1e3"]) == [0, 1, 2]


def test_a_class_is_named_in_any_case_and_unicode_form() -> None:
    written, typed = (unicodedata.normalize(form, "Müll") for form in ("NFD", "NFC"))
    assert class_ids(typed.upper(), ["sauber", written]) == [1]
    assert same_names([written, "a"], [typed, "A"])
    assert not same_names([written, "a"], ["a", written])
