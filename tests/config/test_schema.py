"""The JSON Schema for editors: it takes what is right, and refuses what can be seen to be wrong in one place."""

from __future__ import annotations

import tomllib
from datetime import date, datetime
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from ratelimit.config import json_schema
from tests.config.test_good import STORE_URLS

HERE = Path(__file__).parent
GOOD = sorted((HERE / "good").glob("*.toml"))
BAD = [path for path in sorted((HERE / "bad").glob("*.toml")) if not path.stem.startswith("toml-")]

# Mistakes that take two places to see, arithmetic, or a list of everything there is.
BEYOND = {
    "anchor-day-year",
    "anonymous-attributes",
    "concurrency-beyond-text",
    "concurrency-formula",
    "concurrency-negative-text",
    "cost-above-computed-constant",
    "cost-above-formula",
    "cost-above-max",
    "cost-above-max-in-shadow",
    "cost-above-max-in-table",
    "cost-above-override",
    "cost-above-override-but-anonymous",
    "cost-above-override-in-every-tier",
    "cost-above-override-in-table",
    "cost-above-override-of-key",
    "cost-above-override-of-tier",
    "cost-above-quota",
    "cost-on-concurrency",
    "cost-other",
    "cost-unknown",
    "from-date",
    "from-local",
    "from-text",
    "identity-default-tier",
    "identity-proxies-everybody",
    "identity-proxies-everybody-half",
    "identity-proxies-everybody-ipv6",
    "identity-proxies-everybody-mapped",
    "identity-proxies-everybody-routed",
    "identity-proxies-everybody-together",
    "identity-proxies-everybody-together-ipv6",
    "identity-proxies-everybody-translated",
    "identity-proxy",
    "identity-proxy-word",
    "launch-brownouts-overlap",
    "launch-cohort-ip",
    "launch-cohort-of-all",
    "launch-shadow-until",
    "launch-shares-fall",
    "override-from-until",
    "override-mode-missing",
    "override-names-unknown",
    "override-reason",
    "keys-attribute-missing",
    "keys-attribute-no-number",
    "keys-attribute-reserved",
    "keys-no-tier",
    "keys-organization-blank",
    "keys-sha256-of-nothing",
    "keys-sha256-twice",
    "keys-tier-unknown",
    "lease-beyond",
    "lease-short",
    "limit-name-twice",
    "limit-operations-exempt",
    "limit-operations-own",
    "limit-operations-unknown",
    "operations-method-alone",
    "operations-method-longer",
    "operations-method-lower",
    "operations-method-other-letter",
    "operations-method-shorter",
    "operations-method-transposed",
    "operations-method-websocket",
    "operations-name-built-in-but-case",
    "operations-name-exempt-but-case",
    "operations-name-twice-but-case",
    "operations-rule",
    "operations-rule-query",
    "operations-rule-twice",
    "override-amount",
    "override-attribute-missing",
    "override-beyond",
    "override-concurrency-kind",
    "override-ip-network",
    "override-ip-prefix",
    "override-ip-wrong",
    "override-kind",
    "override-limit-of-other-tier",
    "override-limit-unknown",
    "override-negative",
    "override-period",
    "override-quota-period",
    "override-tier-unknown",
    "override-two-tiers",
    "override-until-local",
    "per-case",
    "per-near",
    "per-near-no-name",
    "per-tier",
    "per-twice",
    "per-word",
    "quota-beyond",
    "quota-negative",
    "rate-beyond",
    "rate-beyond-by-one",
    "rate-beyond-product",
    "rate-constant-negative",
    "rate-constant-negative-in-parentheses",
    "rate-exponent",
    "rate-formula",
    "rate-formula-always-beyond",
    "rate-formula-below-zero",
    "rate-formula-beyond",
    "rate-formula-never-above-zero",
    "rate-formula-product-beyond",
    "rate-hexadecimal",
    "rate-long-window",
    "rate-negative",
    "rate-signed",
    "rate-zero-window",
    "record-file-zero-byte",
    "record-sample-nan",
    "record-size-small",
    "reserve-beside-concurrency",
    "reserve-of-some-operations",
    "reserve-other-without",
    "reserve-others-by-operation",
    "reserve-own-operation",
    "store-timeout-long",
    "store-timeout-zero",
    "store-url-cluster",
    "store-url-cluster-database",
    "store-url-database",
    "store-url-fragment",
    "store-url-hosts",
    "store-url-ipv6",
    "store-url-no-socket",
    "store-url-option",
    "store-url-option-cert-reqs",
    "store-url-option-db",
    "store-url-option-db-twice",
    "store-url-option-empty",
    "store-url-option-near",
    "store-url-option-of-sentinels",
    "store-url-option-of-tls",
    "store-url-option-twice",
    "store-url-option-value",
    "store-url-password",
    "store-url-port",
    "store-url-port-0",
    "store-url-sentinel",
    "store-url-sentinel-database",
    "store-url-sentinel-port",
    "store-url-socket-two-slashes",
    "store-url-valkey-database",
    "store-url-valkey-sentinel",
    "timezone",
    "timezone-far",
    "timezone-near-localtime",
    "timezone-of-the-machine",
    "wait-up-to-long",
    "wait-up-to-zero",
    "websocket-messages-exempt",
}


def as_json(node: Any) -> Any:
    """A file as the tools that check TOML with a JSON Schema see it: date-times are texts."""
    if isinstance(node, dict):
        return {key: as_json(item) for key, item in node.items()}
    if isinstance(node, list):
        return [as_json(item) for item in node]
    return node.isoformat() if isinstance(node, datetime | date) else node


VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def is_valid(path: Path) -> bool:
    return bool(VALIDATOR.is_valid(as_json(tomllib.loads(path.read_text()))))


def test_is_a_schema() -> None:
    """It is a schema of draft 2020-12."""
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_takes_what_is_good(path: Path) -> None:
    """Every file that loads is valid."""
    assert is_valid(path)


@pytest.mark.parametrize("url", STORE_URLS)
def test_takes_the_store_urls_that_load(url: str) -> None:
    """The scheme of a store may be in capitals for an editor too."""
    assert VALIDATOR.is_valid({"store": {"url": url}, "tiers": {"anonymous": {"limits": []}}})
    assert not VALIDATOR.is_valid({"store": {"url": f"x{url}"}, "tiers": {"anonymous": {"limits": []}}})


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_refuses_what_is_bad(path: Path) -> None:
    """Every file that does not load is invalid, but for what a schema can't see."""
    assert is_valid(path) == (path.stem in BEYOND)


def test_no_null_and_no_python() -> None:
    """Defaults are as TOML has them: no null, and a duration is no number."""

    def values(node: Any) -> list[Any]:
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
        return [node, *(value for child in children for value in values(child))]

    tables = [node for node in values(json_schema()) if isinstance(node, dict)]
    assert not any(node.get("type") == "null" for node in tables)
    assert not any("default" in node and node["default"] is None for node in tables)
    assert "default" not in json_schema()["$defs"]["StoreTable"]["properties"]["timeout"]
    assert json_schema()["$defs"]["IdentityTable"]["properties"]["ipv6_prefix"]["default"] == 64
    reserve = json_schema()["$defs"]["LimitTable"]["properties"]["reserve"]
    assert (reserve["type"], reserve["default"]) == ("boolean", False)
    assert "without asking the store" in reserve["description"]
    hold = json_schema()["$defs"]["LimitTable"]["properties"]["hold"]
    assert (hold["type"], hold["default"]) == ("boolean", False)
