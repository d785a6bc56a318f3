"""How else a path may be read by what is behind: a proxy, a framework, a file system.

A path is read as the server decoded it, and in every way in which one of the steps below turns a reading into another:
`/docs/%2e%2e;/invoices` is also `/docs/..;/invoices`, which is `/docs/../invoices`, which is `/invoices`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from unicodedata import normalize

from ratelimit.routes.paths import client_path, fold

LONGEST = 8_192  # characters of all readings of a path together, and
MOST = 32  # of them: nobody goes beyond in earnest, and the worst within takes some 2 ms

_ODD = re.compile(r"[^ -~]|[%;\\?#]|//|/\.|[. ](?:/|\Z)")
_ESCAPE = re.compile(rb"%(?:[uU]([0-9A-Fa-f]{4})|([0-9A-Fa-f]{2}))")  # %u002e is a dot to IIS
# Bytes that UTF-8 forbids because fewer say the same. Lenient decoders take 0xC0 0xAE for a dot, some also 0xC0 0x2E.
_OVERLONG = re.compile(
    rb"[\xc0\xc1][\x00-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]{2}"
    rb"|\xf8[\x80-\x83][\x80-\xbf]{3}|\xfc\x80[\x80-\x83][\x80-\xbf]{3}"
)
_UNDECODED = re.compile("[\ufffd\ud800-\udfff]")
_NO_TEXT = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\xad\u200b-\u200f\u2060\ufeff\ufffd\ud800-\udfff]")
_END = re.compile(r"[?#\x00].*", re.DOTALL)
_PARAMETERS = re.compile(r";[^/]*")
_TAIL = re.compile(r"[. ]+(?=/|\Z)")
_SLASHES = re.compile(r"//+")


def is_odd(path: str) -> bool:
    """Whether there may be another way to read it."""
    return _ODD.search(path) is not None


def readings(path: str, root_path: str, raw_path: object) -> list[str] | None:
    """All that a path can be read as, itself first, as the client sees it; None where that would be too many.

    `raw_path` is looked at where the server could not decode it, and put U+FFFD or surrogates into the path.
    """
    seeds = [path]
    if isinstance(raw_path, bytes) and _UNDECODED.search(path):
        seeds.append(_lenient(raw_path))
    found = _closure(seeds)
    if root_path and found:
        # dots may lead out of a root_path, and one that is spelled oddly is there all the same
        found = _closure([client_path(path, root_path), *(p for one in found for p in _of_client(one, root_path))])
    return found


def _closure(seeds: Iterable[str]) -> list[str] | None:
    found = [*dict.fromkeys(seeds)]
    read = 0
    for path in found:  # grows meanwhile
        read += len(path)
        if read > LONGEST or len(found) > MOST:
            return None
        for step in _STEPS:
            other = step(path)
            if other not in found:
                found.append(other)
    return found


def _of_client(path: str, root_path: str) -> Iterator[str]:
    yield client_path(path, root_path)
    if fold(path).startswith(fold(root_path.rstrip("/")) + "/"):
        yield path


def _decoded(path: str) -> str:
    """Decoded once more; a path that was decoded with surrogates is made of the bytes again."""
    if "%" not in path and not _UNDECODED.search(path):
        return path
    try:
        raw = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raw = path.encode("utf-8", "surrogatepass")
    return _lenient(raw)


def _lenient(raw: bytes) -> str:
    return _OVERLONG.sub(_meant, _ESCAPE.sub(_unescaped, raw)).decode("utf-8", "replace")


def _unescaped(found: re.Match[bytes]) -> bytes:
    wide, byte = found.groups()
    return chr(int(wide, 16)).encode("utf-8", "surrogatepass") if wide else bytes([int(byte, 16)])


def _meant(found: re.Match[bytes]) -> bytes:
    lead, *more = found[0]
    number = lead & (0x3F >> len(more))  # two bytes: five bits of the first
    for byte in more:
        number = (number << 6) | (byte & 0x3F)
    return chr(number).encode("utf-8", "surrogatepass")


def _compatible(path: str) -> str:
    """Full-width letters, dots and slashes are what they look like."""
    return path if path.isascii() else normalize("NFKC", path)


def _text(path: str) -> str:
    """Without what is no text: Python's own urlsplit drops tabs and newlines, and decoders what they can't decode."""
    return _NO_TEXT.sub("", path)


def _ended(path: str) -> str:
    """Up to an encoded query or fragment, which a proxy may send on decoded, or the NUL that ends a string in C."""
    return _END.sub("", path)


def _slashed(path: str) -> str:
    return path.replace("\\", "/")


def _without_parameters(path: str) -> str:
    return _PARAMETERS.sub("", path)


def _trimmed(path: str) -> str:
    """Without the dots and spaces at the end of segments, which Windows does not see."""
    return "/".join(map(_tailless, path.split("/"))) if _TAIL.search(path) else path


def _tailless(segment: str) -> str:
    dots = segment.rstrip(" ")
    return dots if dots in (".", "..") else segment.rstrip(". ")


def _joined(path: str) -> str:
    return _SLASHES.sub("/", path)


def _resolved(path: str) -> str:
    """Without dot segments (RFC 3986, section 5.2.4); beyond the root there is the root."""
    if "/." not in path and path[:1] != ".":
        return path
    kept: list[str] = []
    for segment in path.removeprefix("/").split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


_STEPS: tuple[Callable[[str], str], ...] = (
    _decoded,
    _compatible,
    _text,
    _ended,
    _slashed,
    _without_parameters,
    _trimmed,
    _joined,
    _resolved,
)
