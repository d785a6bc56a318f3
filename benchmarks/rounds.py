"""One run of one candidate under load, and candidates in turn, round by round."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice

from redis import Redis

from benchmarks import check, load
from benchmarks.candidates import BARE, MAIN, Candidate, Framework, served
from tests.servers import Server

CONNECTIONS = 64
WARM = 1  # seconds before each run: connections are made, scripts are loaded


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


def compare(
    framework: Framework, candidates: Sequence[Candidate], rounds: tuple[int, int], seconds: int
) -> dict[str, list[Outcome]]:
    """The outcomes by name, interleaved: each candidate runs right before or right after the bare app, in a round begun
    by another one each time.

    `rounds` are those of the main two of ours and of the others. Raises RuntimeError if one does not limit, or not in
    every run.
    """
    shares: dict[str, dict[str, float]] = {}
    for candidate in candidates:
        print(f"{framework}: does {candidate.name} limit?", file=sys.stderr)
        check.limits(candidate, framework)
        shares[candidate.name] = check.client_shares(candidate, framework)
    outcomes: dict[str, list[Outcome]] = {candidate.name: [] for candidate in (BARE, *candidates)}
    for number in range(max(rounds)):
        print(f"{framework}: round {number + 1} of {max(rounds)}", file=sys.stderr)
        taking_part = [candidate for candidate in candidates if number < rounds[candidate not in MAIN]]
        turn = number % len(taking_part)  # of these: so that nobody is always the one before the bare app
        for pair in batched([*taking_part[turn:], *taking_part[:turn]], 2):
            first = run(pair[0], framework, seconds, shares[pair[0].name])
            bare = run(BARE, framework, seconds)
            ones = [first, *(run(candidate, framework, seconds, shares[candidate.name]) for candidate in pair[1:])]
            outcomes[BARE.name].append(bare)
            for candidate, one in zip(pair, ones, strict=True):
                outcomes[candidate.name].append(replace(one, kept=one.rate / bare.rate))
    return outcomes


def run(
    candidate: Candidate,
    framework: Framework,
    seconds: int,
    shares: Mapping[str, float] = load.EMPTY,
    *,
    allowed: int | None = None,
) -> Outcome:
    """One run in a process of its own, on a Valkey of its own, after a second of warming up.

    With `allowed` a minute the caller is meant to be denied. Raises
    RuntimeError for an answer that is not meant, and for a Redis in which nothing was counted.
    """
    with ExitStack() as stack:
        store = stack.enter_context(check.stored(candidate))
        redis = stack.enter_context(store.client()) if store else None
        app = stack.enter_context(served(candidate, framework, store, **({} if allowed is None else {"rate": allowed})))
        load.wrk(app.url, seconds=WARM, connections=CONNECTIONS, callers=candidate.callers)
        before = _spent(app, store, redis)
        wrk = load.wrk(app.url, seconds=seconds, connections=CONNECTIONS, callers=candidate.callers)
        spent = _spent(app, store, redis).since(before)
        wrong = wrk.refused if allowed is None else wrk.refused < wrk.requests - 2 * allowed
        if wrk.broken or wrong or (redis and redis.dbsize() < candidate.callers):
            raise RuntimeError(f"{candidate.name} in {framework} did not do what it should: {wrk}\n{app.complaints()}")
        return Outcome(
            rate=wrk.rate,
            kept=1.0,
            server_us=spent.server * 1e6 / wrk.requests,
            on_redis=redis is not None,
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


def _spent(app: load.App, store: Server | None, redis: Redis | None) -> Spent:
    if not store or not redis:
        return Spent(load.cpu_seconds(app.pid), 0.0, load.Commands({}, {}))
    return Spent(load.cpu_seconds(app.pid), load.cpu_seconds(store.process.pid), load.commands(redis))
