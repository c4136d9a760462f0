"""Divide groups of images into bins of given class shares; groups stay whole."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Profile = tuple[tuple[int, int], ...]
"""How many images of which class a group holds: (class, images), in the order of the classes."""
Kind = tuple[int, Profile]
"""Groups of one bin and one profile: which of them moves makes no difference."""

_EMPTY = 1e3
"""The cost of a bin without a class: far above what any uneven shares cost."""
_GAIN = 1e-9
"""Exchanges that gain less are not made: this far down floating point decides."""
_NEAR = 0.01
"""Shares this near to the wanted ones are near enough not to try another order."""
_MOST_ORDERS, _MOST_GROUPS = 40, 40_000
"""Orders to try, and groups to deal in all of them together: with many groups the first order fits."""
_MOST_KINDS = 1000
_MOST_PASSES = 5


def stratify_groups(groups: Sequence[str], labels: Sequence[int], shares: Sequence[float], seed: int) -> list[int]:
    """A bin for each image, the same for all images of a group.

    The groups are dealt one after the other, the large ones first, each to the bin where the chi-square distance
    between the classes' shares and the wanted ones stays smallest; then single groups move, or two change places,
    as long as that brings the shares nearer or gives a bin a class that it lacks. Groups of equal size come in
    the order of a hash of seed and name. Where a few large groups fit badly, other orders are tried and the best
    counts. So the result follows from seed, groups and labels alone, and not from the order of the images; it is
    the same on every machine.

    Args:
        groups, labels: of N images.
        shares: of B bins, each above 0; they sum to 1.

    Returns:
        N numbers of bins, 0 to B - 1. A bin may lack a class, above all one that comes in fewer than B groups.
    """
    labels_of: dict[str, Counter[int]] = defaultdict(Counter)
    for group, label in zip(groups, labels, strict=True):
        labels_of[group][label] += 1
    profiles: dict[str, Profile] = {group: tuple(sorted(counts.items())) for group, counts in labels_of.items()}
    best: dict[str, int] = {}
    lowest = float("inf")
    for attempt in range(max(1, min(_MOST_ORDERS, _MOST_GROUPS // max(1, len(profiles))))):
        order = sorted(profiles, key=lambda group: _draw(seed, group, attempt))
        if attempt == 0:
            order.sort(key=lambda group: -labels_of[group].total())
        table = _Table(Counter(labels), shares)
        bins = {group: table.add(profiles[group]) for group in order}
        _improve(table, profiles, bins)
        cost = table.total_cost()
        if cost < lowest - _GAIN:
            best, lowest = bins, cost
        if table.is_near():
            break
    return [best[group] for group in groups]


def _draw(seed: int, group: str, attempt: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{group}\0{attempt}".encode(errors="surrogateescape")).digest()


class _Table:
    """Number of images of each class in each bin, and the distance to the wanted shares."""

    def __init__(self, totals: Counter[int], shares: Sequence[float]) -> None:
        self.labels, self.shares = sorted(totals), list(shares)
        self.totals = totals
        self.counts = [dict.fromkeys(self.labels, 0) for _ in shares]
        self.images = [0] * len(self.shares)

    def add(self, profile: Profile) -> int:
        """Add a group to the bin where it fits best, of equally good ones the emptiest; return that bin."""
        images = sum(number for _, number in profile)

        def cost(place: int) -> tuple[float, float]:
            share, counts = self.shares[place], self.counts[place]
            rise = sum(n * (2 * counts[label] + n) / (share * self.totals[label] ** 2) for label, n in profile)
            return rise, (self.images[place] + images) / share

        best = min(range(len(self.shares)), key=cost)
        self.move(profile, None, best)
        return best

    def move(self, profile: Profile, old: int | None, new: int) -> None:
        for label, number in profile:
            self.counts[new][label] += number
            self.images[new] += number
            if old is not None:
                self.counts[old][label] -= number
                self.images[old] -= number

    def cost(self, counts: NDArray[np.float64], share: NDArray[np.float64], label: int) -> NDArray[np.float64]:
        """Chi-square of one class in bins of these shares, in shares of the class instead of images."""
        deviation = counts / self.totals[label] - share
        return deviation * deviation / share + _EMPTY * (counts == 0)

    def total_cost(self) -> float:
        share = np.array(self.shares)
        return sum(float(cost) for label in self.labels for cost in self.cost(self._column(label), share, label))

    def is_near(self) -> bool:
        """Check that every bin has every class, in a share near the wanted one or within one image of it."""
        share = np.array(self.shares)
        for label in self.labels:
            counts, total = self._column(label), self.totals[label]
            if (counts == 0).any() or (np.abs(counts - share * total) > max(1, _NEAR * total)).any():
                return False
        return True

    def _column(self, label: int) -> NDArray[np.float64]:
        return np.array([counts[label] for counts in self.counts], dtype=np.float64)


def _improve(table: _Table, profiles: dict[str, Profile], bins: dict[str, int]) -> None:
    """Change `bins` by exchanges until none helps."""
    holders: dict[int, list[str]] = defaultdict(list)
    for group in bins:
        for label, _ in profiles[group]:
            holders[label].append(group)
    for _ in range(_MOST_PASSES):
        changed = [_exchange(table, holders[label], profiles, bins) for label in table.labels]
        if not any(changed):
            break


def _exchange(table: _Table, groups: list[str], profiles: dict[str, Profile], bins: dict[str, int]) -> bool:
    """Move or swap some of the groups while that brings the shares nearer; whether any did."""
    kinds: dict[Kind, list[str]] = defaultdict(list)
    for group in groups:
        kinds[bins[group], profiles[group]].append(group)
    changed = False
    while (found := _best_exchange(table, [kind for kind, members in kinds.items() if members])) is not None:
        for (old, profile), new in found:
            if profile:
                group = kinds[old, profile].pop(0)
                kinds[new, profile].append(group)
                table.move(profile, old, new)
                bins[group] = new
        changed = True
    return changed


def _best_exchange(table: _Table, kinds: list[Kind]) -> tuple[tuple[Kind, int], tuple[Kind, int]] | None:
    """Two groups of different bins to change places, each with its new bin; one may be the empty profile.

    NumPy adds element by element here, never by BLAS, whose sums differ between machines.
    """
    kinds = [(place, ()) for place in range(len(table.shares))] + sorted(kinds, key=_size)[:_MOST_KINDS]
    places = np.array([place for place, _ in kinds])
    share = np.array(table.shares)[places]
    gain = np.zeros((len(kinds), len(kinds)))
    for label in sorted({label for _, profile in kinds for label, _ in profile}):
        own = np.array([dict(profile).get(label, 0) for _, profile in kinds], dtype=np.float64)
        there = np.array([table.counts[place][label] for place in places], dtype=np.float64)
        before = table.cost(there, share, label)
        coming = own[None, :] - own[:, None]  # for the bin of the row, when row and column change places
        after = table.cost(there[:, None] + coming, share[:, None], label)
        gain += (before[:, None] - after) + (before[:, None] - after).T
    gain[places[:, None] == places[None, :]] = 0
    best = np.unravel_index(np.argmax(np.round(gain, 12)), gain.shape)
    if gain[best] < _GAIN:
        return None
    first, second = kinds[best[0]], kinds[best[1]]
    return (first, second[0]), (second, first[0])


def _size(kind: Kind) -> tuple[int, int, Profile]:
    place, profile = kind
    return sum(number for _, number in profile), place, profile
