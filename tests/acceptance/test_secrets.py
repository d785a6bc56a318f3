"""No password of the store, no URL with one and no API key is in what reporters of errors show: the locals of a
traceback's frames, the texts of errors, and the reprs of objects. The caller's own frames are its own."""

from __future__ import annotations

import asyncio
import logging
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from ratelimit import RateLimitMiddleware, RedisStore, load_policy, parse_policy
from ratelimit.config.grammar.valid import read_valid
from ratelimit.model import StoreUnavailable
from ratelimit.stores import SCHEMES, open_store
from ratelimit.stores.redis import ClusterStore
from tests import servers
from tests.acceptance import plain, policy
from tests.secrets_shown import in_frames, in_reprs
from tests.stores import rate

SECRET = "sesame8421"
ANYBODY = '[tiers.anonymous]\nlimits = [ { name = "ip", rate = "60/minute" } ]\n'


def mounted(url: str) -> object:
    return RateLimitMiddleware(plain, policy(), store=url)


def of_the_policy(url: str) -> object:
    """As a policy has it that was checked elsewhere."""
    made = policy(more='[store]\nurl = "redis://h"')
    object.__setattr__(made.store, "url", url)
    return RateLimitMiddleware(plain, made)


def of_the_environment(url: str) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATELIMIT_STORE_URL", url)
        return RateLimitMiddleware(plain, policy())


def in_a_file(url: str) -> object:
    return parse_policy(f'{ANYBODY}[store]\nurl = "{url}"')


DOORS: list[Callable[[str], object]] = [open_store, RedisStore, ClusterStore, mounted]
DOORS += [of_the_policy, of_the_environment, in_a_file]
URLS = [
    f":12#{SECRET}@h:6379/m/0",
    f":12/{SECRET}@h/m",
    f"ana:{SECRET}@h:x/m",
    f":{SECRET}@[::1/m",
    f":{SECRET}@h:99999/m",
    f"h/m?password={SECRET}&no_such_option=1",
    f"h/m?sentinel_password={SECRET}&no_such_option=1",
    f":{SECRET}@h/m?socket_timeout=x",
    f":{SECRET}@h/m?ssl_cert_reqs=x",
    f":{SECRET}@h/m?ssl_min_version=x",
    f":{SECRET}@h/m?protocol=9",
    f":{SECRET}@h,/m",
    f":{SECRET}@h/m/x",
]


@pytest.mark.parametrize("scheme", [*SCHEMES[1:], "no-such", f"redis://:{SECRET}@h"])
@pytest.mark.parametrize("door", DOORS)
def test_urls(door: Callable[[str], object], scheme: str) -> None:
    """Of a URL that is refused, by whatever door it comes in."""
    errors = [raised for rest in URLS if (raised := _raised(door, f"{scheme}://{rest}"))]
    assert errors
    assert [shown for error in errors for shown in in_frames(error, SECRET)] == []


def _raised(door: Callable[[str], object], url: str) -> Exception | None:
    try:
        door(url)
    except (ValueError, ImportError) as error:
        return error
    return None


def test_a_url_without_a_scheme() -> None:
    """What stands before "://" is told only where it could be a scheme."""
    for url in (f":{SECRET}@h", f"redis:{SECRET}@h", f"redis:{SECRET}@h://", f"{SECRET}"):
        for door in DOORS:
            with pytest.raises(ValueError, match="URL") as raised:
                door(url)
            assert in_frames(raised.value, SECRET) == []


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a password in the environment, where the URL is refused."""
    for name in ("USERNAME", "PASSWORD", "SENTINEL_PASSWORD"):
        monkeypatch.setenv(f"RATELIMIT_STORE_{name}", SECRET)
    for door in (open_store, mounted):
        for scheme in SCHEMES[1:]:
            with pytest.raises(ValueError, match="URL") as raised:
                door(f"{scheme}://h/m?no_such_option=1")
            assert in_frames(raised.value, SECRET) == []


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a URL whose client library is not there."""
    monkeypatch.setitem(sys.modules, "ratelimit.stores.redis", None)
    for door in (open_store, mounted):
        with pytest.raises(ImportError, match="pip install") as raised:
            door(f"redis://:{SECRET}@h")
        assert in_frames(raised.value, SECRET) == []


FILES = [
    f'[store]\nurl = "redis://:{SECRET}@h"\ntimeout = "forever"\n{ANYBODY}',
    f'[store]\nurl = "redis://:{SECRET}@h:x"\n{ANYBODY}',
    f'[store]\nurl = "redis://:{SECRET}@h\n{ANYBODY}',
    f'{ANYBODY}[[keys]]\nsha256 = "sk_live_{SECRET}"\ntier = "anonymous"\n',
    f'{ANYBODY}[[keys]]\napi_key = "sk_live_{SECRET}"\ntier = "anonymous"\n',
    f'{ANYBODY}[keys]\nsk_live_{SECRET} = "anonymous"\n',
    f"{ANYBODY}[keys.sk_live_{SECRET}]\n[keys.sk_live_{SECRET}]\n",
    f'{ANYBODY}[[overrides]]\napi_key = "sk_live_{SECRET}"\nlimits = {{ ip = "1/minute" }}\n',
    f"{ANYBODY}x = {'[' * 9_000}# {SECRET}",
    f"# {SECRET}\n{ANYBODY}[tiers.basic]\nlimits = 3\n",
]


