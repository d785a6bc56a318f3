"""Who is calling: a known API key makes an organization, user and tier; everyone else is anonymous, by address."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from hashlib import sha256
from inspect import getattr_static
from types import FunctionType, MethodType

from ratelimit.ground.malformed import explained
from ratelimit.identity.credentials import Reader, by_spelling, plain, readers_of, readings_of
from ratelimit.identity.quick_hash import quick_hash
from ratelimit.model import ANONYMOUS, Identity, Refused, Scope

SOURCES = ("bearer", "basic", "header:X-API-Key")  # where an API key may be presented, if nothing else is said

MORE_LINES = 100  # that are remembered than twice as many as there are keys, by header

OF_NOTHING = frozenset(sha256(text).hexdigest() for text in (b"", b"\n"))

_TWO_CALLERS = "The request carries API keys of two different callers. Send one of them."

# By its hash, whom a line with a known API key stands for, at the address that it came from last: a line says what it
# says by its bytes alone, so it is read once.
_Lines = dict[bytes, Identity]

_OF_A_MALFORMED_SCOPE = (AttributeError, IndexError, KeyError, TypeError, ValueError)
_SHA256_HEX = re.compile(r"[0-9a-f]{64}")


def hash_api_key(api_key: str | bytes) -> str:
    """SHA-256 of an API key in lower-case hexadecimal, the form in which policies have it. A text is hashed as UTF-8.

    ValueError for an empty or blank one, which is what a variable that is not set gives.
    """
    if not api_key.strip():
        raise ValueError("the API key is empty or blank: there is nothing to know a caller by")
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
    around it, base64 with whatever Python's own decoder passes over, and the header's name with `_` as with `-`, for
    behind WSGI they are one. A key must be known to count, so that gives nothing away, and no form of a key that the
    app takes is anonymous here.

    Known keys of two different roots in one request raise Refused: counted by one, it might be answered for the other
    (RFC 6750, section 3.1). The password of Basic counts there too. Of one root, as in a rotation, the first counts.
    Raises ValueError for keys or sources that can't be right, and says what is wrong with headers that are not ASGI's.
    """

    keys: Mapping[str, Identity] = field(repr=False)
    _: KW_ONLY
    address: Callable[[Scope], str]
    sources: tuple[str, ...] = SOURCES
    _address: Callable[[Scope], str] = field(init=False, repr=False, compare=False)
    _known: dict[bytes, Identity] = field(init=False, repr=False, compare=False)
    _readers: tuple[Reader, ...] = field(init=False, repr=False, compare=False)
    _lines: dict[bytes, _Lines] = field(init=False, repr=False, compare=False)  # by header

    def __post_init__(self) -> None:
        if isinstance(self.sources, str):
            raise ValueError(f"api_key is the text {self.sources!r}; it must be a list")  # noqa: TRY004
        readers = [reader for source in self.sources for reader in readers_of(source)]
        object.__setattr__(self, "_address", _as_a_method(self.address))
        object.__setattr__(self, "_known", _normalised(self.keys))
        object.__setattr__(self, "_readers", tuple(reader._replace(header=plain(reader.header)) for reader in readers))
        object.__setattr__(self, "_lines", by_spelling({reader.header: {} for reader in readers}))

    def __call__(self, scope: Scope) -> Identity:
        try:
            ip = self._address(scope)
            by_header = self._lines
            presented = None
            for header in scope["headers"]:  # 30 ns each; `compress` and `dict` take 40, and more to begin with
                if header[0] in by_header:
                    if presented is not None:
                        return self._presented(scope["headers"], ip) or _anonymous(ip)
                    presented = header
            if presented is None:
                return _anonymous(ip)
            name, line = presented
            digest = quick_hash(line).digest()
            known = by_header[name].get(digest)
            if known is not None and known.ip == ip:
                return known
            return self._read(presented, digest, known, ip)
        except _OF_A_MALFORMED_SCOPE as error:
            wrong = explained(scope, error)
            if wrong is error:
                raise
            raise wrong from None

    def _read(self, presented: tuple[bytes, bytes], digest: bytes, known: Identity | None, ip: str) -> Identity:
        """Whom the one line stands for, which was `known` at another address if it was before.

        Remembered is only who is known: lines with made-up keys take no memory.
        """
        lines = self._lines[presented[0]]
        if known is not None:
            return _moved(lines, digest, known, ip)
        known = self._presented([presented], ip)
        if known is None:
            return _anonymous(ip)
        if len(lines) >= 2 * len(self._known) + MORE_LINES:  # one key can be sent in any number of forms
            lines.clear()
        lines[digest] = known
        return known

    def _presented(self, lines: list[tuple[bytes, bytes]], ip: str) -> Identity | None:
        """Whom the first known API key stands for. Of each line, each source hashes a fixed number of readings."""
        by_header = self._lines
        sent = [(plain(name), value.decode("latin-1")) for name, value in lines if name in by_header]
        first = other = None
        clash = False
        for header, credential, counts in self._readers:
            for name, line in sent:
                if name == header:
                    for reading in readings_of(credential(line)):
                        if known := self._known_by(reading, ip):
                            clash = clash or (other is not None and known.root != other.root)
                            other = known
                            first = known if first is None and counts else first
        if first is not None and clash:
            raise Refused(400, "invalid_request", _TWO_CALLERS)
        return first

    def _known_by(self, presented: bytes, ip: str) -> Identity | None:
        """Whom an API key stands for, at an address."""
        digest = sha256(presented).digest()
        known = self._known.get(digest)
        return known if known is None or known.ip == ip else _moved(self._known, digest, known, ip)


def _moved(kept: dict[bytes, Identity], digest: bytes, known: Identity, ip: str) -> Identity:
    """It at another address; kept in the other's place: its next request most likely comes from there."""
    organization, user, api_key, application, _, tier, attributes = known
    made = kept[digest] = Identity.of_checked((organization, user, api_key, application, ip, tier, attributes))
    return made


def _as_a_method(address: Callable[[Scope], str]) -> Callable[[Scope], str]:
    """The same, so that Python goes right into it: to call an object with a `__call__` takes 0.05 to 0.1 µs more."""
    call = getattr_static(type(address), "__call__")  # not a static method, which takes no `self`
    return MethodType(call, address) if isinstance(call, FunctionType) else address


@lru_cache(maxsize=4096)
def _anonymous(ip: str) -> Identity:
    return Identity(ip=ip, tier=ANONYMOUS)


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
        if digest.lower() in OF_NOTHING:
            raise ValueError(f"keys[{index}] is the SHA-256 of an empty text; hash the API key itself")
        as_it_is = identity.api_key == digest.lower() and identity.ip is None  # of a file: 10,000 objects less
        known[bytes.fromhex(digest)] = identity if as_it_is else identity._replace(api_key=digest.lower(), ip=None)
    return known
