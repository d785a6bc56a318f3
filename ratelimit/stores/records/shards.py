"""A dict in parts, of which none ever stops the event loop while it grows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

LOOKED_AT = 1_000  # entries at a time: 0.1 to 0.2 ms
DROPPED = 256  # of them at the most: a millisecond
PARTS = 256  # of a million entries the largest step is that of 4,000, 0.2 ms; of one dict it was 40 ms

V = TypeVar("V")


class Shards(Generic[V]):
    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: list[dict[str, V]] = [{} for _ in range(PARTS)]

    def number(self, key: str) -> int:
        """Of the part that has this key, or would have it."""
        return hash(key) % PARTS

    def of(self, key: str) -> dict[str, V]:
        return self.parts[hash(key) % PARTS]

    def get(self, key: str) -> V | None:
        return self.parts[hash(key) % PARTS].get(key)

    def pop(self, key: str) -> V | None:
        return self.parts[hash(key) % PARTS].pop(key, None)

    def values(self) -> Iterator[V]:
        for part in self.parts:
            yield from part.values()

    def __len__(self) -> int:
        return sum(map(len, self.parts))


class Walk(Generic[V]):
    """Goes through several of them again and again, some entries at a time."""

    def __init__(self, *shards: Shards[V]) -> None:
        self._parts = [part for one in shards for part in one.parts]
        self._next = 0

    def some(self, at_most: int) -> Iterator[dict[str, V]]:
        """The next parts, with about so many entries."""
        while self._next < len(self._parts) and at_most > 0:
            part = self._parts[self._next]
            self._next += 1
            at_most -= len(part)
            yield part

    def again(self) -> None:
        """Begin with the last part once more the next time."""
        self._next -= 1

    def ended(self) -> bool:
        """Whether it has been everywhere; then it begins again."""
        if self._next < len(self._parts):
            return False
        self._next = 0
        return True
