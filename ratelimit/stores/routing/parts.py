"""A URL of a store, cut into its parts as RFC 3986 has them (appendix B).

Not by `urlsplit`: it knows one host, and from Python 3.14 on refuses the lists of them that clusters and sentinels
have, `h1:7000,[::1]:7001`.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)


def split_url(url: str) -> SplitResult:
    """The parts, with the scheme in lower case; valkey is another word for redis. Of what is no URL all are empty.

    White space around it does not count: a file that holds a secret may end in a new line.
    """
    found = _URL.fullmatch(url.strip())
    if found is None:
        return SplitResult("", "", "", "", "")
    scheme, netloc, path, query, fragment = (part or "" for part in found.groups())
    scheme = scheme.lower()
    if scheme.startswith("valkey"):
        scheme = "redis" + scheme.removeprefix("valkey")
    return SplitResult(scheme, netloc, path, query, fragment)


def hosts_of(parts: SplitResult) -> list[str]:
    """What is written between the user and the path: `h1:7000`, `[::1]:7001`."""
    return parts.netloc.rpartition("@")[2].split(",")
