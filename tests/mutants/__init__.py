"""Small faults put into the core one by one, to see a test fail of each: `make mutants`.

No tool that is kept for Python drops a statement, which half of the faults do that tests had missed, or reads Lua. So
these are made here: `python_source.py` and `lua_source.py` make them, `rooms.py` says which tests they are put before,
`run.py` does so, and `equivalents.toml` lists those that change nothing that could be seen, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One change of one file. `where`, `was` and `becomes` name it, also when the lines around it have moved."""

    file: str  # below ratelimit/
    line: int
    where: str  # the function, or "" for what stands outside of one
    was: str
    becomes: str
    text: str  # of the whole file with it

    @property
    def name(self) -> tuple[str, str, str, str]:
        return self.file, self.where, self.was, self.becomes


def replaced(source: str, start: int, end: int, by: str) -> tuple[str, str, str]:
    """The source with a part replaced, and the lines of that part before and after, without what stands around them."""
    text = source[:start] + by + source[end:]
    first = source.rfind("\n", 0, start) + 1
    last = source.find("\n", end)
    last = len(source) if last < 0 else last
    was, becomes = source[first:last], text[first : last + len(by) - (end - start)]
    return text, _plain(was), _plain(becomes)


def _plain(lines: str) -> str:
    """Without comments and indents: they may change."""
    bare = [line.partition("  # ")[0].partition(" -- ")[0] for line in lines.splitlines()]
    return " ".join(" ".join(bare).split())


def numbered(mutants: list[Mutant]) -> list[Mutant]:
    """Without those that change nothing or come twice; the second of a name in a file is marked as that."""
    texts: set[str] = set()
    seen: dict[tuple[str, str, str, str], int] = {}
    kept = []
    for mutant in mutants:
        if mutant.was == mutant.becomes or mutant.text in texts:
            continue
        texts.add(mutant.text)
        seen[mutant.name] = times = seen.get(mutant.name, 0) + 1
        becomes = mutant.becomes if times == 1 else f"{mutant.becomes} ({times})"
        kept.append(Mutant(mutant.file, mutant.line, mutant.where, mutant.was, becomes, mutant.text))
    return kept
