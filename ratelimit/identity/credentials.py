"""How an API key may be presented: in which headers, by any spelling of their names, and what a line can mean."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple, TypeVar

MOST_SEPARATORS = 6  # in the name of a header: more spellings than the 64 of these are not listed beforehand

_HEADER_SOURCE = re.compile(r"header:([!#$%&'*+.^_`|~0-9A-Za-z-]+)")  # a field name is a token: RFC 9110, section 5.1

_V = TypeVar("_V")


class Reader(NamedTuple):
    """What takes a credential out of a line of a header; "" is none."""

    header: bytes  # as it is written
    credential: Callable[[str], str]
    counts: bool = True  # a password makes nobody known, but it must not be somebody else's API key


def readers_of(source: str) -> list[Reader]:
    if source == "bearer":
        return [Reader(b"Authorization", _bearer)]
    if source == "basic":
        return [Reader(b"Authorization", _user_name), Reader(b"Authorization", _password, counts=False)]
    if isinstance(source, str) and (header := _HEADER_SOURCE.fullmatch(source)):
        return [Reader(header[1].encode(), str)]  # as it is
    raise ValueError(f'api_key has {source!r}; allowed are "bearer", "basic" and, for a header, "header:X-API-Key"')


def by_spelling(by_header: Mapping[bytes, _V]) -> dict[bytes, _V]:
    """By the headers with `-` and with `_`. Servers write names in lower case; a scope that something else has made may
    have `X-Api-Key`, `X-API-KEY`, or what the policy has. Spellings of one header have one value."""
    values = {plain(header): value for header, value in by_header.items()}
    if any(header.count(b"-") > MOST_SEPARATORS for header in values):
        return _AnySpelling(values)
    return {
        cased: values[plain(header)]
        for header in by_header
        for name in _separated(header)
        for cased in (name, name.lower(), name.upper(), name.title())
    }


def _separated(header: bytes) -> Iterable[bytes]:
    return map(b"".join, product(*[(b"-", b"_") if c in b"-_" else (bytes([c]),) for c in header]))


class _AnySpelling(dict[bytes, _V]):
    """By names of headers whatever their case and separators, where there are too many to list."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, bytes) and super().__contains__(plain(name))

    def __getitem__(self, name: bytes) -> _V:
        return super().__getitem__(plain(name))


def plain(name: bytes) -> bytes:
    """A header's name as it is compared: behind WSGI `X_API_Key` and `X-API-Key` are one."""
    return name.lower().replace(b"_", b"-")


def _bearer(line: str) -> str:
    return line[7:].lstrip() if line.startswith("Bearer ") else _after("bearer", line)  # nearly always written so


def _user_name(line: str) -> str:
    return _basic(line).partition(":")[0]


def _password(line: str) -> str:
    return _basic(line).partition(":")[2]


def _basic(line: str) -> str:
    if line.startswith("Bearer "):  # nearly always
        return ""
    try:
        return binascii.a2b_base64(_after("basic", line).encode("latin-1")).decode("latin-1")
    except binascii.Error:
        return ""


def _after(scheme: str, line: str) -> str:
    words = line.split(None, 1)
    return words[1] if len(words) == 2 and words[0].lower() == scheme else ""


def readings_of(credential: str) -> Sequence[bytes]:
    """What an app may hash of a credential: it as it is, and what `str.strip` leaves, which takes more than spaces off.

    Headers are bytes, apps are given them as Latin-1, and hash UTF-8: of a key that is not ASCII both are tried.
    """
    stripped = credential.strip()
    if not stripped:
        return ()
    if stripped == credential and credential.isascii():  # nearly always
        return (credential.encode(),)
    texts = dict.fromkeys((credential, stripped))
    return list(dict.fromkeys(text.encode(encoding) for text in texts for encoding in ("latin-1", "utf-8")))
