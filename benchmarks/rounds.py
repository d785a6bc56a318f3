"""One run of one candidate under load, and candidates in turn, round by round."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice

from redis import Redis

from benchmarks import check, environments, load
from benchmarks.candidates import BARE, Candidate, Framework, served
from tests.servers import Server

CONNECTIONS = 64
WARM = 1  # seconds before the first run: connections are made, scripts are loaded


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run. All but the first two are for each request; without a Redis, what it counts is 0."""

    rate: float  # requests a second
    kept: float  # of the bare app's rate in the run beside it; 1 until it is compared
    server_us: float  # of the processor
    on_redis: bool
    redis_us: float  # of the processor
    commands: float  # sent by clients
    scripts: float  # calls of scripts
    complaint: str  # the first line that the app wrote, if it did


@dataclass(frozen=True, slots=True)
class Up:
    """A candidate's app that is served, with the Valkey of its own if it needs one."""

    candidate: Candidate
    app: load.App
    store: Server | None
    redis: Redis | None

    def spent(self) -> Spent:
        """So far."""
        if not self.store or not self.redis:
            return Spent(load.cpu_seconds(self.app.pid), 0.0, load.Commands({}, {}))
        of_redis = load.cpu_seconds(self.store.process.pid)
        return Spent(load.cpu_seconds(self.app.pid), of_redis, load.commands(self.redis))


@contextmanager
def up(candidate: Candidate, framework: Framework, version: str = environments.OWN, **limits: int) -> Iterator[Up]:
    """In a process of its own, after a second of warming up; `limits` are those of `served`."""
    with ExitStack() as stack:
        store = stack.enter_context(check.stored(candidate))
        redis = stack.enter_context(store.client()) if store else None
        app = stack.enter_context(served(candidate, framework, store, version=version, **limits))
        load.wrk(app.url, seconds=WARM, connections=CONNECTIONS, callers=candidate.callers)
        yield Up(candidate, app, store, redis)


def compare(
    framework: Framework,
    candidates: Sequence[Candidate],
    rounds: int,
    seconds: int,
    version: str,
    shares: Mapping[str, Mapping[str, float]],
) -> dict[str, list[Outcome]]:
    """The outcomes by name, interleaved: each candidate runs right before or right after the bare app, in a round begun
    by another one each time. All apps are up meanwhile, and one of them is asked.

    `shares` are those of check.client_shares by candidate.
    """
    outcomes: dict[str, list[Outcome]] = {candidate.name: [] for candidate in (BARE, *candidates)}
    with ExitStack() as stack:
        all_up = {one.name: stack.enter_context(up(one, framework, version)) for one in (BARE, *candidates)}
        for number in range(rounds):
            print(f"{framework}, Python {version}: round {number + 1} of {rounds}", file=sys.stderr)
            turn = number % len(candidates)  # so that nobody is always the one before the bare app
            for pair in batched([*candidates[turn:], *candidates[:turn]], 2):
                first, *second = (all_up[one.name] for one in pair)
                ones = [run(first, seconds, shares.get(pair[0].name, load.EMPTY))]
                bare = run(all_up[BARE.name], seconds)
                ones += [run(one, seconds, shares.get(one.candidate.name, load.EMPTY)) for one in second]
                outcomes[BARE.name].append(bare)
                for candidate, one in zip(pair, ones, strict=True):
                    outcomes[candidate.name].append(replace(one, kept=one.rate / bare.rate))
    return outcomes


def run(who: Up, seconds: int, shares: Mapping[str, float] = load.EMPTY, *, allowed: int | None = None) -> Outcome:
    """One run. With `allowed` a minute the caller is meant to be denied.

    A peer begins with an empty Valkey, since its logs of time stamps would grow from run to run. Raises RuntimeError
    for an answer that is not meant, and for a Redis in which nothing was counted.
    """
    candidate, app = who.candidate, who.app
    if who.redis and not candidate.is_ours:
        who.redis.flushall()
    before = who.spent()
    try:
        wrk = load.wrk(app.url, seconds=seconds, connections=CONNECTIONS, callers=candidate.callers)
    except RuntimeError as error:
        raise RuntimeError(f"{candidate.name}: {error}\n{app.complaints()}") from error
    spent = who.spent().since(before)
    wrong = wrk.refused if allowed is None else wrk.refused < wrk.requests - 2 * allowed
    counted = not who.redis or not candidate.limits or who.redis.dbsize() >= min(candidate.callers, wrk.requests)
    if wrk.broken or wrong or not counted:
        raise RuntimeError(f"{candidate.name} did not do what it should: {wrk}\n{app.complaints()}")
    return Outcome(
        rate=wrk.rate,
        kept=1.0,
        server_us=spent.server * 1e6 / wrk.requests,
        on_redis=who.redis is not None,
        redis_us=spent.redis * 1e6 / wrk.requests,
        commands=spent.commands.by_clients(shares) / wrk.requests,
        scripts=spent.commands.scripts / wrk.requests,
        complaint=next(iter(app.complaints().splitlines()), ""),
    )


def batched(candidates: Sequence[Candidate], size: int) -> Iterator[tuple[Candidate, ...]]:
    """Of `size` each, the last perhaps of fewer; itertools has it from Python 3.12 on."""
    left = iter(candidates)
    while some := tuple(islice(left, size)):
        yield some


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds of the app's process and of Redis, and what Redis was asked for."""

    server: float
    redis: float
    commands: load.Commands

    def since(self, before: Spent) -> Spent:
        return Spent(self.server - before.server, self.redis - before.redis, load.spent(before.commands, self.commands))
