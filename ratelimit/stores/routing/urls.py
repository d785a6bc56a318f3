"""URLs of stores: their parts, what is wrong with one, user and password from the environment where it has none, and
what one of a cluster or with sentinels says.

No message shows more of a URL than addresses: it may hold a password.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode

from ratelimit.stores.connection.handshake import Address
from ratelimit.stores.routing.options import wrong_options

CLUSTERS = {"redis+cluster": "redis", "rediss+cluster": "rediss"}  # of a cluster, and of each of its nodes
SENTINELS = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}  # of a URL with sentinels, and of each server
PORT = 6_379
SENTINEL_PORT = 26_379
EXAMPLE = "write redis+sentinel://h1:26379,h2:26379/mymaster/0"
OF_THE_MASTER = {"db", "username", "password"}  # options that mean nothing to a sentinel
OF_THE_SENTINELS = {"sentinel_username": "username", "sentinel_password": "password"}

# As RFC 3986 has it (appendix B). Not by `urlsplit`: it knows one host, and from Python 3.14 on refuses the lists of
# them that clusters and sentinels have, `h1:7000,[::1]:7001`.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_HOST = re.compile(r"(?:\[([^\[\]]*)\]|([^\s\[\]:,@/?#]*))(?::([0-9]{1,5}))?")


def problem_of(url: str) -> str | None:
    """Why no store can be meant by a URL, without the URL: `has an address that can't be read; …`. None if one can."""
    parts = split_url(url)
    if not _is_text(unquote(url, errors="surrogateescape")):
        return "is not in UTF-8; write what is not ASCII as %XX of its UTF-8"
    try:
        if parts.scheme == "memory":
            _check_memory(url)
        else:
            _check_quoting(parts)
            _check_address(parts, url)
    except ValueError as error:
        return str(error)
    return next(wrong_options(parts), None)


def _check_memory(url: str) -> None:
    if url.strip().lower() != "memory://":
        raise ValueError("has more than memory://, which stands alone; the memory of a process has no address")


def _check_address(parts: SplitResult, url: str) -> None:
    if parts.scheme in SENTINELS:
        SentinelUrl.of(url)
    elif parts.scheme == "unix":
        _check_socket(parts)
    else:
        if parts.scheme in CLUSTERS:
            ClusterUrl.of(url)
        else:
            _check_server(parts)
        if not re.fullmatch("(/[0-9]{0,9})?", parts.path):
            raise ValueError("has a database that is not a number; write redis://host:6379/0")


def _check_quoting(parts: SplitResult) -> None:
    """Where a password was not written as a URL has it, what stands before the first of # / ? would be taken for the
    host and the port, and told in every error."""
    if parts.netloc and "@" not in parts.netloc and "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ValueError("has an @ after its address; in a password write %23 for #, %2F for /, %3F for ?, %40 for @")
    if parts.fragment:
        raise ValueError("has a #, behind which nothing is read; in a password write %23 for it")


def _check_socket(parts: SplitResult) -> None:
    if not parts.path.strip("/"):
        raise ValueError("has no path of a socket; write unix:///run/redis.sock")
    if hosts_of(parts) != [""]:
        raise ValueError("has a path of a socket that does not begin with /; write unix:///run/redis.sock")


def _check_server(parts: SplitResult) -> None:
    hosts = hosts_of(parts)
    if len(hosts) > 1:
        several = "redis+cluster://h1:7000,h2:7001 for a cluster, redis+sentinel://h1,h2/mymaster for sentinels"
        raise ValueError(f"has more than one address; write {several}")
    host = hosts[0]
    try:
        read_address(f"localhost{host}" if host[:1] in ("", ":") else host, PORT)
    except ValueError:  # its words are a piece of the URL
        raise ValueError(
            "has an address that can't be read; write redis://host:6379/0, an IPv6 address in [ ]"
        ) from None


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


def read_address(text: str, port: int) -> Address:
    """`h1`, which is at `port`, `h1:7000`, `[::1]:7000`. Raises ValueError."""
    found = _HOST.fullmatch(text)
    number = port if found is None or found[3] is None else int(found[3])
    if found is None or not (found[1] or found[2]) or not 0 < number < 65_536:
        raise ValueError(text)
    if found[1] is None:
        return Address(found[2].lower(), number)
    IPv6Address(found[1])
    host, percent, zone = found[1].partition("%")
    return Address(host.lower() + percent + zone, number)


def _addresses(parts: SplitResult, port: int) -> tuple[Address, ...]:
    """Nothing where one can't be read: the error would quote a piece of the URL, also as the cause of another."""
    try:
        return tuple([read_address(text, port) for text in hosts_of(parts)])
    except ValueError:
        return ()


