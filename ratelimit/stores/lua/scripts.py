"""The scripts that run inside Redis."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING

from ratelimit.model import Lease, StoreUnavailable
from ratelimit.stores.connection.errors import NoScript
from ratelimit.stores.connection.socket import Part, Reply, bulk

if TYPE_CHECKING:
    from ratelimit.stores.connection.link import Link

NAMES = ("acquire", "settle", "renew", "resolve", "reset", "trial")
Written = Callable[..., bytes]  # a call, with its text if it is given text=True
FAILED, UNDECIDED = -2, -3  # what acquire.lua says of a caller; why is behind it
OVER, DONE, ANOTHER_PERIOD = 0, 1, 2  # what settle.lua says of an item; anything else is why it failed
LATEST_MS = 2**47  # in the year 6429: further on there is soon no calendar

_INCLUDE = re.compile(r"^ *-- include (\S+)$", re.MULTILINE)
_COMMENT = re.compile(r"^ *--.*$", re.MULTILINE)

# Units of a counter in one place, as settle.lua has it: their letter, two numbers, and where or of which hold.
Settled = tuple[str, tuple[str, int, int, int | str], int]


def _read(name: str) -> str:
    return (files("ratelimit.stores") / "lua" / f"{name}.lua").read_text("utf-8")


def _included(include: re.Match[str]) -> str:
    """Between marks. A script need not call each function of a file that it includes; their names begin with its."""
    name = include[1]
    marks = f"-- from {name}.lua\n-- luacheck: push ignore 211/{name.rpartition('/')[2]}_.* 431/now\n"
    return f"{marks}{_put_together(name)}-- luacheck: pop"


def _put_together(name: str) -> str:
    return _INCLUDE.sub(_included, _read(name))


_WHOLE = {name: _put_together(name) for name in NAMES}  # here, so that what is missing shows at once


def whole(name: str) -> str:
    """A script with what it includes in its place: `python -m ratelimit.stores.lua acquire` prints it."""
    return _WHOLE[name]


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    sha: str
    by_sha: bytes  # the first two parts of each call

    @classmethod
    def of(cls, text: str) -> Script:
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        return cls(text, sha, bulk("EVALSHA") + bulk(sha))

    @classmethod
    def load(cls, name: str) -> Script:
        """As it is sent: without its comments, and the lines that an error names are those of `whole(name)`."""
        return cls.of(_COMMENT.sub("", _WHOLE[name]))

    def head(self, keys: int, arguments: int, *, text: bool = False) -> bytes:
        """A call up to its keys: with the script's digest, or with its text, which fills the server's cache."""
        script = bulk("EVAL") + bulk(self.text) if text else self.by_sha
        return b"*%d\r\n%b%b" % (3 + keys + arguments, script, bulk(keys))


async def called(link: Link, written: Written, patience: float) -> Reply:
    """The reply to a script call; `written` with its text where the server has lost it. Raises StoreUnavailable."""
    now = asyncio.get_running_loop().time
    deadline = now() + patience
    try:
        return await link.call(written(), patience)
    except NoScript:  # nothing was done
        return await link.call(written(text=True), deadline - now())


def record_of(key: str) -> str:
    """Where it is kept what is held of a counter."""
    return f"{key}:held"


def rooms_of(reply: Reply, count: int) -> list[int]:
    """Of a reply of renew.lua. Raises StoreUnavailable if it is none."""
    if not isinstance(reply, list) or len(reply) != count or any(type(room) is not int for room in reply):
        raise StoreUnavailable("what the server sent is no reply to the script that renews leases")
    return reply


def count_of(reply: Reply) -> int:
    """Of a reply of reset.lua. Raises StoreUnavailable if it is none."""
    if type(reply) is not int:
        raise StoreUnavailable("what the server sent is no reply to the script that resets")
    return reply


def outcomes_of(reply: Reply, count: int) -> tuple[int, Sequence[int | bytes]]:
    """Of a reply of settle.lua: when that was, and what came of each item. Raises StoreUnavailable if it is none."""
    if not isinstance(reply, list) or len(reply) != 1 + count or type(reply[0]) is not int:
        raise StoreUnavailable("what the server sent is no reply to the script that settles")
    return reply[0], reply[1:]


def refused(reply: Reply) -> dict[str, str]:
    """Of a reply of trial.lua: commands that don't work, and why. Raises StoreUnavailable if it is none."""
    if not isinstance(reply, list) or len(reply) % 2 or any(type(part) is not bytes for part in reply):
        raise StoreUnavailable("what the server sent is no reply to the script that tries commands")
    told = [part.decode("utf-8", "replace") for part in reply]
    return dict(zip(told[::2], told[1::2], strict=True))


