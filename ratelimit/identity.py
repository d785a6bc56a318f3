"""Who is calling: a known API key makes an organization, user and tier; everyone else is anonymous, by address."""

from __future__ import annotations

import binascii
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any

from ratelimit.model import ANONYMOUS, Identify, Identity, Scope

SOURCES = ("bearer", "basic", "header:X-API-Key")  # where an API key may be presented, if nothing else is said

_SHA256_HEX = re.compile(r"[0-9a-f]{64}")
_HEADER_SOURCE = re.compile(r"header:([!#$%&'*+.^_`|~0-9A-Za-z-]+)")  # a field name is a token: RFC 9110, section 5.1


def hash_api_key(api_key: str | bytes) -> str:
    """SHA-256 of an API key in lower-case hexadecimal: the only form in which it is kept. A text is hashed as UTF-8."""
    if isinstance(api_key, str):
        api_key = api_key.encode("utf-8", "surrogatepass")  # an encoding error would carry the key in clear
    return sha256(api_key).hexdigest()


@dataclass(frozen=True, slots=True)
class IdentifyByApiKey:
    """Called with a scope, returns the Identity of the first known API key, or an anonymous one with the address alone.

    `keys` maps the SHA-256 of an API key, 64 hexadecimal digits, to whom it stands for; `api_key` and `ip` are filled
    in for each request. `sources` are tried in their order: "bearer" and "basic" read Authorization (RFC 6750; RFC 7617
    with the API key as the user name, whatever the password), "header:NAME" takes the value of that header as it is.

    What is presented is read leniently: every line of a header that is sent more than once, without the white space
    around it, and base64 with whatever Python's own decoder passes over. A key must be known to count, so that gives
    nothing away, and no form of a key that the app takes is anonymous here. Raises ValueError for keys or sources that
    can't be right.
    """

    keys: Mapping[str, Identity] = field(repr=False)
    _: KW_ONLY
    address: Callable[[Scope], str]
    sources: tuple[str, ...] = SOURCES
    _known: dict[bytes, Identity] = field(init=False, repr=False, compare=False)
    _readers: tuple[tuple[bytes, Callable[[str], str]], ...] = field(init=False, repr=False, compare=False)
    _schemes: dict[bytes, bytes] = field(init=False, repr=False, compare=False)  # by header, what stands before a key

    def __post_init__(self) -> None:
        if isinstance(self.sources, str):
            raise ValueError(f"api_key is the text {self.sources!r}; it must be a list")  # noqa: TRY004
        readers = tuple(_reader(source) for source in self.sources)
        object.__setattr__(self, "_known", _normalised(self.keys))
        object.__setattr__(self, "_readers", readers)
        object.__setattr__(self, "_schemes", {header: _scheme(credential) for header, credential in reversed(readers)})

    def __call__(self, scope: Scope) -> Identity:
        ip = self.address(scope)
        schemes = self._schemes
        presented = None
        for line in scope["headers"]:
            if line[0] in schemes:
                if presented:
                    return self._presented(scope["headers"], ip) or _anonymous(ip)
                presented = line
        if presented is None:
            return _anonymous(ip)
        name, value = presented
        scheme = schemes[name]
        # The first reading of all: the line as it is, or what is behind "Bearer ". If it is known, that is it.
        api_key = value[len(scheme) :] if not scheme or value[:7].lower() == scheme else b""
        # Not a space behind "Bearer ": `_bearer` takes those off.
        sound = api_key and (not scheme or b"!" <= api_key[:1] <= b"~")
        if sound and (known := self._known_by(api_key, ip)):
            return known
        return self._presented([presented], ip) or _anonymous(ip)

    def _presented(self, lines: list[tuple[bytes, bytes]], ip: str) -> Identity | None:
        """Whom the first known API key stands for. Of each line, each source hashes a fixed number of readings."""
        for header, credential in self._readers:
            for name, value in lines:
                if name == header and (api_key := credential(value.decode("latin-1"))):
                    for reading in _readings(api_key):
                        if known := self._known_by(reading, ip):
                            return known
        return None

    def _known_by(self, presented: bytes, ip: str) -> Identity | None:
        """Whom an API key stands for, at an address; kept in the other's place: its next request most likely comes from
        there."""
        digest = sha256(presented).digest()
        known = self._known.get(digest)
        if known is None or known.ip == ip:
            return known
        organization, user, api_key, application, _, tier, attributes = known
        made = self._known[digest] = Identity(organization, user, api_key, application, ip, tier, attributes)
        return made