def with_credentials(url: str) -> str:
    """The URL with RATELIMIT_STORE_USERNAME and RATELIMIT_STORE_PASSWORD where it has none, and for sentinels with
    RATELIMIT_STORE_SENTINEL_USERNAME and RATELIMIT_STORE_SENTINEL_PASSWORD."""
    parts = split_url(url)
    options = dict(parse_qsl(parts.query))
    own, _, hosts = parts.netloc.rpartition("@")
    user, _, password = own.partition(":")
    user = user or _of_environment("username", options)
    password = password or _of_environment("password", options)
    netloc = f"{user}:{password}@{hosts}" if password else f"{user}@{hosts}" if user else hosts
    names = OF_THE_SENTINELS if parts.scheme in SENTINELS else ()
    more = [f"{name}={text}" for name in names if (text := _of_environment(name, options))]
    query = "&".join([part for part in (parts.query, *more) if part])
    return f"{parts.scheme}://{netloc}{parts.path}{'?' if query else ''}{query}"


def _of_environment(name: str, options: dict[str, str]) -> str:
    """As it is written in a URL; nothing where the URL has it among its options."""
    variable = f"RATELIMIT_STORE_{name.upper()}"
    text = "" if name in options else os.environ.get(variable, "")
    if not _is_text(text):  # what Python says of it holds the text
        raise ValueError(f"the environment variable {variable} is not in UTF-8")
    return quote(text, safe="")


def _is_text(text: str) -> bool:
    """Whether it can be sent to anybody: of bytes that are not UTF-8 the environment makes half a character each."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


@dataclass(frozen=True, slots=True)
class ClusterUrl:
    """`redis+cluster://user:password@h1:7000,h2:7001/0?option=…`: the nodes to ask first, and what holds for all."""

    nodes: tuple[Address, ...]
    _parts: SplitResult = field(repr=False)  # may hold a password

    @classmethod
    def of(cls, url: str) -> ClusterUrl:
        """Raises ValueError, without the URL: it may hold a password."""
        parts = split_url(url)
        if not (nodes := _addresses(parts, PORT)):
            raise ValueError("has an address that can't be read; write redis+cluster://h1:7000,h2:7001")
        return cls(nodes, parts)

    @property
    def any_node(self) -> str:
        return self.node(self.nodes[0])

    def node(self, address: Address) -> str:
        """The URL of one node: redis://user:password@h1:7000/0?option=…"""
        user, at, _ = self._parts.netloc.rpartition("@")
        scheme = CLUSTERS[self._parts.scheme]
        return self._parts._replace(scheme=scheme, netloc=f"{user}{at}{address.netloc}").geturl()


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
        parts = split_url(url)
        if not (sentinels := _addresses(parts, SENTINEL_PORT)):
            raise ValueError(f"has an address that can't be read; {EXAMPLE}")
        name, _, database = parts.path.removeprefix("/").partition("/")
        if not name:
            raise ValueError(f"does not say which master the sentinels are to be asked for; {EXAMPLE}")
        if not re.fullmatch("[0-9]{0,9}", database):
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
