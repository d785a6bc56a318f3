"""Servers that tests share, started once: each test has a prefix of its own. One that a test stops is its own."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import httpcore2
import pytest
from coverage import Coverage
from hypothesis import HealthCheck, is_hypothesis_test, settings

import ratelimit
from ratelimit.stores.routing import router
from tests import certificates, clusters, sentinels, servers

# What takes longest, in tens of seconds, is begun first: at the end no process waits for another.
LONG = (
    "cancellation/",
    "acceptance/test_processes_that_end.py",
    "stores/",
    "examples/",
    "acceptance/test_hostile.py",
    "fuzz/",
)

if "PYTEST_XDIST_WORKER" in os.environ:  # it puts all of sys.path there, and with it what only tests import
    os.environ.pop("PYTHONPATH", None)
    if given := os.environ.pop("RATELIMIT_TEST_PYTHONPATH", ""):
        os.environ["PYTHONPATH"] = given
else:
    os.environ["RATELIMIT_TEST_PYTHONPATH"] = os.environ.get("PYTHONPATH", "")


def pytest_configure(config: pytest.Config) -> None:
    """A machine that has much to do fails no test, and what is random is the same each time: who looks for more gives
    a --hypothesis-seed, as `make fuzz` does. Ctrl-C ends what tests start, also where these run in the background of a
    shell, which has it ignored there."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    same = config.getoption("--hypothesis-seed", None) is None
    settings.register_profile("same", deadline=None, derandomize=same, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((n for n, name in enumerate(LONG) if item.nodeid.startswith(f"tests/{name}")), len(LONG))

    items.sort(key=place)  # files stay together, and tests of a file in their order
    for item in items:
        if is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("repeated")


@contextmanager
def unwatched() -> Iterator[None]:
    coverage = Coverage.current()
    if coverage:
        coverage.stop()
    try:
        yield
    finally:
        if coverage:
            coverage.start()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """To import 300 files of tests takes twice as long where it is watched, 15 s in each process. What they test is
    imported first."""
    for module in walk_packages(ratelimit.__path__, "ratelimit."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    with unwatched():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[object]:
    """Coverage does not depend on dice, and tracing takes 40 % of the time: what is `repeated`, as all that hypothesis
    makes up, runs without it."""
    with unwatched() if item.get_closest_marker("repeated") else nullcontext():
        return (yield)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Of a set, in order: both processes have to find the same tests."""
    return str(sorted(map(str, val))) if isinstance(val, set | frozenset) else None


def pytest_collection_finish() -> None:
    """What is there before the first test stays: a collection of what a test has left takes 1 ms instead of 90."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def what_is_left_stays() -> Iterator[None]:
    """So does what a file of tests has left: else each collection would look at it, in every file that comes."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def certificates_are_read_once() -> Iterator[None]:
    """A client of HTTP reads those of the machine when it is made: 100 ms, for connections without TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def clocks_that_stand() -> Iterator[None]:
    """A store's clock that a test has stopped is left behind by ours while it asks: in truth both go on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(router, "CLOCKS", 100)
        yield


def _started(run: Callable[[str], AbstractContextManager[Any]], name: str) -> Any:
    """A fixture that is stopped when the last test has ended."""

    @pytest.fixture(scope="session")
    def started() -> Iterator[Any]:
        with run(name) as one:
            yield one

    return started


valkey, redis = (_started(servers.run, name) for name in ("valkey", "redis"))
valkey_cluster, redis_cluster = (_started(clusters.run_cluster, name) for name in ("valkey", "redis"))
valkey_sentinels, redis_sentinels = (_started(sentinels.run_sentinel, name) for name in ("valkey", "redis"))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificate:
    return certificates.make(tmp_path_factory.mktemp("tls"))
