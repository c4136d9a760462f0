"""The classes that must not be shown are found in every label space, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from streetlab.datasets.class_roles import PrivateClasses, ground_classes
from streetlab.datasets.labels import CAMVID, CITYSCAPES, LabelSpace


def named(*names: str) -> LabelSpace:
    return LabelSpace("own", "segmentation", names, ((0, 0, 0),) * len(names))


def test_ground_is_what_one_stands_on():
    assert [CITYSCAPES.names[i] for i in ground_classes(CITYSCAPES)] == ["road", "sidewalk", "terrain"]
    assert [CAMVID.names[i] for i in ground_classes(CAMVID)] == ["road", "pavement"]
    names = ("Bicycle_Path", "street lamp", "kerb", "sky", "railroad")
    own = LabelSpace("own", "segmentation", names, ((0, 0, 0),) * 5)
    assert ground_classes(own) == [0, 2]


def test_people_and_vehicles_of_the_public_data_sets():
    cityscapes, camvid = PrivateClasses.of(CITYSCAPES), PrivateClasses.of(CAMVID)
    assert [CITYSCAPES.names[i] for i in cityscapes.people] == ["person", "rider"]
    assert [CITYSCAPES.names[i] for i in cityscapes.vehicles] == [
        "car", "truck", "bus", "train", "motorcycle", "bicycle"
    ]  # fmt: skip
    assert cityscapes.ids == (11, 12, 13, 14, 15, 16, 17, 18)
    assert [CAMVID.names[i] for i in camvid.ids] == ["car", "pedestrian", "bicyclist"]
    assert cityscapes.lacking is camvid.lacking is None


def test_classes_of_ones_own_count_by_their_last_word():
    own = named("Parked_Cars", "bus stop", "pedestrians", "car park", "other-vehicle", "bike lane", "buses")
    assert PrivateClasses.of(own) == PrivateClasses(people=(2,), vehicles=(0, 4))


@pytest.mark.parametrize(
    ("names", "lacking"),
    [(("person", "sky"), "vehicles"), (("sky", "car"), "people"), (("road", "sky"), "people or vehicles")],
)
def test_a_label_space_that_lacks_one_of_the_two_says_which(names, lacking):
    assert PrivateClasses.of(named(*names)).lacking == lacking
