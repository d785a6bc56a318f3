"""An edited policy is in force whole or not at all, and the log says which."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from fastapi import Depends, FastAPI

from ratelimit import RateLimitMiddleware, parse_policy
from ratelimit.fastapi import limit
from ratelimit.model import Admitting, Decision
from ratelimit.reload.file import digest_of
from ratelimit.reload.telling import policies_in_force, reloads
from ratelimit.reload.watch import _watches
from ratelimit.stores.memory import MemoryStore
from tests.acceptance import T, plain, run
from tests.reload import called, edited, limit_of, limited, messages, rate, stepped, text, watch_of, written
from tests.reload.conftest import ByHand
from tests.secrets_shown import in_frames

MILD = '[reload]\nrefuse_above = "100%"\n'


def test_in_force(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """From the second look on requests are decided by the edited policy, on the same counters."""
    limiter = limited(written(path, rate(100)))

    async def test() -> None:
        start = await called(limiter, times=30)
        assert (limit_of(start), dict(start["headers"])[b"x-ratelimit-remaining"]) == ("100", b"70")
        stepped(limiter)
        written(path, rate(90))
        stepped(limiter, 1)
        assert limit_of(await called(limiter)) == "100"
        stepped(limiter, 1)
        start = await called(limiter)
        assert (limit_of(start), dict(start["headers"])[b"x-ratelimit-remaining"]) == ("90", b"58")
        watch_of(limiter)._looks.again()  # what is read once more is no edit
        stepped(limiter)

    run(test())
    digest = digest_of(path.read_bytes())
    assert reloads() == {"taken": 1, "refused": 0, "invalid": 0}
    assert policies_in_force() == {str(path): digest}
    assert messages(caplog.records) == [
        f"{path} was edited, and is in force (sha256 {digest[:12]}); it newly denies 0 of the 1 callers of the last 5"
        " minutes (0 %)"
    ]


def test_ten_for_a_thousand(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is refused once, with whom it would deny, and stays refused; one edit forces it."""
    limiter = limited(written(path, rate(1000)))

    async def test() -> None:
        for number in range(8):
            await called(limiter, number, times=5 * number + 1)
            stepped(limiter, 1)
        written(path, rate(10))
        stepped(limiter, 12)
        assert limit_of(await called(limiter)) == "1000"
        (said,) = messages(caplog.records)
        assert "it would newly deny 6 of the 8 callers of the last 5 minutes (75 %), refuse_above is 1 %" in said
        assert "most of them by limit requests, as organization=o7, which needs 36 of a max of 10" in said
        assert f"ratelimit reload --accept {path}" in said
        assert caplog.records[0].levelno == logging.CRITICAL
        written(path, rate(10, MILD))
        stepped(limiter)
        assert limit_of(await called(limiter)) == "10"

    run(test())
    assert reloads() == {"taken": 1, "refused": 1, "invalid": 0}


@pytest.mark.parametrize(
    ("number", "percent", "taken"), [(950, 1, True), (1050, 1, True), (30, 25, True), (30, 24, False)]
)
def test_the_new_file_says_how_much(path: Path, number: int, percent: int, taken: bool) -> None:
    """A change that nobody notices is taken, and one that a quarter would notice if the file itself says so."""
    limiter = limited(written(path, rate(1000)))

    async def test() -> None:
        for caller in range(8):
            await called(limiter, caller, times=5 * caller + 1)
            stepped(limiter, 1)
        written(path, rate(number, f'[reload]\nrefuse_above = "{percent}%"\n'))
        stepped(limiter)
        assert limit_of(await called(limiter)) == (str(number) if taken else "1000")

    run(test())


