"""The scripts that run inside Redis."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING

from ratelimit.model import Lease, StoreUnavailable
from ratelimit.stores.connection.errors import NoScript
from ratelimit.stores.connection.socket import Reply, bulk

if TYPE_CHECKING:
    from ratelimit.stores.connection.link import Link

NAMES = ("acquire", "settle", "renew", "resolve", "trial")
FAILED, UNDECIDED = -2, -3  # of a caller; why is behind it
LATEST_MS = 2**47  # in the year 6429: further on there is soon no calendar

_INCLUDE = re.compile(r"^ *-- include (\S+)$", re.MULTILINE)
_COMMENT = re.compile(r"^ *--.*$", re.MULTILINE)


def _read(name: str) -> str:
    return (files("ratelimit.stores") / "lua" / f"{name}.lua").read_text("utf-8")


def _included(include: re.Match[str]) -> str:
    """Between marks. A script need not call each function of a file that it includes; their names begin with its."""
    name = include[1]
    prefix = name.rpartition("/")[2]
    return f"-- from {name}.lua\n-- luacheck: push ignore 211/{prefix}_.* 431/now\n{_read(name)}-- luacheck: pop"


_WHOLE = {name: _INCLUDE.sub(_included, _read(name)) for name in NAMES}  # here, so that what is missing shows at once


def whole(name: str) -> str:
    """A script with what it includes in its place: `python -m ratelimit.stores.lua acquire` prints it."""
    return _WHOLE[name]


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> Script:
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())

    @classmethod
    def load(cls, name: str) -> Script:
        """As it is sent: without its comments, and the lines that an error names are those of `whole(name)`."""
        return cls.of(_COMMENT.sub("", _WHOLE[name]))

    def head(self, keys: int, arguments: int, *, text: bool = False) -> bytes:
        """A call up to its keys: with the script's digest, or with its text, which fills the server's cache."""
        name, script = ("EVAL", self.text) if text else ("EVALSHA", self.sha)
        return b"*%d\r\n%b%b%b" % (3 + keys + arguments, bulk(name), bulk(script), bulk(keys))


async def called(link: Link, written: Callable[..., bytes], patience: float) -> Reply:
    """The reply to a script call; `written` with its text where the server has lost it. Raises StoreUnavailable."""
    now = asyncio.get_running_loop().time
    deadline = now() + patience
    try:
        return await link.call(written(), patience)
    except NoScript:  # nothing was done
        return await link.call(written(text=True), deadline - now())


def without_room(leases: Sequence[Lease], reply: Reply) -> list[Lease]:
    """The leases that were taken again above the max. Raises StoreUnavailable if it is no reply of renew.lua."""
    if not isinstance(reply, list) or len(reply) != len(leases) or any(type(room) is not int for room in reply):
        raise StoreUnavailable("what the server sent is no reply to the script that renews leases")
    return [lease for lease, room in zip(leases, reply, strict=True) if not room]


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
    trial: Script = field(default_factory=_loaded("trial"))

    def trying(self, prefix: str, tag: str = "") -> bytes:
        """A call of trial.lua, to which `refused` reads the reply; with a hash tag of a slot that the node has."""
        keys = [bulk(f"{prefix}{{{tag or 'trial'}}}:trial:{secrets.token_hex(8)}:{part}") for part in ("h", "z", "t")]
        return b"".join([self.trial.head(len(keys), 0, text=True), *keys])

    def for_nobody(self) -> bytes:
        """A call of acquire that decides for no caller: who answers it with the time can decide."""
        return b"".join([self.acquire.head(0, 2, text=True), bulk(""), bulk(0)])

    def renewal(self, prefix: str, leases: Sequence[Lease], *, text: bool = False) -> bytes:
        """A call of renew.lua for leases in one slot."""
        keys = [bulk(prefix + lease.key) for lease in leases]
        arguments = [bulk(part) for lease in leases for part in (lease.id, lease.lease_ms, lease.max)]
        return b"".join([self.renew.head(len(keys), len(arguments), text=text), *keys, *arguments])