@lru_cache(maxsize=4096)
def _anonymous(ip: str) -> Identity:
    return Identity(ip=ip, tier=ANONYMOUS)


def identify_user(to_identity: Callable[[Any, Any], Identity | Awaitable[Identity | None] | None]) -> Identify:
    """An `identify` for an authentication middleware in front, such as Starlette's AuthenticationMiddleware.

    `to_identity(user, auth)` gets `scope["user"]` and `scope["auth"]`, and may be async. Without a user, or with one
    whose `is_authenticated` is false, and where it returns None, the policy's own identification applies. If the
    authentication runs after this, there is never a user here: add it outside.
    """

    def identify(scope: Scope) -> Identity | Awaitable[Identity | None] | None:
        user = scope.get("user")
        if user is None or not getattr(user, "is_authenticated", True):
            return None
        return to_identity(user, scope.get("auth"))

    return identify


def _normalised(keys: Mapping[str, Identity]) -> dict[bytes, Identity]:
    """The keys as bytes. Messages count keys from 0 and never show one: it could be an API key in clear."""
    known: dict[bytes, Identity] = {}
    for index, (digest, identity) in enumerate(keys.items()):
        if not _SHA256_HEX.fullmatch(digest.lower()):
            raise ValueError(
                f"keys[{index}] is no SHA-256, which is 64 hexadecimal digits: write hash_api_key(API key), never the "
                "API key itself"
            )
        if bytes.fromhex(digest) in known:
            raise ValueError(f"keys[{index}] is there twice, once in upper and once in lower case")
        known[bytes.fromhex(digest)] = identity._replace(api_key=digest.lower(), ip=None)
    return known


def _reader(source: str) -> tuple[bytes, Callable[[str], str]]:
    """The header to read, and what takes the credential out of a line of it; "" is none."""
    if source == "bearer":
        return b"authorization", _bearer
    if source == "basic":
        return b"authorization", _basic
    if isinstance(source, str) and (header := _HEADER_SOURCE.fullmatch(source)):
        return header[1].lower().encode(), str  # as it is
    raise ValueError(f'api_key has {source!r}; allowed are "bearer", "basic" and, for a header, "header:X-API-Key"')


def _scheme(credential: Callable[[str], str]) -> bytes:
    """What stands before an API key in a plain line; for Basic, which is never plain, what no line begins with."""
    return {str: b"", _bearer: b"bearer "}.get(credential, b"\n")


def _bearer(line: str) -> str:
    return line[7:].lstrip() if line.startswith("Bearer ") else _after("bearer", line)  # nearly always written so


def _basic(line: str) -> str:
    try:
        decoded = binascii.a2b_base64(_after("basic", line).encode("latin-1"))
    except binascii.Error:
        return ""
    return decoded.partition(b":")[0].decode("latin-1")


def _after(scheme: str, line: str) -> str:
    words = line.split(None, 1)
    return words[1] if len(words) == 2 and words[0].lower() == scheme else ""


def _readings(api_key: str) -> Sequence[bytes]:
    """What an app may hash of a credential: it as it is, and what `str.strip` leaves, which takes more than spaces off.

    Headers are bytes, apps are given them as Latin-1, and hash UTF-8: of a key that is not ASCII both are tried.
    """
    stripped = api_key.strip()
    if stripped == api_key and api_key.isascii():  # nearly always
        return (api_key.encode(),)
    texts = dict.fromkeys((api_key, stripped))
    return list(dict.fromkeys(text.encode(encoding) for text in texts for encoding in ("latin-1", "utf-8")))
