"""What was made for the callers of late, so that it need not be made again."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

SIZE = 4096  # of a generation: twice as many are kept at the most

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Recent(Generic[_K, _V]):
    """A mapping with a bound: what was asked for among the last `size` different keys is there, and of what was not, no
    more than that many again.

    Two generations, young and old. What is found in the old one is young again; when the young one is full it becomes
    the old one, and what was old is dropped. So a flood of keys that never come again pushes out none that comes all
    the time. A value is never None. Threads may share one: the worst of a race is that something is made again.

    `young` is for who asks so often that a call less matters: what is not there may still be found by `get`.
    """

    __slots__ = ("_old", "_size", "young")

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self.young: dict[_K, _V] = {}
        self._old: dict[_K, _V] = {}

    def get(self, key: _K) -> _V | None:
        value = self.young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: _K, value: _V) -> None:
        if len(self.young) >= self._size:
            self._old, self.young = self.young, {}
        self.young[key] = value

    def __len__(self) -> int:
        return len(self.young) + len(self._old)
