"""docker-compose.yml: two instances that share one Redis, which forgets nothing and is not open to the network."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import yaml

from tests.packaging import ROOT

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
APPS = sorted(name for name, service in SERVICES.items() if "build" in service)


def test_two_instances_share_their_limits() -> None:
    """Both instances are the same app on the same Redis, and only their ports differ."""
    first, second = (dict(SERVICES[name]) for name in APPS)
    assert first.pop("ports") != second.pop("ports")
    assert first == second
    assert first["environment"] == {"RATELIMIT_STORE_URL": "redis://redis:6379/0"}
    assert first["depends_on"] == {"redis": {"condition": "service_healthy"}}


def test_redis_forgets_nothing() -> None:
    """Redis writes what it counts into a volume, and evicts none of it."""
    command = " ".join(shlex.split(SERVICES["redis"]["command"]))
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "redis-data:/data" in SERVICES["redis"]["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service(name: str) -> None:
    """Each service has a health check, and its ports are on loopback only."""
    assert SERVICES[name]["healthcheck"]["test"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])


def test_health_is_exempt() -> None:
    """What the health check asks for is exempt from the limits: an instance that is asked often stays healthy."""
    assert "http://127.0.0.1:8000/health" in SERVICES[APPS[0]]["healthcheck"]["test"][-1]
    assert '"GET /health"' in (ROOT / "examples" / "lendworks" / "ratelimit.toml").read_text()
