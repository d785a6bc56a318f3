"""The documents of the examples are OpenAPI, and past its limits no API gives an answer that is not in its own."""

from __future__ import annotations

from itertools import cycle
from types import ModuleType
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from examples.completions import app as completions
from examples.facturapi import app as facturapi
from examples.facturapi import keys as of_facturapi
from examples.lendworks import app as lendworks
from examples.lendworks import keys as of_lendworks
from examples.lightspeed import app as lightspeed
from examples.lightspeed import keys as of_lightspeed
from ratelimit import MemoryStore
from tests.examples import ms

CHECKS = [content_type_conformance, response_headers_conformance, response_schema_conformance, status_code_conformance]
NOW_MS = ms("2026-06-01T12:00:00Z")  # when all limits of the examples are enforced
CASES = 6  # of an operation
SPENT = 400  # requests that are sent before: the tightest limit of each API is past


@pytest.mark.parametrize("api", [facturapi, lightspeed, lendworks, completions])
def test_valid(api: ModuleType) -> None:
    """Each document is one of OpenAPI 3.1, and tells a 429 of each operation that is not exempt."""
    document = api.create_app().openapi()
    validate(document)
    told = {path: {"429" in one["responses"] for one in of.values()} for path, of in document["paths"].items()}
    assert told.pop("/health") == {False}
    assert set().union(*told.values()) == {True}


@pytest.mark.parametrize(
    ("api", "path", "spender", "others"),
    [
        (facturapi, "/v2/customers", of_facturapi.ANA, [of_facturapi.LUNA_TEST, None]),
        (lightspeed, "/api/2.0/sales", of_lightspeed.CORNER_ANA, [of_lightspeed.GALLERIA_WEBSHOP, None]),
        (lendworks, "/api/v1/loans", of_lendworks.SAMPLER, [of_lendworks.ATLAS, None]),
    ],
)
def test_no_answer_that_is_not_told(api: ModuleType, path: str, spender: str, others: list[str | None]) -> None:
    """Whatever schemathesis sends, for callers past their limits and for others, the answer is as it is documented."""
    app = api.create_app(MemoryStore(clock=lambda: NOW_MS))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    statuses = set[int]()
    for _ in range(SPENT):
        answer = schema[path]["GET"].Case().call(headers=by(spender))
        if answer.status_code == 429:
            break
    assert answer.status_code == 429
    callers = cycle([spender, *others])
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=CASES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def answered(case: Any) -> None:
            answer = case.call(headers=by(next(callers)))
            statuses.add(answer.status_code)
            case.validate_response(answer, checks=CHECKS)

        answered()
    assert {200, 401, 404, 429} <= statuses


def by(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}
