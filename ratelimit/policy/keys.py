"""The names of counters: `{organization=acme}:requests:60000/60:user=ana`, the same in every process.

No two callers and no two limits share one: `{ } : = % #`, white space and what is not ASCII never stand for themselves.
`@2` at the end marks a counter of its own, of the second policy on a request; a name never ends like that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from operator import itemgetter
from urllib.parse import quote

from ratelimit.model import IDENTITY_KINDS, Concurrency, Identity, Quota, Rate

_MAX_NAME = 64  # characters of a name in a key; a longer one is hashed, so that nobody makes Redis hold kilobytes
_SAFE = "!\"$&'()*+,-./;<>?@[\\]^_`|~"  # with letters and digits: printable ASCII but { } : = % # and the space
_REMEMBERED = 1_000  # characters of a caller's names together, so that 8,192 callers take at most 8 MB
_TYPES = frozenset({str, int, bool})
_MARKED = re.compile(r"@(?=[0-9]+\Z)")
_PLAIN = re.compile(f"[A-Za-z0-9{re.escape(_SAFE)}]{{0,{_MAX_NAME}}}")


def caller(identity: Identity) -> str:
    """Who is calling, for the log: `organization=acme`, the root as in its keys. An API key is only there as a hash."""
    kind, name = identity.root
    return f"{kind}={escaped(kind, name)}"


def value_of(identity: Identity, kind: str) -> str | int | None:
    """What the identity has under the name of a kind or of an attribute."""
    if kind in IDENTITY_KINDS:
        name: str | None = getattr(identity, kind)
        return name
    return identity.attributes.get(kind)


def getter_of(kinds: Iterable[str]) -> Callable[[Identity], object]:
    """Reads what an identity has under all the kinds that are fields of it: something to tell callers apart by."""
    return itemgetter(*[index for index, field in enumerate(Identity._fields[:-1]) if field in kinds])


def by_value(attributes: Mapping[str, str | int]) -> tuple[tuple[str, type, str | int], ...] | None:
    """Attributes as they are now, to tell callers apart by; None if there is more in them than texts and numbers.

    With their types: `True` is `1` to a dict, but another name of a counter.
    """
    values = [(name, type(value), value) for name, value in attributes.items()]
    return tuple(values) if _TYPES.issuperset([kind for _, kind, _ in values]) else None


def memorable(identity: Identity, operation: str) -> bool:
    """Whether a caller is remembered: not one whose names are kilobytes, which a caller may have made up itself."""
    names = (operation, *identity[:-1], *identity.attributes, *identity.attributes.values())
    return sum([len(name) for name in names if isinstance(name, str)]) <= _REMEMBERED


def escaped(kind: str, name: str) -> str:
    """A name as it is written in a key: one that is plain as it is, an API key and a long one as a hash."""
    if kind == "api_key":
        return _hashed(name)
    if _PLAIN.fullmatch(name):
        return name
    if len(name) > _MAX_NAME:
        return _hashed(name)
    quoted = quote(name, safe=_SAFE, errors="surrogatepass")
    return quoted if len(quoted) <= _MAX_NAME else _hashed(name)


def ended(key: str) -> str:
    """A key that ends in a name: `user=ana@2` becomes `user=ana%402`, or it would be a counter of another one's."""
    return _MARKED.sub("%40", key)


def marked(key: str, number: int) -> str:
    """The counter of the policy of that number on a request, where those before it have one of the same name."""
    return f"{key}@{number}"


def _hashed(name: str) -> str:
    return "#" + sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]  # 128 bits, and no plain name has a #


def label_of(kind: str) -> str:
    """Attributes are marked, so that one named like a later kind of identity would not share its counters."""
    return f":{kind}=" if kind in IDENTITY_KINDS else f":@{escaped('attribute', kind)}="


def period_of(kind: Rate | Quota | Concurrency) -> str:
    """What a counter counts in; an edit of it starts anew. A quota goes on in another time zone or from another day."""
    if isinstance(kind, Rate):
        return f"{kind.window_ms}/{kind.precision}"
    return kind.period if isinstance(kind, Quota) else "c"
