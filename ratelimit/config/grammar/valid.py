"""What of a policy file is valid, and the problems of the rest.

A file with a mistake is still read as far as possible, so that one run tells of every mistake in it: what can't be read
is left out, and the rest is read again until it is whole. Paths are always those of the file as it was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from ratelimit.config.grammar.messages import Path, Problem, problem
from ratelimit.config.grammar.tables import PolicyFile

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Valid:
    """A file as far as it is valid. `written` is the whole of it, `dropped` the paths of what was left out."""

    file: PolicyFile
    written: Mapping[str, Any] = field(repr=False)  # may hold a password, or by mistake an API key
    dropped: frozenset[Path] = field(repr=False)

    def numbered(self, path: Path, items: Sequence[_T]) -> Iterator[tuple[Path, _T]]:
        """The items that were read of the list at a path, each with its own path."""
        total = len(items) + sum(1 for dropped in self.dropped if dropped[:-1] == path)
        paths = ((*path, index) for index in range(total))
        return zip((path for path in paths if path not in self.dropped), items, strict=True)

    def at(self, path: Path) -> Any:
        """What is written at a path, valid or not; None if there is nothing."""
        node: Any = self.written
        for step in path:
            node = node.get(step) if isinstance(node, dict) else node[step]
        return node

    def given(self, path: Path) -> set[str]:
        """The keys that are written in the table at a path, valid or not."""
        table = self.at(path)
        return set(table) if isinstance(table, dict) else set()


def read_valid(written: Mapping[str, Any]) -> tuple[Valid | None, list[Problem]]:
    """Everything that is valid, None if that is nothing, and every problem of the rest."""
    problems: list[Problem] = []
    dropped: set[Path] = set()
    while True:
        try:
            file = PolicyFile.model_validate(_without(written, (), dropped))
        except ValidationError as error:
            errors = error.errors(include_url=False)
        else:
            return Valid(file, written, frozenset(dropped)), problems
        known = frozenset(dropped)
        kept: dict[Path, list[int]] = {}
        for found in errors:
            missing = found["type"] == "missing"
            loc = found["loc"]
            path = _path(written, loc[:-1] if missing else loc, known, kept)
            if not known:  # later rounds only find what the first has left without its parts
                problems.append(problem((*path, loc[-1]) if missing else path, found))
            dropped.add(path)  # a table that misses a part is dropped whole, so each round drops something more
        if () in dropped:
            return None, problems


def _without(node: Any, path: Path, dropped: set[Path]) -> Any:
    if isinstance(node, dict):
        return {key: _without(item, (*path, key), dropped) for key, item in node.items() if (*path, key) not in dropped}
    if isinstance(node, list):
        return [
            _without(item, (*path, index), dropped) for index, item in enumerate(node) if (*path, index) not in dropped
        ]
    return node


def _path(written: Any, loc: Sequence[str | int], dropped: frozenset[Path], kept: dict[Path, list[int]]) -> Path:
    """Pydantic's location as a path of the file: without the tags of unions, with the list's own numbers.

    `kept` remembers those numbers for the next error: thousands of API keys can be wrong in the same way.
    """
    path: Path = ()
    node = written
    for step in loc:
        if isinstance(node, list) and isinstance(step, int):
            if path not in kept:
                kept[path] = [index for index in range(len(node)) if (*path, index) not in dropped]
            step = kept[path][step]
        elif not isinstance(node, dict) or step not in node:
            continue
        path = (*path, step)
        node = node[step]
    return path
