"""The dashboard and the alert rules ask for metrics that are really exported, by labels that they really have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest
import yaml
from prometheus_client import CollectorRegistry

from ratelimit.reload.telling import Outcome as Reloaded
from ratelimit.telemetry.hook import THRESHOLDS, Kind, Outcome
from ratelimit.telemetry.prometheus import Prometheus
from tests import servers
from tests.acceptance import workers
from tests.packaging import ROOT
from tests.telemetry.test_prometheus import ALL

HERE = ROOT / "examples" / "observability"
BOARD: Any = json.loads((HERE / "grafana/dashboards/ratelimit.json").read_text())
RULES: list[dict[str, Any]] = yaml.safe_load((HERE / "alerts.yml").read_text())["groups"][0]["rules"]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

PANELS = {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in BOARD["panels"]}
EXPRESSIONS = [expr for exprs in PANELS.values() for expr in exprs] + [rule["expr"] for rule in RULES]

METRIC = re.compile(r"\b(ratelimit_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r'(\w+)\s*[!=]~?\s*"([^"]*)"')
GROUPED = re.compile(r"\bby \(([^)]*)\)")


def exported() -> dict[str, set[str]]:
    """The labels of each metric, as they are scraped; `instance` is given by Prometheus."""
    registry = CollectorRegistry()
    Prometheus(registry).count(ALL)
    labels: dict[str, set[str]] = {}
    for family in registry.collect():
        for sample in family.samples:
            labels.setdefault(sample.name, {"instance"}).update(sample.labels)
    return labels


def test_every_metric_and_label_is_exported() -> None:
    """Of each expression; and there is none of ours that nobody looks at."""
    known, asked = exported(), set()
    for expr in EXPRESSIONS:
        names = [found[0] for found in METRIC.findall(expr)]
        assert names, expr
        assert set(names) <= set(known), expr
        asked |= set(names)
        for name, matchers in METRIC.findall(expr):
            assert {label for label, _ in LABEL.findall(matchers)} <= known[name], expr
        for grouped in GROUPED.findall(expr):
            assert {label.strip() for label in grouped.split(",")} <= set.union(*[known[name] for name in names]), expr
    mine = {name for name in known if not name.endswith(("_created", "_sum", "_count"))}
    assert mine == asked


def test_every_value_is_one_that_there_is() -> None:
    """An alert for an outcome that nothing has would never ring."""
    values = {
        "kind": {*get_args(Kind)},
        "outcome": {*get_args(Outcome), *get_args(Reloaded)},
        "verdict": {"allowed", "refused", "local"},
        "threshold": {str(threshold) for threshold in THRESHOLDS},
        "what": {"dropped", "shared", "above"},
    }
    for expr in EXPRESSIONS:
        for _, matchers in METRIC.findall(expr):
            for label, value in LABEL.findall(matchers):
                assert set(value.split("|")) - {""} <= values.get(label, set()), expr


def test_legends_and_texts_name_labels_that_are_kept() -> None:
    """What an expression has grouped away is no longer there to be shown."""
    shown = [(target["expr"], target["legendFormat"]) for panel in BOARD["panels"] for target in panel["targets"]]
    shown += [(rule["expr"], " ".join(rule["annotations"].values())) for rule in RULES]
    for expr, text in shown:
        kept = {label.strip() for grouped in GROUPED.findall(expr) for label in grouped.split(",")}
        assert set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", text)) <= kept, text


def promtool(*arguments: str) -> str:
    program = shutil.which("promtool") or servers.missing("no promtool on the PATH (Debian: in the package prometheus)")
    done = subprocess.run([program, *arguments], cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool(tmp_path: Path) -> None:
    """It reads the configuration, the rules and what the dashboard asks for, and the rules ring when they should."""
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml")
    assert f"SUCCESS: {len(RULES)} rules found" in promtool("check", "rules", "alerts.yml")
    assert "SUCCESS" in promtool("test", "rules", "alerts.test.yml")
    exprs = [expr.replace("$__rate_interval", "1m") for expr in EXPRESSIONS]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(exprs)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", str(file))


def test_the_dashboard_is_whole() -> None:
    """Each panel has a place of its own, a text, and the source that is provisioned."""
    source = yaml.safe_load((HERE / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    places = set()
    for panel in BOARD["panels"]:
        assert panel["description"]
        assert {panel["datasource"]["uid"], *[target["datasource"]["uid"] for target in panel["targets"]]} == {
            source["uid"]
        }
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & places
        assert at["x"] + at["w"] <= 24
        places |= cells
    assert len(PANELS) == len(BOARD["panels"])


def mounts(service: str) -> Iterator[tuple[str, str]]:
    for volume in SERVICES[service]["volumes"]:
        here, there, mode = volume.split(":")
        assert mode == "ro"
        yield here, there


def test_the_profile_of_compose() -> None:
    """Prometheus and Grafana come with the profile alone, and find what they read where it is mounted; the instances
    are scraped under their names."""
    assert {name for name, service in SERVICES.items() if service.get("profiles")} == {"prometheus", "grafana"}
    for service in ("prometheus", "grafana"):
        for here, _ in mounts(service):
            assert (ROOT / here).is_dir()
    config = yaml.safe_load((HERE / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    targets = job["static_configs"][0]["targets"]
    assert sorted(targets) == sorted(f"{name}:8000" for name, service in SERVICES.items() if "build" in service)
    assert job.get("metrics_path", "/metrics") == "/metrics"
    boards = yaml.safe_load((HERE / "grafana/provisioning/dashboards/ratelimit.yml").read_text())
    assert boards["providers"][0]["options"]["path"] in dict(mounts("grafana")).values()
    assert "examples.observability.app:app" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("several", [False, True])
def test_the_app_is_scraped(several: bool, tmp_path: Path) -> None:
    """Its metrics are beside the API: a scrape is no request of it, and needs no API key."""
    environment = {"RATELIMIT_STORE_URL": "memory://"}
    if several:
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path)
    with workers(1, "examples.observability.app:app", environment) as (url,), httpx2.Client(base_url=url) as client:
        assert client.get("/api/v1/loans").status_code == 401

        def text() -> str:
            return client.get("/metrics").text

        servers.until(lambda: 'outcome="allowed"' in text())
        metrics = text()
        assert 'operation="search",outcome="allowed",tier="anonymous"} 1.0' in metrics
        assert 'outcome="exempt"' in metrics  # what the health check asks for
