"""The hops that a forwarded header names, from the right: X-Forwarded-For and Forwarded (RFC 7239), both bounded.

Every expression here takes each character once (`*+` gives nothing back): 16 kB of spaces took a second before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_BYTES = 16_384  # of all lines of the header that are looked at, from the right

# RFC 7239, section 4, from the right to the left: a quoted string ends at a quote that no backslash precedes.
# Of `for="x, for="1.2.3.4"`, which is `"4.3.2.1"=rof ,x"=rof` here, it takes `"4.3.2.1"=rof ` and then nothing.
_ELEMENT_REVERSED = re.compile(r'((?:[^",]|"(?:[^"]|"(?=\\))*+")*+)(?:,|\Z)', re.DOTALL)
_PAIR = re.compile(
    r"""[ \t]*+(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*+"|[^";]*+))?[ \t]*+(?:;|\Z)""", re.DOTALL
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def hops_of_x_forwarded_for(lines: list[bytes]) -> Iterator[str]:
    """The hops of X-Forwarded-For from the right. Empty list elements do not count (RFC 9110, section 5.6.1)."""
    for text, whole in _tails(lines):
        hops = text.split(",")
        if not whole:
            del hops[0]  # "11.2.3.4" cut short is another's address
        for hop in reversed(hops):
            if hop := hop.strip(" \t"):
                yield hop


def hops_of_forwarded(lines: list[bytes]) -> Iterator[str]:
    """The `for` of each element of Forwarded from the right; "" for an element without a usable one.

    Read from the right end: a quote that the client left open on the left would swallow what the proxy has appended.
    """
    for text, whole in _tails(lines):
        reverse, at = text[::-1], 0
        while at < len(reverse):
            found = _ELEMENT_REVERSED.match(reverse, at)
            if found is None or not (whole or found[0].endswith(",")):
                return  # malformed, or cut in the middle: nothing further left can be trusted either
            at = found.end()
            element = found[1][::-1].strip(" \t")
            if element:
                yield _node(element)


def _node(element: str) -> str:
    """The value of `for` in `for="[2001:db8::1]:80";proto=https`; "" if it is missing, doubled or malformed."""
    at, node = 0, ""
    while at < len(element):
        pair = _PAIR.match(element, at)
        if pair is None:
            return ""
        at = pair.end()
        if pair[1] and pair[1].lower() == "for":
            if node:
                return ""
            value = pair[2].strip(" \t")
            node = _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value
    return node


def _tails(lines: list[bytes]) -> Iterator[tuple[str, bool]]:
    """The last MAX_BYTES of all lines, line by line from the right, and whether each is whole."""
    left = MAX_BYTES
    for line in reversed(lines):
        if left <= 0:
            return
        yield line[-left:].decode("latin-1"), len(line) <= left
        left -= len(line)
