"""The names of data sets as people write them."""

from __future__ import annotations

_NAMES = {
    "camvid": "CamVid",
    "cityscapes": "Cityscapes",
    "street_cleanliness": "street cleanliness",
    "synthetic_cleanliness": "synthetic cleanliness",
    "synthetic_items": "synthetic items",
    "synthetic_streets": "synthetic streets",
}
_DRAWN = {
    "synthetic_cleanliness": "drawn streets",
    "synthetic_items": "drawn close-ups of things on the ground",
    "synthetic_streets": "drawn streets",
}


def data_set_name(name: str) -> str:
    """The name of a data set as people write it."""
    return _NAMES.get(name, name)


def training_data_name(name: str) -> str:
    """The name of a data set for people who ask what a network has seen.

    >>> training_data_name("synthetic_streets")
    'drawn streets (synthetic streets)'
    """
    drawn = _DRAWN.get(name)
    return f"{drawn} ({data_set_name(name)})" if drawn else data_set_name(name)
