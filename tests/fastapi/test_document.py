"""The OpenAPI document tells each answer that the limiter gives in place of the app, and no other."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient

from ratelimit import (
    Limit,
    Policy,
    Rate,
    RateLimitMiddleware,
    StoreUnavailable,
    hash_api_key,
    operation,
    parse_policy,
)
from ratelimit.fastapi import RateLimit, decide, document, limit
from ratelimit.model import Answer
from ratelimit.stores.memory import MemoryStore
from ratelimit.styles.ietf import Ietf
from tests.acceptance import ANA, BEN
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]

STYLES = [
    'style = "facturapi"',
    'style = { name = "facturapi", expose_limits = true, ietf_headers = true }',
    'style = "lightspeed"',
    'style = { name = "lightspeed", legacy_body = true, reset_header = true }',
    'style = { name = "lightspeed", retry_after = "seconds" }',
    'style = "lendworks"',
    'style = { name = "lendworks", request_id = true }',
    'style = "ietf"',
    'style = { name = "ietf", never = 429 }',
]
LIMITS = """
  { name = "rate", rate = "2/day", operations = ["search"] },
  { name = "quota", quota = "2/month", operations = ["detail_read"] },
  { name = "slots", concurrency = 0, operations = ["create"] },
  { name = "closed", rate = "0/minute", operations = ["write"] },
"""
OPERATIONS = '[operations]\nexempt = ["GET /health"]\n'


def policy(limits: str, *settings: str) -> Policy:
    """The same limits for two known callers and for anybody else."""
    keys = [
        f'[[keys]]\nsha256 = "{hash_api_key(api_key)}"\ntier = "basic"\nuser = "{name}"'
        for name, api_key in (("ana", ANA), ("ben", BEN))
    ]
    tiers = [f"[tiers.{tier}]\nlimits = [ {limits} ]" for tier in ("anonymous", "basic")]
    return parse_policy("\n".join([*settings, *keys, *tiers]), "test.toml")


def app_of(*settings: str, limits: str = LIMITS, **middleware: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/things")
    @app.post("/things")
    async def things() -> list[str]:
        return []

    @app.get("/things/{number}")
    @app.put("/things/{number}")
    async def thing(number: int) -> int:
        return number

    @app.get("/health")
    async def health() -> str:
        return "well"

    app.add_middleware(
        RateLimitMiddleware, **{"policy": policy(limits, *settings), "store": MemoryStore(), **middleware}
    )
    document(app)
    return app


def resolved(made: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    """The responses of an operation by status, without references."""
    found = dict(made["paths"][path][method]["responses"])
    for status, response in found.items():
        if "$ref" in response:
            found[status] = made["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return found


def check(told: dict[str, Any], answer: Any) -> None:
    """A real answer is as it is told."""
    headers = {name.lower(): header for name, header in told.get("headers", {}).items()}
    ours = {name for name in answer.headers if re.match("x-|retry|ratelimit", name)}
    assert {name for name, header in headers.items() if header["required"]} <= ours <= headers.keys()
    for name in ours:
        value = answer.headers[name]
        jsonschema.validate(
            int(value) if headers[name]["schema"]["type"] == "integer" else value, headers[name]["schema"]
        )
    media = answer.headers["content-type"].partition(";")[0]
    jsonschema.validate(answer.json(), told["content"][media]["schema"])
    jsonschema.validate(told["content"][media]["example"], told["content"][media]["schema"])


@pytest.mark.parametrize("style", STYLES)
def test_each_answer_is_as_it_is_told(style: str) -> None:
    """Rates, quotas, slots and what can never pass, in every style and to known and anonymous callers."""
    app = app_of(style, OPERATIONS)
    made = app.openapi()
    client = TestClient(app)
    seen = set()
    for headers in ({}, {"Authorization": f"Bearer {ANA}"}):
        for method, path, template in (
            ("get", "/things", "/things"),
            ("post", "/things", "/things"),
            ("get", "/things/7", "/things/{number}"),
            ("put", "/things/7", "/things/{number}"),
        ):
            for _ in range(3):
                answer = client.request(method, path, headers=headers)
            told = resolved(made, template, method)
            check(told[str(answer.status_code)], answer)
            seen.add((template, method, answer.status_code))
    assert len(seen) == 4


@pytest.mark.parametrize("style", STYLES)
def test_several_limits(style: str) -> None:
    """A denial by one limit tells of the others too, where the style does."""
    limits = (
        '{ name = "rate", rate = "9/minute" }, { name = "quota", quota = "2/month" }, { name = "s", concurrency = 9 }'
    )
    app = app_of(style, limits=limits)
    client = TestClient(app, headers={"Authorization": f"Bearer {ANA}"})
    answers = [client.get("/things") for _ in range(3)]
    assert answers[-1].status_code == 429
    check(resolved(app.openapi(), "/things", "get")["429"], answers[-1])


HOLDS = """
  { name = "tokens", rate = "10/minute", operations = ["completion"], cost = { completion = 0 }, hold = true },
