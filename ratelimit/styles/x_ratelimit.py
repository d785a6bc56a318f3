"""X-RateLimit headers: of one limit, the rate that they speak of."""

from __future__ import annotations

from functools import lru_cache

from ratelimit.model import Decision, Headers, LimitSet, State, share
from ratelimit.styles import wire

Header = tuple[bytes, bytes]
Rates = list[tuple[int, int, Header, Header]]
_NEVER: tuple[int, int, int, Header, Header, int] = (-1, 0, 0, (b"", b""), (b"", b""), 0)


@lru_cache(maxsize=256)  # a policy has few maxes
def limit_header(maximum: int) -> tuple[bytes, bytes]:
    return b"x-ratelimit-limit", b"%d" % maximum


@lru_cache(maxsize=256)  # in a second few instants are told, one a window
def reset_header(second: int) -> tuple[bytes, bytes]:
    return b"x-ratelimit-reset", b"%d" % second


@lru_cache(maxsize=256)  # the windows of a policy's limits
def window_header(window_ms: int) -> tuple[bytes, bytes]:
    return b"x-ratelimit-window", b"%d" % wire.seconds(window_ms)


def of_state(rate: State, reset_at_ms: int | None = None) -> Headers:
    """`X-RateLimit-Limit` and `-Remaining` of a rate, and `-Reset` in epoch seconds if there is such an instant."""
    _, maximum, used, *_ = rate
    remaining = b"x-ratelimit-remaining", b"%d" % (maximum - used if maximum > used else 0)
    if reset_at_ms is None:
        return [limit_header(maximum), remaining]
    return [limit_header(maximum), remaining, reset_header(-(-reset_at_ms // 1000))]  # epoch(), without the call


def of_binding(decision: Decision, reset: bool = True, window: bool = False) -> Headers:
    """`of_state` of the rate that headers speak of, where nothing denies, and if asked for `X-RateLimit-Window`;
    nothing without a rate. Without States where there are numbers: 2 of 4 µs are saved in a server."""
    limits = decision.limit_set
    if limits is None:
        return _of_numbers(decision, reset, window)
    # What the latest decision over these limits left, for all of the same millisecond.
    at_ms, c, maximum, limit, length, reset_ms = limits.made.get(of_binding, _NEVER)
    if at_ms != decision.now_ms:
        return _of_numbers(decision, reset, window)
    left = maximum - decision.used[c]
    remaining = b"x-ratelimit-remaining", b"%d" % (left if left > 0 else 0)  # noqa: FURB136 - max() takes twice as long
    if not reset:
        return [limit, remaining]
    at = reset_header(-(-(wire.now_ms() + reset_ms) // 1000))
    return [limit, remaining, at, length] if window else [limit, remaining, at]


def _of_numbers(decision: Decision, reset: bool, window: bool) -> Headers:
    numbers = decision.numbers
    if numbers is None:
        rate = decision.binding
        if rate is None:
            return []
        headers = of_state(rate, wire.now_ms() + rate.reset_after_ms if reset else None)
        return [*headers, window_header(rate.window_ms)] if window else headers
    _, limits, used, resets_ms = numbers
    rates: Rates | None = limits.made.get(_rates)
    if rates is None:
        rates = limits.made[_rates] = _rates(limits)
    if not rates:
        return []
    c, maximum, limit, length = rates[0]
    if len(rates) > 1:
        c, maximum, limit, length = min(rates, key=lambda rate: share(rate[1], used[rate[0]]))
    elif decision.limit_set is not None:
        limits.made[of_binding] = decision.now_ms, c, maximum, limit, length, resets_ms[c]
    headers = [limit, (b"x-ratelimit-remaining", b"%d" % (maximum - used[c] if maximum > used[c] else 0))]
    if reset:
        headers.append(reset_header(-(-(wire.now_ms() + resets_ms[c]) // 1000)))
    if window:
        headers.append(length)
    return headers


def _rates(limits: LimitSet) -> Rates:
    """Of each rate where it is, its max, and what of it is always the same."""
    maxes, windows_ms = limits.maxes, limits.windows_ms
    return [(c, maxes[c], limit_header(maxes[c]), window_header(windows_ms[c])) for c in limits.rates]


def reset_at_ms(rate: State, denying: State, now: int) -> int | None:
    """The instant of `X-RateLimit-Reset` on a denial, in milliseconds since 1970; `now` is that of the rest of it.

    It is when `rate` is whole again, but on a denial by this very rate when the request can be sent again, the same
    instant as `Retry-After`. None where the request can never pass: no instant would be true.
    """
    if denying.retry_after_ms is None:
        return None
    return now + (denying.retry_after_ms if denying is rate else rate.reset_after_ms)
