"""The scripts that run inside Redis."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib.resources import files


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


PARTS = {
    "acquire": [f"acquire/{part}" for part in ("arguments", "rate", "quota", "concurrency", "wait", "ahead", "decide")],
    "renew": ["renew"],
    "refund": ["refund"],
}


@dataclass(slots=True)
class Scripts:
    acquire: Script = field(default_factory=lambda: Script.load(*PARTS["acquire"]))
    renew: Script = field(default_factory=lambda: Script.load(*PARTS["renew"]))
    refund: Script = field(default_factory=lambda: Script.load(*PARTS["refund"]))
