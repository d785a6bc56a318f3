"""`ratelimit usage`, `reset` and `watch`: one caller, on a real server."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest

from ratelimit import RedisStore, StoreUnavailable
from ratelimit.cli.commands import caller
from ratelimit.cli.input import stores
from ratelimit.cli.input.policies import policy_of
from ratelimit.cli.output.bars import BAR, bar, frame
from ratelimit.cli.output.console import console
from ratelimit.cli.output.exits import FINDINGS, FINE, STORE, USAGE
from ratelimit.explanation.caller import Caller as Named
from ratelimit.explanation.caller import by_pairs
from ratelimit.explanation.verdict import Usage, Verdict
from ratelimit.explanation.whole import of_tier
from ratelimit.model import Charge, Identity, Limit, Rate
from tests.cli import COMMAND, THREE, policy, run, run_in_terminal
from tests.explanation import TEXT
from tests.explanation import policy as known
from tests.servers import Server

ACME = ("--identity", "organization=acme", "--identity", "user=ana")
NOWHERE = "redis://127.0.0.1:1/0"
_numbers = count()


class Caller:
    """Of a policy file with a prefix of its own, on a server."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.url, self.prefix = server.url, f"caller{next(_numbers)}"
        file = folder / "ratelimit.toml"
        text = TEXT[: TEXT.index("[[overrides]]")]  # whose end is by the clock of the machine
        file.write_text(f'store = {{ prefix = "{self.prefix}", url = "{server.url}" }}\n{text}')
        self.file = str(file)
        self.limits = of_tier(known(), by_pairs(known(), ["organization=acme", "user=ana"]), 0)

    def spend(self, units: int, *names: str) -> None:
        async def main() -> None:
            store = RedisStore(self.url, prefix=self.prefix, timeout=5)
            await store.charge([one.charge for one in self.limits if one.limit.name in names], units)
            await store.close()

        asyncio.run(main())

    def take_slot(self) -> None:
        async def main() -> None:
            store = RedisStore(self.url, prefix=self.prefix, timeout=5)
            await store.acquire([one.charge for one in self.limits if one.limit.name == "at once"])
            await store.close()

        asyncio.run(main())

    def used(self) -> dict[str, int]:
        ran = run("usage", self.file, *ACME, "--format", "json")
        assert ran.code == FINE, ran.err
        return {one["name"]: one["used"] for one in json.loads(ran.out)["limits"]}


@pytest.fixture
def acme(tmp_path: Path, valkey: Server) -> Caller:
    return Caller(tmp_path, valkey)


