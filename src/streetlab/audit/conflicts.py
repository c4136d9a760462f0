"""What becomes of photos that show the same under different labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from streetlab.audit.groups import Group


@dataclass(frozen=True)
class Resolution:
    """The labels after the policy.

    Attributes:
        labels: of each image.
        dropped: the images that are not to be used.
        relabelled: the images whose label is no longer their own.
    """

    labels: list[int | None]
    dropped: frozenset[int]
    relabelled: frozenset[int]


def resolve(groups: Sequence[Group], labels: Sequence[int | None], policy: str) -> Resolution:
    """Settle the groups whose members carry different labels.

    Args:
        groups: of images that show the same, be they exact copies or verified near ones.
        labels: of each image.
        policy: `drop` uses none of such a group, `majority` gives all of it the most frequent label (none of it is
            used where two are equally frequent), `keep` leaves everything as it is.
    """
    resolved = list(labels)
    dropped: set[int] = set()
    for group in groups:
        counts = Counter(label for member in group.members if (label := labels[member]) is not None)
        if len(counts) < 2 or policy == "keep":
            continue
        (most, votes), (_, next_votes) = counts.most_common(2)
        if policy == "drop" or votes == next_votes:
            dropped.update(group.members)
            continue
        for member in group.members:
            resolved[member] = most
    relabelled = {image for image, label in enumerate(labels) if resolved[image] != label}
    return Resolution(resolved, frozenset(dropped), frozenset(relabelled))
