"""What was made for the callers of late, so that it need not be made again."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

SIZE = 4096  # of a generation: twice as many are kept at the most
ON_TRIAL = 64  # less than the garbage collector waits for before it looks at what is new, 700 objects

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


class Returning(Recent[_K, _V]):
    """The same for those who come back: who comes once leaves nothing but a hash.

    A new key is kept while fewer than `ON_TRIAL` others are new, and as in a Recent if it is asked for again by then,
    or put again among the last `size` of them; `who` says whose it is where keys are ids, which others have afterwards.
    So a million callers who come once replace one another: objects that live for thousands of requests would make the
    garbage collector look at every object of the app, a pause of 20 ms and more each 10,000 callers.
    """

    __slots__ = ("_hashes", "_old_hashes", "_on_trial")

    def __init__(self, size: int = SIZE) -> None:
        super().__init__(size)
        self._on_trial: dict[_K, _V] = {}
        self._hashes: set[int] = set()
        self._old_hashes: set[int] = set()

    def get(self, key: _K) -> _V | None:
        value = self._on_trial.pop(key, None)
        if value is None:
            return super().get(key)
        super().put(key, value)
        return value

    def put(self, key: _K, value: _V, who: Hashable = None) -> None:
        number = hash(key if who is None else who)
        if number in self._hashes or number in self._old_hashes:
            super().put(key, value)
            return
        if len(self._hashes) >= self._size:
            self._old_hashes, self._hashes = self._hashes, set()
        self._hashes.add(number)
        self._on_trial[key] = value
        if len(self._on_trial) > ON_TRIAL:
            for oldest in list(self._on_trial)[:-ON_TRIAL]:  # another thread may drop it, too
                self._on_trial.pop(oldest, None)

    def __len__(self) -> int:
        return super().__len__() + len(self._on_trial)