def time_of(reply: Reply) -> int:
    """The store's time of a reply to acquire. ValueError for what would come out in the app, as a 500: no numbers."""
    try:
        numbers = type(sum(reply)) is int  # takes a third of looking at each
    except TypeError:  # why one failed is a text
        numbers = all(type(part) is int or before in (FAILED, UNDECIDED) for before, part in pairwise([0, *reply]))
    now_ms: int = reply[0]
    if not numbers:
        raise ValueError("it is not made of whole numbers")
    if not 0 <= now_ms < LATEST_MS:
        raise ValueError(f"its time is {now_ms} ms, and no calendar goes beyond the year 6429 here")
    return now_ms


def read_time(reply: Reply) -> None:
    """Raises StoreUnavailable for what is no reply to a call for nobody."""
    if isinstance(reply, StoreUnavailable):
        raise reply
    if not (isinstance(reply, list) and len(reply) == 1):
        raise StoreUnavailable("what the server sent is no reply to the script")
    try:
        time_of(reply)
    except ValueError as error:
        raise StoreUnavailable(f"what the server sent is no reply to the script: {error}") from None


def _loaded(name: str) -> Callable[[], Script]:
    return lambda: Script.load(name)


@dataclass(slots=True)
class Scripts:
    """Each says in its file what it is for, what its keys and arguments are, and what it returns."""

    acquire: Script = field(default_factory=_loaded("acquire"))
    settle: Script = field(default_factory=_loaded("settle"))
    renew: Script = field(default_factory=_loaded("renew"))
    resolve: Script = field(default_factory=_loaded("resolve"))
    reset: Script = field(default_factory=_loaded("reset"))
    trial: Script = field(default_factory=_loaded("trial"))

    def trying(self, prefix: str, tag: str = "") -> bytes:
        """A call of trial.lua, to which `refused` reads the reply; with a hash tag of a slot that the node has."""
        keys = [bulk(f"{prefix}{{{tag or 'trial'}}}:trial:{secrets.token_hex(8)}:{part}") for part in ("h", "z", "t")]
        return b"".join([self.trial.head(len(keys), 0, text=True), *keys])

    def for_nobody(self) -> bytes:
        """A call of acquire that decides for no caller: who answers it with the time can decide."""
        return b"".join([self.acquire.head(0, 2, text=True), bulk(""), bulk(0)])

    def renewal(self, prefix: str, leases: Sequence[Lease], *, text: bool = False) -> bytes:
        """A call of renew.lua for leases in one slot; of units that are held, one for each counter: it is its key."""
        keys, arguments = [], list[Part]()
        for lease in leases:
            held = lease.counters is not None
            keys.append(prefix + (record_of(lease.key) if held else lease.key))
            arguments += (lease.id, lease.lease_ms, "" if held else lease.max)
        return _call(self.renew, keys, arguments, text=text)

    def settlement(
        self, prefix: str, items: Iterable[Settled], receipt: tuple[str, bytes] = ("", b""), *, text: bool = False
    ) -> bytes:
        """A call of settle.lua for items in one slot; with a marker and a number, where it can be asked about."""
        marker, number = receipt
        keys, arguments = [], list[Part]([number])
        for key, (letter, first, second, where), units in items:
            keys += [prefix + key, prefix + record_of(key)] if letter.isupper() else [prefix + key]
            arguments += (letter, units, first, second, where)
        return _call(self.settle, [*keys, marker] if marker else keys, arguments, text=text)

    def resolution(self, receipt: tuple[str, bytes], *, text: bool = False) -> bytes:
        """A call of resolve.lua."""
        marker, number = receipt
        return _call(self.resolve, [marker], [number], text=text)

    def forgetting(self, prefix: str, keys: Sequence[str], *, text: bool = True) -> bytes:
        """A call of reset.lua for counters in one slot. It is rare: always with its text."""
        return _call(self.reset, [prefix + one for key in keys for one in (key, record_of(key))], [], text=text)


def _call(script: Script, keys: Sequence[str], arguments: Sequence[Part], *, text: bool) -> bytes:
    return b"".join([script.head(len(keys), len(arguments), text=text), *map(bulk, (*keys, *arguments))])
