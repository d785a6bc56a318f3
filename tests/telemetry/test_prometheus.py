"""The metrics of Prometheus: of one process without a directory, of several with PROMETHEUS_MULTIPROC_DIR."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from ratelimit import MemoryStore, RateLimitMiddleware
from ratelimit.telemetry import prometheus
from ratelimit.telemetry.hook import Counts, Decided, Near
from ratelimit.telemetry.prometheus import BUCKETS, Prometheus, metrics_app
from tests.acceptance import ANA, T, ask, plain, policy, run, workers

ALL = Counts(
    decisions={Decided("request", "search", "basic", "ip", "denied"): 7},
    near={Near("basic", "ip", 0.95): 2},
    shadow_denials={("basic", "soon"): 3},
    without_store={"local": 4},
    store_seconds=(0.00002, 0.0001, 0.00011, 7.0),
    slots_reclaimed={"cap": 5},
    beyond_max={"dropped": 6},
    reloads={"refused": 1},
    stores_down=2,
)


def samples(registry: CollectorRegistry) -> dict[str, float]:
    """By name and labels, as they are written; but for when each was made."""
    found = {}
    for family in registry.collect():
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            if not sample.name.endswith("_created"):
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_every_count_is_a_metric() -> None:
    """By these names and labels, as docs/telemetry.md has them; what is told twice is added up."""
    registry = CollectorRegistry()
    ours = Prometheus(registry)
    for _ in range(2):
        ours.count(ALL)
    ours.count(Counts())
    found = samples(registry)
    buckets = [found.pop(f"ratelimit_store_seconds_bucket{{le={bound}}}") for bound in (*BUCKETS, "+Inf")]
    assert buckets == [2, 4, 6, *[6] * 11, 8]
    assert found.pop("ratelimit_store_seconds_sum") == pytest.approx(2 * sum(ALL.store_seconds))
    at_first = [name for name, value in found.items() if not value]  # a count that begins at 1 would be no increase
    assert len(at_first) == 6
    assert {name: value for name, value in found.items() if value} == {
        "ratelimit_decisions_total{kind=request,operation=search,tier=basic,limit=ip,outcome=denied}": 14,
        "ratelimit_near_limit_total{tier=basic,limit=ip,threshold=0.95}": 4,
        "ratelimit_shadow_denials_total{tier=basic,limit=soon}": 6,
        "ratelimit_without_store_total{verdict=local}": 8,
        "ratelimit_slots_reclaimed_total{limit=cap}": 10,
        "ratelimit_callers_beyond_max_total{what=dropped}": 12,
        "ratelimit_reloads_total{outcome=refused}": 2,
        "ratelimit_stores_down": 4,
        "ratelimit_store_seconds_count": 8,
    }


def test_observed_as_prometheus_does() -> None:
    """A batch of times comes to what `observe` of each does."""
    registry, seconds = CollectorRegistry(), [bound * part for bound in BUCKETS for part in (0.999, 1.0, 1.001)]
    Prometheus(registry).count(Counts(store_seconds=seconds))
    other = Prometheus(theirs := CollectorRegistry())
    for one in seconds:
        other._seconds.observe(one)
    ours, expected = samples(registry), samples(theirs)
    assert ours.pop("ratelimit_store_seconds_sum") == pytest.approx(expected.pop("ratelimit_store_seconds_sum"))
    assert ours == expected


def test_twice_in_a_registry() -> None:
    """It is an error of prometheus-client's own, and names the metric; under another namespace it is none."""
    registry = CollectorRegistry()
    Prometheus(registry)
    with pytest.raises(ValueError, match="ratelimit_decisions"):
        Prometheus(registry)
    Prometheus(registry, namespace="inner").count(ALL)
    assert samples(registry)["inner_stores_down"] == 2


def test_no_caller_is_a_label() -> None:
    """However many ask, under whatever keys and paths, the metrics are those that the policy has names for."""
    registry = CollectorRegistry()

    async def test() -> None:
        limiter = RateLimitMiddleware(plain, policy(), store=MemoryStore(lambda: T), telemetry=Prometheus(registry))
        for number in range(200):
            await ask(limiter, f"/items/{number}", api_key=ANA if number % 2 else f"sk_live_{number}")
        await limiter._close()

    run(test())
    decisions = [name for name in samples(registry) if name.startswith("ratelimit_decisions")]
    assert len(decisions) == 4
    assert not re.search(r"ana|192\.0\.2|sk_live", "".join(samples(registry)))


def test_one_process_needs_no_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is scraped is the registry's own."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    registry = CollectorRegistry()
    Prometheus(registry).count(ALL)
    assert "ratelimit_stores_down 2.0" in TestClient(metrics_app(registry)).get("/").text


def scraped(text: str) -> dict[tuple[str, ...], float]:
    """The decisions, by operation and outcome."""
    return {
        (sample.labels["operation"], sample.labels["outcome"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "ratelimit_decisions_total" and sample.labels["outcome"] != "exempt"
    }


def test_two_processes(tmp_path: Path) -> None:
    """A scrape of either is the sum of both; what neither had told yet is there when they have been shut down."""
    directory = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with workers(2, "tests.telemetry.worker:app", directory) as urls, httpx2.Client() as client:
        for url in urls:
            assert [client.get(f"{url}/things").status_code for _ in range(23)] == [200] * 20 + [429] * 3
        whole = {("detail_read", "allowed"): 40.0, ("detail_read", "denied"): 6.0}
        deadline = time.monotonic() + 10
        while (both := [scraped(client.get(f"{url}/metrics/").text) for url in urls]) != [whole, whole]:
            assert time.monotonic() < deadline, both
            time.sleep(0.05)
        for url in urls:  # these wait for their second to be over
            assert client.get(f"{url}/things").status_code == 429
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(tmp_path))
    found: Any = samples(registry)
    of = "kind=request,limit=ip,operation=detail_read,outcome=denied,tier=anonymous"
    assert found[f"ratelimit_decisions_total{{{of}}}"] == 8


def test_a_process_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that were away in its eyes are not for ever: a scrape looks who is there. What it had counted stays."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.MultiProcessValue())
    program = """if True:
        import os, signal, sys
        from ratelimit.telemetry.hook import Counts
        from ratelimit.telemetry.prometheus import Prometheus
        Prometheus().count(Counts(without_store={"local": 4}, stores_down=1))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.glob("gauge_livesum_*.db")
    (tmp_path / f"gauge_livesum_{os.getpid()}.db").write_bytes(left.read_bytes())  # of one that is there
    (tmp_path / "gauge_livesum_worker1.db").write_bytes(left.read_bytes())  # of a name that is no number of a process
    text = TestClient(metrics_app()).get("/").text
    assert "ratelimit_stores_down 2.0" in text
    assert 'ratelimit_without_store_total{verdict="local"} 4.0' in text


def test_a_directory_that_is_set_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error that says so: a scrape would find nothing at all."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with pytest.raises(RuntimeError, match="set it before Python starts"):
        metrics_app()


@pytest.mark.parametrize("name", ["posix", "nt"])
def test_a_process_of_another_user(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there. On Windows nobody asks: that would be a signal."""

    def kill(process: int, how: int) -> None:
        asked.append(process)
        raise PermissionError

    asked: list[int] = []
    monkeypatch.setattr(prometheus.os, "kill", kill)
    monkeypatch.setattr(prometheus.os, "name", name)
    assert not prometheus._is_gone("1")
    assert asked == ([1] if name == "posix" else [])
