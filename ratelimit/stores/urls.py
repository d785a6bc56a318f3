"""URLs of stores: user and password from the environment where a URL has none, and what a URL with sentinels says.

No message shows more of a URL than addresses: it may hold a password.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from ratelimit.stores.topology import Address, read_address

SENTINELS = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}  # of a URL with sentinels, and of each server
SENTINEL_PORT = 26_379
EXAMPLE = "write redis+sentinel://h1:26379,h2:26379/mymaster/0"
OF_THE_MASTER = {"db", "username", "password"}  # options that mean nothing to a sentinel
OF_THE_SENTINELS = {"sentinel_username": "username", "sentinel_password": "password"}


def check_quoting(url: str) -> None:
    """Raises ValueError where a password was not written as a URL has it: what stands before the first of # / ? would
    be taken for the host and the port, and told in every error."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return  # who reads it next says what is wrong with it
    if parts.netloc and "@" not in parts.netloc and "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ValueError("has an @ after its address; in a password write %23 for #, %2F for /, %3F for ?, %40 for @")


def with_credentials(url: str) -> str:
    """The URL with RATELIMIT_STORE_USERNAME and RATELIMIT_STORE_PASSWORD where it has none, and for sentinels with
    RATELIMIT_STORE_SENTINEL_USERNAME and RATELIMIT_STORE_SENTINEL_PASSWORD. Raises ValueError as `check_quoting`."""
    check_quoting(url)
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    options = dict(parse_qsl(parts.query))
    own, _, hosts = parts.netloc.rpartition("@")
    user, _, password = own.partition(":")
    user = user or _of_environment("username", options)
    password = password or _of_environment("password", options)
    netloc = f"{user}:{password}@{hosts}" if password else f"{user}@{hosts}" if user else hosts
    names = OF_THE_SENTINELS if parts.scheme in SENTINELS else ()
    more = [f"{name}={text}" for name in names if (text := _of_environment(name, options))]
    if netloc == parts.netloc and not more:
        return url
    query = "&".join([part for part in (parts.query, *more) if part])
    return parts._replace(netloc=netloc, query=query).geturl()


def _of_environment(name: str, options: dict[str, str]) -> str:
    """As it is written in a URL; nothing where the URL has it among its options."""
    return "" if name in options else quote(os.environ.get(f"RATELIMIT_STORE_{name.upper()}", ""), safe="")


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """`redis+sentinel://user:password@h1:26379,h2:26379/mymaster/0?option=…`: whom to ask for whom.

    User and password are of the master, and those of the sentinels are the options sentinel_username and
    sentinel_password; all other options hold for both.
    """

    sentinels: tuple[Address, ...]
    name: str
    _parts: SplitResult = field(repr=False)  # may hold a password

    @classmethod
    def of(cls, url: str) -> SentinelUrl:
        """Raises ValueError, without the URL: it may hold a password."""
        try:
            parts = urlsplit(url)
            hosts = parts.netloc.rpartition("@")[2].split(",")
            sentinels = tuple([read_address(text, SENTINEL_PORT) for text in hosts])
        except ValueError:
            sentinels = ()
        if not sentinels:  # not from within `except`
            raise ValueError(f"has an address that can't be read; {EXAMPLE}")
        name, _, database = parts.path.removeprefix("/").partition("/")
        if not name:
            raise ValueError(f"does not say which master the sentinels are to be asked for; {EXAMPLE}")
        if not re.fullmatch("[0-9]*", database):
            raise ValueError(f"has a database that is not a number; {EXAMPLE}")
        return cls(sentinels, unquote(name), parts._replace(path=f"/{database}"))

    @property
    def any_node(self) -> str:
        return self.node(self.sentinels[0])

    def node(self, address: Address) -> str:
        """The URL of what may be the master: redis://user:password@h1:6379/0?option=…"""
        user, at, _ = self._parts.netloc.rpartition("@")
        options = [(name, text) for name, text in self._options() if name not in OF_THE_SENTINELS]
        return self._url(f"{user}{at}", address, self._parts.path, options)

    def sentinel(self, address: Address) -> str:
        """The URL of a sentinel: redis://h1:26379?username=…&password=…&option=…"""
        options = [(name, text) for name, text in self._options() if name not in OF_THE_MASTER]
        return self._url("", address, "", [(OF_THE_SENTINELS.get(name, name), text) for name, text in options])

    def _options(self) -> list[tuple[str, str]]:
        return parse_qsl(self._parts.query)

    def _url(self, user: str, address: Address, path: str, options: list[tuple[str, str]]) -> str:
        parts = SplitResult(SENTINELS[self._parts.scheme], f"{user}{address.netloc}", path, urlencode(options), "")
        return parts.geturl()
