"""Whether a candidate limits at all, before it is measured: one that lets everything through would win every table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks import load, policy
from benchmarks.candidates import Candidate, Framework, served
from tests.servers import Server

LIMIT = 3
ATTEMPTS = 2  # a fixed window may end between two requests, but not twice
END = "the benchmark has seen enough"


def limits(candidate: Candidate, framework: Framework) -> None:
    """Raises RuntimeError unless each of the two limits alone denies a caller's fourth request, and not another's."""
    for rate, long in ((LIMIT, policy.LONG), (policy.RATE, LIMIT)):
        for attempt in range(1, ATTEMPTS + 1):
            with stored(candidate) as store, served(candidate, framework, store, rate=rate, long=long) as app:
                statuses = [app.get(f"/items/{number}")[0] for number in range(LIMIT + 1)]
                other = app.get(api_key=policy.api_key(1))[0]
                complaints = app.complaints()
            if (statuses, other) == ([200] * LIMIT + [429], 200):
                break
            if attempt == ATTEMPTS:
                raise RuntimeError(
                    f"{candidate.name} in {framework}, at {rate} a minute and {long} a month, answers {statuses} to one"
                    f" caller and {other} to another: it does not limit each caller, so its speed means nothing\n"
                    f"{complaints}"
                )


def client_shares(candidate: Candidate, framework: Framework) -> dict[str, float]:
    """By the name of a Redis command: the share of its calls that is sent by clients; the rest is that of scripts."""
    with stored(candidate) as store, served(candidate, framework, store) as app:
        if not store:
            return {}
        for _ in range(LIMIT):  # what is done once: scripts are loaded, keys get their expiry
            app.get()
        with watched(store) as (by_clients, in_scripts):
            for _ in range(LIMIT):
                app.get()
    return shares(by_clients, in_scripts)


def shares(by_clients: Mapping[str, int], in_scripts: Mapping[str, int]) -> dict[str, float]:
    """Empty if there are no scripts."""
    if not in_scripts:
        return {}
    own = {name: count / (count + in_scripts.get(name, 0)) for name, count in by_clients.items()}
    return dict.fromkeys(load.SCRIPTS, 1.0) | own


@contextmanager
def stored(candidate: Candidate) -> Iterator[Server | None]:
    """A Valkey of its own for a candidate that needs one."""
    if candidate.needs != "redis":
        yield None
        return
    with load.store() as store:
        yield store


@contextmanager
def watched(store: Server) -> Iterator[tuple[Counter[str], Counter[str]]]:
    """The commands that clients send during the block, and those that their scripts call; filled in when it ends."""
    by_clients, in_scripts = Counter[str](), Counter[str]()
    with store.client() as client, store.client().monitor() as monitor:  # type: ignore[no-untyped-call]
        yield by_clients, in_scripts
        client.echo(END)
        while END not in (seen := monitor.next_command())["command"]:
            name = seen["command"].partition(" ")[0].lower()
            (in_scripts if seen["client_type"] == "lua" else by_clients)[name] += 1
