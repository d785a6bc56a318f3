"""The scripts that run inside Redis."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from ratelimit.model import Lease
from ratelimit.stores.wire import bulk


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> Script:
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())

    @classmethod
    def load(cls, *parts: str) -> Script:
        """A script of `ratelimit/stores/lua`; one of several parts is their text in this order."""
        folder = files("ratelimit.stores") / "lua"
        return cls.of("\n".join([(folder / f"{part}.lua").read_text("utf-8") for part in parts]))

    def head(self, keys: int, arguments: int, *, text: bool = False) -> bytes:
        """A call up to its keys: with the script's digest, or with its text, which fills the server's cache."""
        name, script = ("EVAL", self.text) if text else ("EVALSHA", self.sha)
        return b"*%d\r\n%b%b%b" % (3 + keys + arguments, bulk(name), bulk(script), bulk(keys))


_DECIDING = [f"acquire/{part}" for part in ("arguments", "rate", "quota", "concurrency", "wait", "ahead", "decide")]
PARTS = {
    "acquire": [*_DECIDING, "acquire/all", "acquire/reply"],
    "acquire_once": ["acquire/fence", *_DECIDING, "acquire/note", "acquire/all", "acquire/mark"],
    "renew": ["renew"],
    "refund": ["refund"],
    "resolve": ["resolve"],
    "settle": ["settle"],
}


def _loaded(name: str) -> Callable[[], Script]:
    return lambda: Script.load(*PARTS[name])


@dataclass(slots=True)
class Scripts:
    """`acquire_once` is `acquire` with a number, of which `resolve` says later whether it was applied."""

    acquire: Script = field(default_factory=_loaded("acquire"))
    acquire_once: Script = field(default_factory=_loaded("acquire_once"))
    renew: Script = field(default_factory=_loaded("renew"))
    refund: Script = field(default_factory=_loaded("refund"))
    resolve: Script = field(default_factory=_loaded("resolve"))
    settle: Script = field(default_factory=_loaded("settle"))

    def renewal(self, prefix: str, leases: Sequence[Lease], *, text: bool = False) -> bytes:
        """A call of renew.lua for leases in one slot."""
        keys = [bulk(prefix + lease.key) for lease in leases]
        arguments = [bulk(part) for lease in leases for part in (lease.id, lease.lease_ms)]
        return b"".join([self.renew.head(len(keys), len(arguments), text=text), *keys, *arguments])
