"""TLS contexts, kept: to make one at each attempt to connect would halt the event loop for some 30 ms each time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from ssl import SSLContext
from typing import Any, Protocol

KEPT = 8  # one for each set of options in a process; a certificate that was renewed makes one more
FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")

_kept: dict[object, SSLContext] = {}


class Maker(Protocol):
    """What a connection of redis-py has its context from. It makes one where `context` is None."""

    context: SSLContext | None

    def get(self) -> SSLContext:
        """Raises OSError where a file can't be read, or is not what it should be."""


def reuse_context(maker: Maker, options: Mapping[str, Any]) -> None:
    """Give it the context that was made with the same options and files. Raises ValueError where none can be made."""
    files = [options[name] for name in FILES if options.get(name)]
    try:
        asked = str([(name, options[name]) for name in sorted(options) if name.startswith("ssl_")])
        key = (asked, *map(_version, files))
        maker.context = _kept.get(key)
        maker.context = maker.get()
    except OSError as error:  # that of a bad certificate is one too
        why = error.strerror or str(error)
    else:
        if key not in _kept and len(_kept) >= KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = maker.context
        return
    raise ValueError(f"no TLS with the files that the URL's ssl_ options name, {', '.join(map(str, files))}: {why}")


def _version(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_mtime_ns, status.st_size