def test_back_again(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A refused file that is put back as it was is done with; the same content, edited in again, is told again."""
    limiter = limited(written(path, rate(1000)))

    async def test() -> None:
        await called(limiter, times=50)
        for number in (10, 10, 1000, 10):
            written(path, rate(number))
            stepped(limiter)
        another = limited(path)  # which begins with it, and has it read once more
        stepped(limiter)
        assert [limit_of(await called(one)) for one in (limiter, another)] == ["1000", "10"]

    run(test())
    first, second, third = messages(caplog.records)
    assert "is REFUSED" in first
    assert second == f"{path} is again what is in force"
    assert "is REFUSED" in third
    assert reloads()["refused"] == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\xff\x00", b"tiers", rate(100)[:60].encode(), text('{ name = "a" }').encode(), b"a = [" * 9_999],
)
def test_what_can_t_be_used(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The last good policy stays, and each problem is told once for each content that is edited in."""
    limiter = limited(written(path, rate(100)))

    async def test() -> None:
        for bad in (content, content, b"other", content):
            written(path, bad)
            stepped(limiter, 8)
        assert limit_of(await called(limiter)) == "100"
        written(path, rate(99))
        stepped(limiter)
        assert limit_of(await called(limiter)) == "99"

    run(test())
    assert [message.partition(" (")[0] for message in messages(caplog.records, "CRITICAL")] == [
        f"{path} was edited, and can't be used"
    ] * 3
    assert reloads() == {"taken": 1, "refused": 0, "invalid": 3}


def test_it_vanishes(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The policy that was read last stays, which is told once, and when it is back."""
    limiter = limited(written(path, rate(100)))

    async def test() -> None:
        stepped(limiter)
        path.unlink()  # noqa: ASYNC240
        stepped(limiter, 9)
        assert limit_of(await called(limiter)) == "100"
        written(path, rate(99))
        stepped(limiter)
        assert limit_of(await called(limiter)) == "99"

    run(test())
    gone, back, _ = messages(caplog.records, "WARNING")
    assert gone == f"{path} is gone, or can't be read: the policy that was read last stays in force"
    assert back == f"{path} can be read again"


def test_the_store_waits(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is edited of the store is used after a restart, and a password in it is not told."""
    limiter = limited(written(path, rate(100)))
    store = limiter.store
    more = '[store]\nurl = "redis://me:s3cret@127.0.0.1:1/0"\ntimeout = "50ms"\n'
    written(path, rate(99, more))
    stepped(limiter)
    renewed = limiter._renewed
    assert renewed is not None
    assert renewed.store is store
    assert renewed.policy.store == limiter.policy.store
    assert (
        messages(caplog.records)[-1]
        == f"{path}: what was edited of store.url and store.timeout is used after a restart"
    )
    assert "s3cret" not in caplog.text


def test_the_record_waits(path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is edited of [record] is used after a restart."""
    limiter = limited(written(path, rate(100)))
    written(path, rate(99, f'[record]\nfile = "{tmp_path / "calls.jsonl"}"\n'))
    stepped(limiter)
    renewed = limiter._renewed
    assert renewed is not None
    assert renewed._recording is None
    assert messages(caplog.records)[-1] == f"{path}: what was edited of record is used after a restart"


def test_watch_is_off(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By the keyword, by the file, by an edit of the file; and a Policy is no file."""
    written(path, rate(100))
    off = written(path.with_name("off.toml"), rate(100, "[reload]\nwatch = false\n"))
    for limiter in (
        limited(path, watch=False),
        limited(off),
        RateLimitMiddleware(plain, parse_policy(rate(1), "text")),
    ):
        assert limiter._follower is None
        assert limiter._noted is None
    limiter = limited(path)

    async def test() -> None:
        await called(limiter)
        assert watch_of(limiter).wanted()
        written(path, rate(99, "[reload]\nwatch = false\n"))
        stepped(limiter)
        assert limit_of(await called(limiter)) == "99"
        assert not watch_of(limiter).wanted()

    run(test())
    assert (
        messages(caplog.records)[-1] == f"{path} has watch = false: from now on what is edited is used after a restart"
    )


class Plain:
    """A store without any verb but the four that a middleware needs."""

    async def acquire(self, charges: object) -> Decision:
        return Decision(True, T)

    async def renew(self, leases: object) -> list[object]:
        return []

    async def release(self, leases: object) -> None: ...

    async def close(self) -> None: ...


def test_a_store_that_can_t(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What the store can't count is refused, as it would be at a start."""
    plain_store: Admitting = Plain()  # type: ignore[assignment]
    limiter = limited(written(path, rate(100)), store=plain_store)
    written(path, text('{ name = "requests", rate = "100/minute", hold = true }'))
    stepped(limiter)
    assert not edited(limiter)
    another = limited(path)  # which has it read once more, and can
    stepped(limiter)
    assert not edited(another)
    (said,) = messages(caplog.records)
    assert "a Plain holds no units" in said


def test_limits_of_endpoints(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A limit that an endpoint declares is refused in a file, as it would be at a start."""

    app = FastAPI()

    @app.get("/rows", dependencies=[Depends(limit("5/minute", name="rows"))])
    async def rows() -> None: ...

    limiter = limited(written(path, rate(100)), app)

    async def test() -> None:
        await called(limiter, path="/rows")
        written(path, text('{ name = "rows", rate = "100/minute" }'))
        stepped(limiter)
        assert not edited(limiter)
        assert 'limit "rows" of GET /rows' in messages(caplog.records)[0]
        written(path, rate(99))
        stepped(limiter)
        assert (await called(limiter, path="/rows", times=5))["status"] == 429

    run(test())


def test_an_edit_before_it_is_watched(path: Path) -> None:
    """What was edited between the start and the first look is seen by it."""
    limiter = limited(written(path, rate(100)))
    written(path, rate(99))
    stepped(limiter, 2)

    async def test() -> None:
        assert limit_of(await called(limiter)) == "99"

    run(test())


def test_one_file_for_several(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They share one watch, also where one was made after an edit; and each goes on with its own counters."""
    one = limited(written(path, rate(100)))
    written(path, rate(99))
    two = limited(path)
    assert watch_of(one) is watch_of(two)
    stepped(one, 2)

    async def test() -> None:
        for limiter in (one, two):
            start = await called(limiter)
            assert (limit_of(start), dict(start["headers"])[b"x-ratelimit-remaining"]) == ("99", b"98")
        written(path, rate(98))
        stepped(two, 2)
        assert [limit_of(await called(limiter)) for limiter in (one, two)] == ["98", "98"]
        assert edited(one)
        assert edited(two)
        assert one.policy is not two.policy
        three = limited(path)
        stepped(two, 3)
        assert not edited(three)

    run(test())
    assert reloads()["taken"] == 2


def test_what_nobody_has_is_not_watched(path: Path) -> None:
    """A middleware that is gone takes its watch with it, before or after an edit was read for it."""
    limiter = limited(written(path, rate(100)))
    watch, follower = watch_of(limiter), limiter._follower
    assert follower
    del limiter
    assert not watch.wanted()
    assert follower.prepared(parse_policy(rate(1), "text")) is None
    follower.put(None, "")
    follower.tick()
    assert follower.limiter is None
    written(path, rate(99))
    for _ in range(3):
        watch.step()
    assert reloads()["taken"] == 0
    del watch, follower
    assert str(path) not in _watches


def test_what_goes_wrong_here(path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours is logged once, and costs neither a request nor the next edit."""
    limiter = limited(written(path, rate(100)))
    written(path, rate(99))
    with monkeypatch.context() as patch:
        patch.setattr(RateLimitMiddleware, "_under", lambda *_: 1 / 0)
        stepped(limiter, 9)
        patch.setattr(watch_of(limiter)._looks, "next", lambda: 1 / 0)
        stepped(limiter, 9)
    assert messages(caplog.records) == [f"{path} can't be reloaded: the policy before stays in force"]
    written(path, rate(98))
    stepped(limiter)
    assert edited(limiter)


def test_a_password_in_an_error(path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reports errors with the locals of their frames sees nothing of what was read."""
    limiter = limited(written(path, rate(100)))
    monkeypatch.setattr(RateLimitMiddleware, "_under", lambda *_: 1 / 0)
    written(path, rate(99, '[store]\nurl = "redis://me:s3cret@127.0.0.1:1/0"\n'))
    stepped(limiter)
    (record,) = caplog.records
    assert record.exc_info
    assert isinstance(record.exc_info[1], ZeroDivisionError)
    assert in_frames(record.exc_info[1], "s3cret") == []


def test_relative_paths(path: Path, monkeypatch: pytest.MonkeyPatch, by_hand: ByHand) -> None:
    """A path is of the folder in which the process was, wherever it goes; and of a file, by what it leads to later."""
    monkeypatch.chdir(written(path, rate(100)).parent)
    limiter = limited(Path("ratelimit.toml"))
    monkeypatch.chdir("/")
    assert watch_of(limiter).path == str(path)
    assert by_hand.added == []


@pytest.mark.parametrize("mode", ["off", "shadow"])
def test_mode_of_the_environment(path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody is denied, any valid edit is taken; and nobody is denied by it."""
    monkeypatch.setenv("RATELIMIT_MODE", mode)
    limiter = limited(written(path, rate(100)))

    async def test() -> None:
        await called(limiter, times=50)
        written(path, rate(1))
        stepped(limiter)
        assert edited(limiter)
        assert (await called(limiter, times=50))["status"] == 200

    run(test())


def test_memory_that_it_opened(path: Path) -> None:
    """Counts in a memory of its own go on, and so do the lines of a caller in the log."""
    limiter = RateLimitMiddleware(plain, written(path, rate(3)))
    assert isinstance(limiter.store, MemoryStore)

    async def test() -> None:
        await called(limiter, times=3)
        written(path, rate(4))
        stepped(limiter)
        assert (await called(limiter))["status"] == 200
        assert (await called(limiter))["status"] == 429

    run(test())
    assert limiter._renewed
    assert limiter._renewed.store is limiter.store
