"""Group images that show the same picture, by their duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from streetlab.audit.connected import Connected
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
    connected = Connected(len(fingerprints))
    root_of, size = connected.root, connected.size
    capped: set[int] = set()
    duplicates = sorted(
        duplicates,
        key=lambda pair: (pair.kind == "near", -pair.similarity, pair.first, pair.second),
    )
    for pair in duplicates:
        a, b = root_of(pair.first), root_of(pair.second)
        if a != b and pair.kind == "near" and size[a] + size[b] > most:
            capped |= {a, b}
        else:
            connected.join(a, b)

    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(fingerprints)):
        if size[root_of(index)] > 1:
            members[root_of(index)].append(index)
    links: dict[int, list[DuplicatePair]] = defaultdict(list)
    for pair in duplicates:
        root = root_of(pair.first)
        if root == root_of(pair.second):
            links[root].append(pair)
    chains = {root_of(index) for index in capped}
    return [
        Group(
            name=min(fingerprints.content(index) or "" for index in those)[:12],
            members=tuple(those),
            duplicates=tuple(sorted(links[root], key=lambda pair: (pair.first, pair.second))),
            chain=root in chains,
        )
        for root, those in sorted(members.items())
    ]
