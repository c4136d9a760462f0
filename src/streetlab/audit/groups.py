"""Group images that show the same picture, by their duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from scipy.cluster.hierarchy import DisjointSet

from streetlab.audit.duplicates import DuplicatePair
from streetlab.audit.fingerprints import Fingerprints


@dataclass(frozen=True)
class Group:
    """Two or more images that show the same picture.

    Attributes:
        name: 12 hex digits of the smallest content hash of its members, the same wherever they lie.
        members: indices, ascending.
        duplicates: the links between members.
        chain: the group would have grown beyond the cap, so that near copies of its members are left out.
    """

    name: str
    members: tuple[int, ...]
    duplicates: tuple[DuplicatePair, ...]
    chain: bool


def group_images(fingerprints: Fingerprints, duplicates: Iterable[DuplicatePair], most: int = 50) -> list[Group]:
    """Group connected duplicates (union-find); images without a pair are in none.

    Exact copies always come together. Then near duplicates join groups, the most similar first, as long as no group
    of more than `most` arises: pictures that follow each other in a video are each alike to the next, and would
    otherwise chain the whole video together. Groups that are kept apart in this way are flagged.

    Args:
        most: cap on the members of a group.

    Returns:
        In the order of their first members.
    """
    connected = DisjointSet(range(len(fingerprints)))
    capped: set[int] = set()
    duplicates = sorted(
        duplicates,
        key=lambda pair: (pair.kind == "near", -pair.similarity, pair.first, pair.second),
    )
    for pair in duplicates:
        a, b = pair.first, pair.second
        joined = connected.connected(a, b)
        if not joined and pair.kind == "near" and connected.subset_size(a) + connected.subset_size(b) > most:
            capped |= {a, b}
        else:
            connected.merge(a, b)

    links: dict[int, list[DuplicatePair]] = defaultdict(list)
    for pair in duplicates:
        if connected.connected(pair.first, pair.second):
            links[connected[pair.first]].append(pair)
    chains = {connected[index] for index in capped}
    groups = sorted(sorted(subset) for subset in connected.subsets() if len(subset) > 1)
    return [
        Group(
            name=min(fingerprints.content(index) or "" for index in members)[:12],
            members=tuple(members),
            duplicates=tuple(sorted(links[connected[members[0]]], key=lambda pair: (pair.first, pair.second))),
            chain=connected[members[0]] in chains,
        )
        for members in groups
    ]