"""
COMPLETION = '[operations]\nexempt = ["GET /health"]\ncompletion = ["POST /completions"]\n'


async def takes(rate_limit: RateLimit, units: int = 20) -> None:
    async with rate_limit.hold(units, limit="tokens"):
        pass


async def takes_none() -> None: ...


def holding() -> FastAPI:
    app, router = FastAPI(), APIRouter(prefix="/sub")
    router.add_api_route("/{path:path}", takes, methods=["PUT"])
    app.include_router(router, prefix="/v1")
    app.add_api_route("/completions", takes, methods=["POST"])
    app.add_api_route("/depends", takes_none, dependencies=[Depends(takes)])
    app.add_api_route("/plain", takes_none)
    app.add_api_route("/health", takes)
    return app


@pytest.mark.parametrize("style", STYLES)
def test_denied_from_inside(style: str) -> None:
    """An endpoint that takes RateLimit, itself or by a dependency, may be denied by what it holds, though no limit is
    charged at the door; no other one is."""
    app = holding()
    app.add_middleware(RateLimitMiddleware, policy=policy(HOLDS, style, COMPLETION), store=MemoryStore())
    document(app)
    made = app.openapi()
    client = TestClient(app, headers={"Authorization": f"Bearer {ANA}"})
    told = resolved(made, "/completions", "post")
    assert client.post("/completions?units=10").status_code == 200
    check(told["429"], client.post("/completions?units=1"))
    never = client.post("/completions?units=11")
    check(told[str(never.status_code)], never)
    for path, method in (("/depends", "get"), ("/v1/sub/{path}", "put")):
        assert {"429", str(never.status_code)} <= made["paths"][path][method]["responses"].keys()
    for path in ("/plain", "/health"):
        assert not {"429", "403"} & made["paths"][path]["get"]["responses"].keys()


def test_held_by_who_is_known_later() -> None:
    """An endpoint whose caller is known by `decide` has the control too, and holds with it."""

    async def nobody() -> None: ...

    app = FastAPI()
    app.add_api_route("/plain", takes_none)
    app.add_api_route("/takes", takes_none, dependencies=[Depends(decide(nobody))])
    document(app, policy(HOLDS, COMPLETION))
    paths = app.openapi()["paths"]
    assert paths["/takes"]["get"]["responses"].keys() == {"200", "400", "403", "429"}
    assert paths["/plain"]["get"]["responses"].keys() == {"200", "400"}


def test_held_by_the_operation() -> None:
    """Whoever is of an operation that a limit with `hold` lists may hold units of it, by the scope too."""
    limits = HOLDS + '{ name = "shadow", rate = "10/minute", cost = 0, hold = true, mode = "shadow" },'
    app = FastAPI()
    app.add_api_route("/completions", takes_none, methods=["POST"])
    app.add_api_route("/plain", takes_none)
    document(app, policy(limits, OPERATIONS, 'completion = ["POST /completions"]'))
    paths = app.openapi()["paths"]
    assert paths["/completions"]["post"]["responses"].keys() == {"200", "400", "403", "429"}
    assert paths["/plain"]["get"]["responses"].keys() == {"200", "400"}


def test_exempt() -> None:
    """What is exempt has no answers of the limiter."""
    made = app_of(OPERATIONS).openapi()
    assert resolved(made, "/health", "get").keys() == {"200"}
    assert resolved(made, "/things", "get").keys() == {"200", "400", "429"}


def test_only_what_can_occur() -> None:
    """A limit of another operation, in shadow, off, or free is no 429; a closed one is a 403 and no 429."""
    limits = """
      { name = "shadow", rate = "1/minute", mode = "shadow" },
      { name = "off", rate = "1/minute", mode = "off" },
      { name = "free", rate = "1/minute", cost = { detail_read = 0 }, operations = ["detail_read", "write"] },
      { name = "closed", rate = "0/minute", operations = ["create"] },
    """
    made = app_of(limits=limits).openapi()
    assert resolved(made, "/things", "get").keys() == {"200", "400"}
    assert resolved(made, "/things", "post").keys() == {"200", "400", "403"}
    assert resolved(made, "/things/{number}", "get").keys() == {"200", "400", "422"}
    assert resolved(made, "/things/{number}", "put").keys() == {"200", "400", "422", "429"}


def test_computed_and_overridden() -> None:
    """A max that is computed may be below the cost, and an override may close a limit: then there is a 403 beside the
    429."""
    seats = Limit("seats", Rate(60_000), lambda attributes: 2 * int(attributes["seats"]))
    by_hand = replace(policy(LIMITS), tiers={"anonymous": (), "basic": (seats,)})
    made = app_of(policy=by_hand).openapi()
    assert {"403", "429"} <= resolved(made, "/things", "get").keys()
    closed = '[[overrides]]\norganization = "acme"\nlimits = { requests = "0/minute" }'
    made = app_of(closed, limits='{ name = "requests", rate = "5/minute" }').openapi()
    assert {"403", "429"} <= resolved(made, "/things", "get").keys()


def test_unavailable() -> None:
    """A policy that denies without its store has a 503, as it is then."""

    class Away(MemoryStore):
        async def acquire(self, charges: Any) -> Any:
            raise StoreUnavailable("away")

    app = app_of('[store]\non_failure = "deny"', limits='{ name = "requests", rate = "5/minute" }', store=Away())
    answer = TestClient(app).get("/things")
    assert answer.status_code == 503
    check(resolved(app.openapi(), "/things", "get")["503"], answer)


def test_two_callers() -> None:
    """The keys of two callers in one request are a 400, as it is then."""
    app = app_of(limits='{ name = "requests", rate = "5/minute" }')
    answer = TestClient(app).get("/things", headers={"Authorization": f"Bearer {ANA}", "X-API-Key": BEN})
    told = resolved(app.openapi(), "/things", "get")
    assert ("400" in told) is (answer.status_code == 400) is True
    jsonschema.validate(answer.json(), told["400"]["content"]["application/problem+json"]["schema"])


def test_the_same_each_time() -> None:
    """The document does not differ from run to run, so that it can be kept beside the code."""
    for style in STYLES:
        assert app_of(style).openapi() == app_of(style).openapi()


def test_what_the_app_tells_itself() -> None:
    """A response that the app documents under one of these statuses stays."""
    app = FastAPI()

    @app.get("/things", responses={429: {"description": "Slow down"}})
    async def things() -> list[str]:
        return []

    document(app)
    document(app)
    app.add_middleware(RateLimitMiddleware, policy(LIMITS))
    assert app.openapi()["paths"]["/things"]["get"]["responses"]["429"] == {"description": "Slow down"}


def test_routes_that_come_later() -> None:
    """A route that is added when the document was made already is told of in the next one."""
    app = app_of()
    app.openapi()

    @app.get("/more")
    async def more() -> str:
        return ""

    app.openapi_schema = None
    made = app.openapi()
    assert "429" in resolved(made, "/more", "get")
    assert app.openapi() is made


def test_an_app_that_is_limited_from_outside(tmp_path: Any) -> None:
    """With the policy, or its path, there need be no middleware; without either it says what to do."""
    file = tmp_path / "ratelimit.toml"
    file.write_text('[tiers.anonymous]\nlimits = [{ name = "ip", rate = "5/minute" }]')
    for given in (file, str(file), parse_policy(file.read_text())):
        app = FastAPI()
        app.add_api_route("/things", lambda: None)
        document(app, given)
        assert "429" in resolved(app.openapi(), "/things", "get")
    app = FastAPI()
    document(app)
    with pytest.raises(ValueError, match=r"finds no RateLimitMiddleware .* document\(app, policy\)"):
        app.openapi()


def test_two_policies() -> None:
    """Of two middlewares the answers of both are told, each in its style; a path is read."""
    app = app_of('style = "lendworks"', limits='{ name = "requests", rate = "5/minute" }')
    app.add_middleware(RateLimitMiddleware, policy('{ name = "closed", rate = "0/minute" }'))
    told = resolved(app.openapi(), "/things", "get")
    assert set(told["429"]["content"]) == {"application/json"}
    assert set(told["403"]["content"]) == {"application/problem+json"}


def test_nothing_to_tell() -> None:
    """An app of which all is exempt has the document that it has anyway; other middlewares are none of ours."""
    app = FastAPI()
    app.add_api_route("/health", lambda: None)
    before = FastAPI.openapi(app)
    document(app)
    app.add_middleware(GZipMiddleware)
    app.add_middleware(RateLimitMiddleware, policy(LIMITS, OPERATIONS))
    app.openapi_schema = None
    assert app.openapi() == before


@pytest.mark.parametrize("own", ["raises", "async", "nonsense", "known"])
def test_own_operations(own: str) -> None:
    """Of an own classify that can't be asked beforehand every limit may apply; of one that can, those it names. Also
    where some endpoint of the process declares a limit, so that endpoints are asked too."""
    limit("1/hour", name="elsewhere")

    def raises(scope: Any) -> str:
        raise KeyError("x-operation")

    async def later(scope: Any) -> str:
        return "create"

    def nonsense(scope: Any) -> Any:
        return 7

    def known(scope: Any) -> str:
        return "write"

    operation("write")(later)  # from the first mark on, what endpoints say is looked at too
    classify = {"raises": raises, "async": later, "nonsense": nonsense, "known": known}[own]
    told = resolved(app_of(classify=classify).openapi(), "/things", "get")
    assert ("429" in told, "403" in told) == (own != "known", True)


def test_what_endpoints_say() -> None:
    """A limit that an endpoint declares is told there and nowhere else; units may be no number, or above any max."""
    app = FastAPI()

    def exports() -> list[str]:
        return []

    def plain() -> list[str]:
        return []

    @operation("batch", units=lambda request: int(request.headers["x-size"]))
    def batch() -> list[str]:
        return []

    @operation("batch", units=5)
    def fixed() -> list[str]:
        return []

    app.add_api_route("/exports", exports, dependencies=[Depends(limit("5/hour", name="exports"))])
    app.add_api_route("/plain", plain)
    app.add_api_route("/batch", batch)
    app.add_api_route("/fixed", fixed)
    app.add_middleware(
        RateLimitMiddleware,
        policy=parse_policy(
            "[operations]\nbatch = []\n"
            '[tiers.anonymous]\nlimits = [{ name = "batches", rate = "9/minute", operations = ["batch"] }]'
        ),
    )
    document(app)
    found = {path: {*methods["get"]["responses"]} - {"200"} for path, methods in app.openapi()["paths"].items()}
    assert found == {"/exports": {"429"}, "/plain": set(), "/batch": {"400", "403", "429"}, "/fixed": {"429"}}
    told = json.dumps(app.openapi()["components"]["responses"])
    assert "The number of units" in told


def test_own_style() -> None:
    """A style of the user's own is told by what it answers: numbers, dates, no JSON, what is not always there."""

    class Own(Ietf):
        __slots__ = ()

        def denied(self, decision: Any, identity: Any, log_id: str) -> Answer:
            if decision.states[0].limit.name == "rate":
                body = {
                    "wait": 1.5,
                    "until": None,
                    "lines": [{"a": 1}, {"a": 2, "b": True}],
                    "at": "2026-01-01T00:00:00Z",
                }
                return Answer(429, [(b"x-wait", b"soon")], json.dumps(body).encode())
            return Answer(418, [(b"content-type", b"text/plain; charset=utf-8")], b"no")

    made = app_of(style=Own()).openapi()
    told = resolved(made, "/things", "get")["429"]
    assert told["headers"] == {
        "X-Wait": {"description": "", "schema": {"type": "string"}, "required": True, "example": "soon"}
    }
    assert told["content"]["application/json"] == {
        "schema": {
            "type": "object",
            "properties": {
                "wait": {"type": "number"},
                "until": {"type": "null"},
                "lines": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}},
                        "required": ["a"],
                    },
                },
                "at": {"type": "string", "format": "date-time"},
            },
            "required": ["wait", "until", "lines", "at"],
        },
        "example": {
            "wait": 1.5,
            "until": None,
            "lines": [{"a": 1}, {"a": 2, "b": True}],
            "at": "2030-01-01T00:00:30Z",
        },
    }
    other = resolved(made, "/things/{number}", "get")["418"]
    assert other == {"description": "The limiter answers in place of the app.", "content": {"text/plain": {}}}
