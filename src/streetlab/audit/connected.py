"""Join elements pair by pair (union-find, Galler and Fisher 1964)."""

from __future__ import annotations


class Connected:
    """Union-find over `count` elements, each alone at first.

    Attributes:
        size: how many things hang together, by their root.
    """

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self.size = [1] * count

    def root(self, index: int) -> int:
        """The smallest element that is connected with this one."""
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = self._parent[index]
        return index

    def join(self, one: int, other: int) -> None:
        """Connect the sets of two elements."""
        low, high = sorted((self.root(one), self.root(other)))
        if low != high:
            self._parent[high] = low
            self.size[low] += self.size[high]
