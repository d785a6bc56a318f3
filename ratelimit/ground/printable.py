"""Texts that a caller, an app or a server has made up, as they are told to people."""

from __future__ import annotations

LONGEST = 500  # characters; the errors of Redis' own have no more than 200


def in_a_line(text: object) -> str:
    """So that nobody begins a line of the log, moves a terminal's cursor, or fills a disk with one request."""
    short = str(text)[:LONGEST]
    return short if short.isprintable() else repr(short)[1:-1]


def printable(text: object) -> str:
    r"""The whole of it in one line: what is not printable is escaped, as `\x1b`."""
    said = str(text)
    return said if said.isprintable() else "".join(map(_printable, said))


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
