"""HTTP methods as rules name them: those that are known, and what a slip of the pen was meant to be."""

from __future__ import annotations

# What the rules of an API are about. One that is nearly one of these is none of them.
USUAL = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET")

# https://www.iana.org/assignments/http-methods, the method WEBSOCKET of handshakes, and what caches are told.
KNOWN = frozenset(USUAL) | {
    *("ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "CONNECT", "COPY", "LABEL", "LINK", "LOCK", "MERGE"),
    *("MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "ORDERPATCH", "PRI", "PROPFIND"),
    *("PROPPATCH", "PURGE", "QUERY", "REBIND", "REPORT", "SEARCH", "TRACE", "UNBIND", "UNCHECKOUT", "UNLINK"),
    *("UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL"),
}


def meant(method: str) -> str | None:
    """The usual method that one edit makes of an unknown one: GETT is GET, PSOT is POST, DELET is DELETE."""
    return next((usual for usual in USUAL if one_edit(method, usual)), None)


def one_edit(word: str, other: str) -> bool:
    """Whether a letter more, a letter less, another letter or two that changed places make one of the other."""
    start = 0
    while start < min(len(word), len(other)) and word[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(word), len(other)) - start and word[-1 - end] == other[-1 - end]:
        end += 1
    a, b = word[start : len(word) - end], other[start : len(other) - end]
    return max(len(a), len(b)) == 1 or (len(a) == 2 and a == b[::-1])