@pytest.mark.parametrize("text", FILES, ids=range(len(FILES)))
def test_policies(text: str, tmp_path: Path) -> None:
    """Of a policy that is refused, with a password in it or with an API key where none belongs."""
    file = tmp_path / "policy.toml"
    file.write_text(text)
    for door in (lambda: parse_policy(text), lambda: load_policy(file), lambda: RateLimitMiddleware(plain, file)):
        with pytest.raises(ValueError, match=r"policy") as raised:
            door()
        assert in_frames(raised.value, SECRET) == []


def test_the_callers_own_frames_are_left_alone() -> None:
    """An error that the caller was already busy with, and what is behind ours, keep what they are."""

    def busy() -> None:
        theirs = "kept"
        raise LookupError(theirs)

    with pytest.raises(LookupError) as theirs:
        busy()
    try:
        raise theirs.value
    except LookupError:
        with pytest.raises(ValueError, match="scheme") as raised:
            open_store("nothing")
    assert raised.value.__context__ is theirs.value
    assert in_frames(raised.value, "kept") == ["kept"]  # what theirs says, and no frame of ours
    assert theirs.traceback[-1].frame.f_locals == {"theirs": "kept"}
    names = [frame.name for frame in raised.traceback]
    assert names[-1] == "open_store"  # where it was raised can still be seen


def refused(url: str) -> BaseException:
    """What a request to a store that can't be reached is told."""

    async def test() -> BaseException:
        asyncio.get_running_loop().set_debug(True)  # it tells more
        store = open_store(url, timeout=5)
        try:
            with pytest.raises(StoreUnavailable) as raised:
                await store.acquire((rate(9, 60_000),))
            count, shown = in_reprs(store, SECRET)
            assert count > 5
            assert shown == []
            return raised.value
        finally:
            await store.close()

    return asyncio.run(test())


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"redis://:{SECRET}@127.0.0.1:PORT", "WRONGPASS"),
        (f"redis://:{SECRET}@127.0.0.1:PORT?protocol=2", "WRONGPASS"),
        (f"redis://127.0.0.1:PORT?username=ana&password={SECRET}", "WRONGPASS"),
        (f"unix://ana:{SECRET}@SOCKET", "invalid username-password pair"),
        (f"redis://127.0.0.1:PORT?client_name={SECRET}", "NOAUTH"),
        (f"redis+cluster://:{SECRET}@127.0.0.1:PORT", "WRONGPASS"),
        (f"redis+sentinel://:{SECRET}@127.0.0.1:PORT/m?sentinel_password={SECRET}", "WRONGPASS"),
        (f"rediss://:{SECRET}@127.0.0.1:PORT?ssl_ca_certs=/no/such/file", "No such file"),
        (f"rediss://:{SECRET}@127.0.0.1:PORT?ssl_ca_certs=/dev/null", "no TLS with the files"),
        (f"rediss://127.0.0.1:PORT?ssl_certfile=/dev/null&ssl_keyfile=/dev/null&ssl_password={SECRET}", "no TLS"),
        (f"redis://:{SECRET}@127.0.0.1:1", "connecting to"),
        (f"redis://:{SECRET}@no.such.host.invalid:1", "connecting to"),
    ],
)
def test_a_login(url: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of a server that lets nobody in, or that can't be reached, in a traceback, in the log, and in what is there."""
    caplog.set_level(logging.DEBUG)
    with servers.run("valkey") as server:
        with server.client() as client:
            client.config_set("requirepass", "another")
        error = refused(url.replace("PORT", str(server.port)).replace("SOCKET", str(server.socket)))
    assert message in str(error)
    assert in_frames(error, SECRET) == []
    assert SECRET not in caplog.text
    assert [record for record in caplog.records if record.exc_info and record.name == "ratelimit"] == []


@pytest.mark.parametrize(
    "url",
    [
        f"redis://ana:{SECRET}@h",
        f"unix://ana:{SECRET}@/run/s",
        f"redis+cluster://:{SECRET}@h",
        f"redis+sentinel://ana:{SECRET}@h/m?sentinel_password={SECRET}",
    ],
)
def test_reprs(url: str) -> None:
    """Of everything that a middleware is made of, and of what a policy file was read as."""
    text = f'{ANYBODY}[store]\nurl = "{url}"\non_failure = "local"\n'
    for made in (RateLimitMiddleware(plain, parse_policy(text)), read_valid(tomllib.loads(text))):
        count, shown = in_reprs(made, SECRET)
        assert count > 3
        assert shown == []