@pytest.mark.parametrize("command", [("usage",), ("watch", "--once")])
@pytest.mark.parametrize("example", THREE)
def test_examples(example: str, command: tuple[str, ...], valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """On each example, in each format: an anonymous caller that has used nothing."""
    monkeypatch.setenv("RATELIMIT_STORE_URL", valkey.url)
    asked = (*command, policy(example), "--identity", "ip=192.0.2.77")
    ran = run(*asked)
    assert (ran.code, ran.err) == (FINE, "")
    assert ran.out.startswith("ip=192.0.2.77, tier anonymous, at 2")
    assert max(map(len, ran.out.splitlines())) <= 80
    assert "\x1b" not in ran.out
    told = json.loads(run(*asked, "--format", "json").out)
    assert (told["version"], told["command"]) == (1, command[0])
    assert {one["used"] for one in told["limits"]} == {0}
    assert run(*asked, "--format", "github").out.count("::notice ") == len(told["limits"])


@pytest.mark.parametrize("example", THREE)
def test_reset_on_the_examples(example: str, valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe and for programs: what was used is forgotten once."""
    monkeypatch.setenv("RATELIMIT_STORE_URL", valkey.url)
    of = policy_of(policy(example))
    limits = of_tier(of, by_pairs(of, ["ip=192.0.2.78"]), 0)

    async def spend() -> None:
        store = RedisStore(valkey.url, prefix=of.store.prefix, timeout=5)
        await store.charge([limits[0].charge], 3)
        await store.close()

    asyncio.run(spend())
    asked = ("reset", policy(example), "--identity", "ip=192.0.2.78", "--yes")
    told = json.loads(run(*asked, "--format", "json").out)
    assert (told["version"], told["command"], told["forgotten"]) == (1, "reset", 1)
    assert len(told["counters"]) == len(limits)
    said = f"ip=192.0.2.78: 0 of {len(limits)} counters had something in them, and are forgotten\n"
    assert run(*asked) == (FINE, said, "")
    assert len(said) <= 80


def test_usage(acme: Caller) -> None:
    """Bars, what is used, what is left, and when it is whole: also what no call reaches, and what is in shadow."""
    acme.spend(24, "requests")
    acme.spend(500, "monthly")
    acme.spend(1, "tried")
    acme.take_slot()
    ran = run("usage", acme.file, *ACME)
    assert ran.code == FINE
    lines = [re.sub(" +", " ", line).strip() for line in ran.out.splitlines()]
    assert lines[0].startswith("organization=acme, tier basic, at 2")
    assert [line.split(" ")[0] for line in lines[4:]] == ["requests", "monthly", "at", "soon", "tried", "hand"]
    assert lines[4].startswith("requests 31/5 minutes ███████████████░░░░░ 24 7 5 min")
    assert "████████████████████ 500 0" in lines[5]
    assert lines[6] == "at once 2 at a time ██████████░░░░░░░░░░ 1 1"
    assert lines[8].startswith("tried (in shadow) 1/minute ████████████████████ 1 0 1 min")
    assert lines[9] == "hand 1/minute ░░░░░░░░░░░░░░░░░░░░ 0 1"
    assert acme.used() == {"requests": 24, "monthly": 500, "at once": 1, "soon": 0, "tried": 1, "hand": 0}
    assert acme.used()["requests"] == 24  # nothing was charged


def test_what_is_not_said(acme: Caller) -> None:
    """What a limit counts apart, and nobody said."""
    out = run("usage", acme.file, "--identity", "organization=acme").out
    assert "Counted without user, which is not said of this caller." in out


def test_formats_of_what_is_used_up(acme: Caller) -> None:
    """What is used up is a warning."""
    acme.spend(31, "requests")
    lines = run("usage", acme.file, *ACME, "--format", "github").out.splitlines()
    assert lines[0].startswith("::warning file=")
    assert lines[0].endswith("::organization=acme: requests: 31 of 31 used, 0 left")


def test_by_key(acme: Caller) -> None:
    """The caller of a key on standard input; of one that is not known, only with its address."""
    acme.spend(3, "requests")
    told = json.loads(run("usage", acme.file, "--key", "-", "--format", "json", typed="one").out)
    assert told["limits"][0]["used"] == 3
    unknown = run("usage", acme.file, "--key", "-", typed="five")
    assert (unknown.code, unknown.out) == (USAGE, "")
    assert "this caller is counted by its address, which is not known: add --identity ip=…" in unknown.err
    assert run("usage", acme.file, "--key", "-", "--identity", "ip=192.0.2.7", typed="five").code == FINE
    twice = run("usage", "-", "--key", "-", typed="one")
    assert (twice.code, "standard input is only there once" in twice.err) == (USAGE, True)


@pytest.mark.parametrize("command", ["usage", "reset", "watch"])
def test_stores_that_can_not_be_read(command: str, tmp_path: Path) -> None:
    """memory:// is exit 2, one out of reach exit 3; a sentence each. An argument too many is not repeated."""
    file = tmp_path / "ratelimit.toml"
    file.write_text(TEXT)
    more = ("--yes",) if command == "reset" else ()
    memory = run(command, str(file), *ACME, *more)
    assert (memory.code, memory.out, memory.err.count("\n")) == (USAGE, "", 1)
    assert "memory://" in memory.err
    away = run(command, str(file), *ACME, *more, "--store", NOWHERE)
    assert (away.code, away.out, away.err.count("\n")) == (STORE, "", 1)
    extra = run(command, str(file), "sk_live_secret", *ACME)
    assert extra.code == USAGE
    assert "sk_live" not in extra.err


def test_reset(acme: Caller) -> None:
    """What a caller has used is forgotten: of one limit, or of all; another's stays."""
    acme.spend(5, "requests", "monthly")
    one = run("reset", acme.file, *ACME, "--limit", "monthly", "--yes")
    assert one.out == "organization=acme: 1 of 1 counters had something in them, and are forgotten\n"
    assert acme.used()["requests"] == 5
    assert acme.used()["monthly"] == 0
    told = json.loads(run("reset", acme.file, *ACME, "-y", "--format", "json").out)
    assert (told["command"], told["forgotten"]) == ("reset", 1)
    assert acme.used()["requests"] == 0
    assert run("reset", acme.file, *ACME, "-y", "--format", "github").out.startswith("::notice file=")


def test_reset_of_what_is_not_there(acme: Caller) -> None:
    """A limit that this caller does not have is a mistake, and nothing is forgotten."""
    acme.spend(5, "monthly")
    ran = run("reset", acme.file, *ACME, "--limit", "montly", "--yes")
    assert (ran.code, ran.err) == (USAGE, 'ratelimit: this caller has no limit montly; did you mean "monthly"?\n')
    assert acme.used()["monthly"] == 5


def test_reset_asks_nobody(acme: Caller) -> None:
    """Where there is no terminal nothing is forgotten without --yes."""
    acme.spend(5, "monthly")
    ran = run("reset", acme.file, *ACME)
    assert (ran.code, ran.out) == (USAGE, "")
    assert "add --yes" in ran.err
    assert acme.used()["monthly"] == 5


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", FINE, 0), ("n\n", FINDINGS, 5)])
def test_reset_asks(acme: Caller, answer: str, code: int, left: int) -> None:
    """On a terminal it shows what there is, and asks."""
    acme.spend(5, "monthly")
    ran = run_in_terminal("reset", acme.file, *ACME, typed=answer)
    assert ran.code == code
    assert "Forget all this of organization=acme? [y/N]:" in ran.out
    assert "monthly" in ran.out
    assert ("nothing was forgotten" in ran.out) == bool(left)
    assert acme.used()["monthly"] == left


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    def answered(answer: bool) -> None:
        monkeypatch.setattr(caller.typer, "confirm", lambda text: answer)
        monkeypatch.setattr(caller, "_is_attended", lambda: True)

    return answered


@pytest.mark.parametrize(("answer", "code", "left"), [(True, FINE, 0), (False, FINDINGS, 5)])
def test_reset_asks_in_process(
    acme: Caller, asking: Callable[[bool], None], answer: bool, code: int, left: int
) -> None:
    """The same, where somebody is there."""
    acme.spend(5, "monthly")
    asking(answer)
    assert run("reset", acme.file, *ACME).code == code
    assert acme.used()["monthly"] == left


def test_watch_once(acme: Caller) -> None:
    """With --once it looks once, and ends."""
    acme.spend(2, "requests")
    assert "requests" in run("watch", acme.file, *ACME, "--once").out
    told = json.loads(run("watch", acme.file, *ACME, "--once", "--format", "json").out)
    assert (told["command"], told["limits"][0]["used"]) == ("watch", 2)


@pytest.mark.parametrize("every", ["0", "-1", "0.1", "4000", "nan", "inf"])
def test_watch_how_often(acme: Caller, every: str) -> None:
    """Not more often than five times a second."""
    ran = run("watch", acme.file, *ACME, "--every", every)
    assert (ran.code, ran.out) == (USAGE, "")
    assert "--every: is out of range; the shortest is 0.2 seconds, the longest 3600" in ran.err


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What happens at each pause of a watch, until Ctrl-C."""
    happening: list[Any] = []

    async def pause(seconds: float) -> None:
        if not happening:
            raise KeyboardInterrupt
        await happening.pop(0)()

    monkeypatch.setattr(caller, "pause", pause)
    return happening


def charging(acme: Caller, units: int) -> Callable[[], Any]:
    async def charge() -> None:
        store = RedisStore(acme.url, prefix=acme.prefix, timeout=5)
        await store.charge([one.charge for one in acme.limits if one.limit.name == "requests"], units)
        await store.close()

    return charge


def test_watch_in_a_pipe(acme: Caller, steps: list[Any]) -> None:
    """Into a pipe each look is told anew; Ctrl-C ends it, and is no error."""
    steps += [charging(acme, 3), charging(acme, 4)]
    ran = run("watch", acme.file, *ACME, "--format", "github")
    assert (ran.code, ran.err) == (FINE, "")
    assert [re.search(r"requests: (\d+)", line)[1] for line in ran.out.splitlines() if "requests" in line] == [  # type: ignore[index]
        "0",
        "3",
        "7",
    ]


def test_watch_of_a_store_that_goes(acme: Caller, steps: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe a store that goes away ends it, exit 3; on a terminal it is said, and looked at again."""
    usage_of, away = caller.usage_of, []

    async def reading(store: Any, charges: Any) -> Any:
        if away:
            raise StoreUnavailable("gone")
        return await usage_of(store, charges)

    async def go() -> None:
        away.append(1)

    async def come() -> None:
        away.clear()

    monkeypatch.setattr(caller, "usage_of", reading)
    steps += [go]
    assert run("watch", acme.file, *ACME).code == STORE
    away.clear()
    frames = []
    monkeypatch.setattr(caller, "_is_live", lambda: True)
    frame = caller.frame

    def seen(*given: Any) -> Any:
        frames.append(given[4] if len(given) > 4 else None)
        return frame(*given)

    monkeypatch.setattr(caller, "frame", seen)
    steps += [go, come, charging(acme, 2)]
    assert run("watch", acme.file, *ACME).code == FINE
    assert frames == [None, "the store can't be reached: gone", None, None]


def test_watch_in_a_terminal(acme: Caller) -> None:
    """A live view of 80 columns, which Ctrl-C ends: exit 0, and no traceback."""
    acme.spend(3, "requests")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "PYTHONPATH": str(Path(__file__).parents[2])}
    arguments = ["watch", acme.file, *ACME, "--every", "0.2"]
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    seen = b""
    while seen.count(b"hand") < 2:  # the second frame
        seen += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:
        pass
    os.close(ours)
    assert process.wait(30) == FINE
    assert b"Traceback" not in seen
    assert b"31/5 minutes" in seen


def test_bars() -> None:
    """A bar is full only where all is used, empty only where nothing is; ASCII where the terminal knows no other."""
    out = console()
    assert bar(0, 1000, out).plain.count("█") == 0
    assert bar(1, 1000, out).plain.count("█") == 1
    assert bar(999, 1000, out).plain.count("█") == BAR - 1
    assert bar(1000, 1000, out).plain.count("█") == BAR
    assert bar(2000, 1000, out).plain.count("█") == BAR
    assert bar(0, 0, out).plain.count("█") == BAR
    asked = Named(Identity(user="ana"), "basic", ())
    long = Limit("of a name that is long " * 3, Rate(60_000), lambda _: 10**15)
    verdict = Verdict(0, allowed=True, usage=(Usage(Charge(long, "key", 1, ()), 10**15, 5, 90_061_000),))
    with out.capture() as captured:
        out.print(frame(asked, (), verdict, out))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("█" + "░" * (BAR - 1) in line for line in lines) == sum("░" in line for line in lines) == 1
    out.file = io.TextIOWrapper(io.BytesIO(), "ascii")
    assert bar(500, 1000, out).plain == "##########.........."


def test_a_wait_is_told_whole() -> None:
    """However long the name and whatever is used: names and numbers make room for it, in lines of their cells."""
    asked, out = Named(Identity(user="ana"), "basic", ()), console()
    for length, used in product(range(1, 40), (5, 10**6, 10**15)):
        limit = Limit("n" * length, Rate(86_400_000), lambda _: 10**15)
        usage = (Usage(Charge(limit, "key", 1, ()), 10**15, used, 14 * 3_600_000 + 20 * 60_000, shadow=True),)
        with out.capture() as captured:
            out.print(frame(asked, (), Verdict(0, allowed=True, usage=usage), out))
        lines = captured.get().splitlines()
        assert max(map(len, lines)) <= 80
        assert sum(line.endswith(" 14 h 20 min") for line in lines) == 1
        assert sum(len(re.findall("[█░]", line)) for line in lines) == BAR


def test_what_a_store_is_opened_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person waits longer for a store than a request does; where the library is not there, it is said."""

    def no_redis(url: str, **options: Any) -> Any:
        assert (url, options) == (NOWHERE, {"prefix": "lendworks", "timeout": 2.0})
        raise ImportError("redis:// needs redis-py: pip install 'ratelimit-asgi[redis]'")

    monkeypatch.setattr(stores, "open_store", no_redis)
    ran = run("usage", policy("lendworks"), "--identity", "ip=192.0.2.7", "--store", NOWHERE)
    assert (ran.code, ran.err) == (USAGE, "ratelimit: redis:// needs redis-py: pip install 'ratelimit-asgi[redis]'\n")
