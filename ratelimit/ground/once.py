"""What is said once: a warning that would come again with every request."""

from __future__ import annotations


class Once:
    """Remembers what was said, up to a bound: of what comes beyond it nothing is said at all."""

    __slots__ = ("_most", "_said")

    def __init__(self, most: int = 100) -> None:
        self._most = most
        self._said: set[str] = set()

    def first(self, about: str) -> bool:
        """Whether this is the first time."""
        if about in self._said or len(self._said) >= self._most:
            return False
        self._said.add(about)
        return True
