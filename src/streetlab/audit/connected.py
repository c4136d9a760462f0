"""Things that are put together pair by pair (union-find, Galler and Fisher 1964)."""

from __future__ import annotations


class Connected:
    """`count` things, each alone at first.

    Attributes:
        size: how many things hang together, by their root.
    """

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self.size = [1] * count

    def root(self, index: int) -> int:
        """The smallest of the things that hang together with this one."""
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = self._parent[index]
        return index

    def join(self, one: int, other: int) -> None:
        """Put together what hangs together with either."""
        low, high = sorted((self.root(one), self.root(other)))
        if low != high:
            self._parent[high] = low
            self.size[low] += self.size[high]
