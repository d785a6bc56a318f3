"""The options behind the ? of a store's URL: those that are known, and what each can be.

They are redis-py's own, of the connections that a URL can ask for; a test compares them with the redis-py that is
installed. No message shows a value: it may be a password.
"""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from urllib.parse import SplitResult, parse_qsl

_Check = Callable[[str], bool]


def _is_number(least: int, most: int = 2**31 - 1) -> _Check:
    return lambda text: bool(re.fullmatch("[0-9]{1,10}", text)) and least <= int(text) <= most


def _is_seconds(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", text)) and 0 < float(text) < math.inf


def _is_one_of(*words: str) -> _Check:
    return lambda text: text in words


def _is_yes_or_no(text: str) -> bool:
    """redis-py takes any other word for yes, "off" too."""
    return text.lower() in ("1", "0", "t", "f", "true", "false", "y", "n", "yes", "no")


def _is_encoding(text: str) -> bool:
    """One in which a command is what Redis reads."""
    try:
        return "PING".encode(text) == b"PING"
    except (LookupError, ValueError):
        return False


def _are_flags(text: str) -> bool:
    names = re.sub(r"[\[\]]", "", text).split(",")
    return all(name.strip() in ssl.VerifyFlags.__members__ for name in names)


def _are_ciphers(text: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(text)
    except (ssl.SSLError, ValueError):
        return False
    return True


def _is_text(_: str) -> bool:
    return True


_SECONDS = (_is_seconds, "a number of seconds above 0")
_NAME = (_is_text, "a text")
_FILE = (_is_text, "the path of a file")
_BOOLEAN = (_is_yes_or_no, "true or false")
_COUNT = (_is_number(1), "a whole number from 1 on")

_Known = dict[str, tuple[_Check, str]]

OF_ALL: _Known = {
    "client_name": (lambda text: bool(re.fullmatch("[!-~]+", text)), "printable ASCII without spaces"),
    "db": (_is_number(0), "the number of a database"),
    "decode_responses": _BOOLEAN,
    "encoding": (_is_encoding, "an encoding, such as utf-8"),
    "encoding_errors": (_is_one_of("strict", "ignore", "replace", "surrogateescape"), "strict, ignore or replace"),
    "health_check_interval": (_is_number(0), "a whole number of seconds"),
    "legacy_responses": _BOOLEAN,
    "lib_name": _NAME,
    "lib_version": _NAME,
    "max_connections": _COUNT,
    "password": _NAME,
    "protocol": (_is_one_of("2", "3"), "2 or 3"),
    "retry_on_timeout": _BOOLEAN,
    "socket_connect_timeout": _SECONDS,
    "socket_read_size": _COUNT,
    "socket_timeout": _SECONDS,
    "username": _NAME,
}
OF_TCP: _Known = {"socket_keepalive": _BOOLEAN}
OF_TLS: _Known = {
    "ssl_ca_certs": _FILE,
    "ssl_ca_data": (_is_text, "certificates in PEM"),
    "ssl_ca_path": (_is_text, "the path of a folder"),
    "ssl_cert_reqs": (_is_one_of("none", "optional", "required"), "none, optional or required"),
    "ssl_certfile": _FILE,
    "ssl_check_hostname": _BOOLEAN,
    "ssl_ciphers": (_are_ciphers, "ciphers as OpenSSL lists them"),
    "ssl_exclude_verify_flags": (_are_flags, "names of ssl.VerifyFlags with commas between them"),
    "ssl_include_verify_flags": (_are_flags, "names of ssl.VerifyFlags with commas between them"),
    "ssl_keyfile": _FILE,
    "ssl_min_version": (_is_number(769, 772), "771 for TLS 1.2, 772 for TLS 1.3"),
    "ssl_password": _NAME,
}
OF_SENTINELS: _Known = {"sentinel_password": _NAME, "sentinel_username": _NAME}


def wrong_options(parts: SplitResult) -> Iterator[str]:
    """What is wrong with them, behind `the URL …`."""
    known = {**OF_ALL}
    if parts.scheme != "unix":
        known |= OF_TCP
    if parts.scheme.startswith("rediss"):
        known |= OF_TLS
    if parts.scheme.endswith("+sentinel"):
        known |= OF_SENTINELS
    seen = set(_elsewhere(parts))
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            yield _unknown(name, known, written=f"{name}=" in parts.query)
        elif name in seen:
            yield f"says its {name} twice; write it once"
        elif not text and known[name] is not _NAME:  # an empty password is none
            yield f"has an option {name} without a value; write {known[name][1]} behind it, or leave it out"
        elif not known[name][0](text):
            yield f"has an option {name} that can't be read; write {known[name][1]}"
        seen.add(name)


def _elsewhere(parts: SplitResult) -> Iterator[str]:
    """What stands before the ? already."""
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    if user:
        yield "username"
    if password:
        yield "password"
    if not parts.scheme.endswith("+sentinel") and parts.scheme != "unix" and parts.path.strip("/"):
        yield "db"
    if parts.scheme.endswith("+sentinel") and parts.path.strip("/").partition("/")[2]:
        yield "db"


def _unknown(name: str, known: _Known, *, written: bool) -> str:
    if name in OF_TLS:
        return f"has an option {name}, which is of TLS; that begins with rediss"
    if name in OF_TCP or name in OF_SENTINELS:
        return f"has an option {name}, which this kind of URL does not know"
    if near := get_close_matches(name.lower(), known, n=1, cutoff=0.7):
        return f'has an option that no store knows; did you mean "{near[0]}"?'
    # what has no = behind it may be a password
    shown = f" {name}" if written and re.fullmatch("[A-Za-z][A-Za-z0-9_-]{0,31}", name) else ""
    return f"has an option{shown} that no store knows; known are {', '.join(sorted(known))}"
