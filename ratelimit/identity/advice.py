"""What is said once of peers and proxies, where the settings do not fit what they send."""

from __future__ import annotations

import logging

from ratelimit.identity.networks import read_address

NO_ADDRESS, PROXY, OTHER_HEADER, FEWER = "no address", "a proxy", "the other header", "fewer hops"

_log = logging.getLogger("ratelimit")


class Advice:
    """For the settings `forwarded` and `trusted_hops`. `said` is what need not be looked for any more."""

    __slots__ = ("_forwarded", "_trusted_hops", "said")

    def __init__(self, forwarded: str, trusted_hops: int | None) -> None:
        self._forwarded = forwarded
        self._trusted_hops = trusted_hops
        self.said: set[str] = set()

    def no_address(self, text: str) -> None:
        self._say(
            NO_ADDRESS,
            "the client's address is %r, which is no IP address: every caller that arrives so is counted as one. If a "
            'proxy connects over a Unix socket, set [identity] trusted_proxies = ["unix"] and let the proxy send the '
            "header %s, which [identity] forwarded names. This is logged once.",
            text,
            self._forwarded,
        )

    def proxy(self, peer: str, header: bytes) -> None:
        """Nobody is trusted, and a private peer sends what a proxy sends."""
        self._say(
            PROXY,
            "a request from %s carries %s, and no proxy is trusted: if it is your proxy, all callers behind it are "
            'counted as one. Then write [identity] trusted_proxies = ["%s"], or its network, and forwarded = "%s"; '
            "where proxies have no fixed addresses trusted_hops = 1 instead. This is logged once.",
            read_address(peer),
            header.decode(),
            read_address(peer),
            header.decode(),
        )

    def other_header(self, peer: str, header: bytes) -> None:
        """A trusted proxy sends a header that is not the one which is named, and not that one."""
        self._say(
            OTHER_HEADER,
            "the proxy %s sends %s, and not %s, which [identity] forwarded names: its callers are counted as "
            'one. If that is the header which it writes itself, write forwarded = "%s". This is logged once.',
            peer,
            header.decode(),
            self._forwarded,
            header.decode(),
        )

    def fewer(self, walked: int) -> None:
        self._say(
            FEWER,
            "%s has %d of the %d hops that [identity] trusted_hops says: such a request is counted by its peer. "
            "It came around a proxy, or trusted_hops is too large. This is logged once.",
            self._forwarded,
            walked,
            self._trusted_hops,
        )

    def _say(self, about: str, message: str, *parts: object) -> None:
        if about not in self.said:
            self.said.add(about)
            _log.warning(message, *parts)
