"""What kind of call it is: by the rules, else by the shape of the request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ratelimit.model import Readings
from ratelimit.operations import ClassifyByRules, Rule
from ratelimit.routes import table

RULES = (
    ("GET /health", "exempt"),
    ("* /docs/**", "exempt"),
    ("POST /v2/invoices", "heavy_write"),
    ("DELETE /v2/invoices/{id}", "heavy_write"),
    ("GET /v2/catalogs/*", "search"),
    ("GET /v2/**/export", "report"),
    ("GET /v2/**/lines/**/notes", "notes"),
    ("HEAD /v2/probe", "probe"),
    ("PURGE /cache/**", "purge"),
    ("OPTIONS /v2/options", "described"),
)


def scope(method: str, path: str, **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "headers": [(b"host", b"x")], **more}


def classifier(*rules: tuple[str, str | None]) -> ClassifyByRules:
    return ClassifyByRules([Rule.parse(text, operation) for text, operation in rules])


@pytest.mark.parametrize(
    ("request_line", "operation"),
    [
        ("GET /health", None),
        ("HEAD /health", None),
        ("POST /health", "create"),
        ("GET /docs", None),
        ("POST /docs/a/b/c", None),
        ("REPORT /docs/a", None),
        ("GET /docsearch", "search"),
        ("POST /v2/invoices", "heavy_write"),
        ("POST /v2/invoices/", "heavy_write"),
        ("POST //v2///invoices//", "heavy_write"),
        ("post /v2/invoices", "heavy_write"),
        ("POST /v2/invoices\n", "heavy_write"),  # %0A
        ("POST /v2/invoices/\n", "heavy_write"),
        ("POST /v2/invoices\n\n", "create·heavy_write"),  # what drops newlines reads invoices
        ("POST /v2/\ninvoices", "create·heavy_write"),
        ("POST /v2\n/invoices", "create·heavy_write"),
        ("DELETE /v2/invoices/acme\n", "heavy_write"),
        ("DELETE /v2/invoices/\n", "heavy_write·write"),
        ("GET /docs\n", None),
        ("GET /v2/a/export\n", "report"),
        ("POST /V2/Invoices", "heavy_write"),
        ("GET /Docs", "search"),
        ("POST /v2/invoices/acme", "create"),
        ("DELETE /v2/invoices/acme", "heavy_write"),
        ("DELETE /v2/invoices", "write"),
        ("DELETE /v2/invoices/acme/lines", "write"),
        ("GET /v2/catalogs/17", "search"),
        ("HEAD /v2/catalogs/17", "search"),
        ("GET /v2/export", "report"),
        ("GET /v2/a/b/c/export/", "report"),
        ("GET /v2/a/export/b", "search"),
        ("GET /v2/lines/notes", "notes"),
        ("GET /v2/a/lines/lines/b/notes/notes", "notes"),
        ("GET /v2/notes/lines", "search"),
        ("HEAD /v2/probe", "probe"),
        ("GET /v2/probe", "search"),
        ("PURGE /cache", "purge"),
        ("OPTIONS /v2/options", "described"),
    ],
)
def test_rules(request_line: str, operation: str | None) -> None:
    """A rule takes its method and path, with GET also HEAD, whatever the slashes at the end."""
    assert classifier(*RULES)(scope(*request_line.split(" "))) == operation


@pytest.mark.parametrize(
    ("rules", "operation"),
    [
        ([("* /a/b", "first"), ("GET /a/b", "second")], "first"),
        ([("GET /a/b", "first"), ("* /a/b", "second")], "first"),
        ([("GET /a/*", "first"), ("GET /a/b", "second")], "first"),
        ([("GET /a/b", "first"), ("GET /a/*", "second")], "first"),
        ([("GET /**", "first"), ("GET /a/b", "second")], "first"),
        ([("GET /a/{x}", "first"), ("GET /{y}/b", "second")], "first"),
        ([("GET /{y}/b", "first"), ("GET /a/{x}", "second")], "first"),
        ([("GET /a/b", "first"), ("GET /a/b/", "second")], "first"),
        ([("POST /a/b", "other"), ("GET /a/b/c", "other"), ("GET /**/**/b/**", "first")], "first"),
    ],
)
def test_the_first_match_wins(rules: list[tuple[str, str]], operation: str) -> None:
    """Among rules that match, the order of the file decides, not how exact they are."""
    assert classifier(*rules)(scope("GET", "/a/b")) == operation


@pytest.mark.parametrize(
    ("request_line", "operation"),
    [
        ("GET /", "search"),
        ("GET /customers", "search"),
        ("GET /customers/acme", "search"),
        ("GET /customers/42", "detail_read"),
        ("HEAD /customers/42/", "detail_read"),
        ("GET /customers/cus_9a", "detail_read"),
        ("GET /customers/42/invoices", "search"),
        ("GET /v2", "search"),
        ("GET /api/V1.1", "search"),
        ("GET /api/2.0", "search"),
        ("GET /api/1.2.3", "search"),
        ("GET /apis/v1beta1", "search"),
        ("GET /v2/42", "detail_read"),
        ("GET /hosts/10.0.0.1", "detail_read"),
        ("GET /days/2026-01-31", "detail_read"),
        ("GET /powers/²", "search·detail_read"),
        ("GET /numbers/٣", "detail_read"),
        ("GET /v2x", "detail_read"),
        ("POST /customers", "create"),
        ("POST /customers/42", "create"),
        ("PUT /customers/42", "write"),
        ("PATCH /customers/42", "write"),
        ("DELETE /customers/42", "write"),
        ("OPTIONS /customers/42", "search"),
        ("TRACE /customers/42", "search"),
        ("QUERY /customers", "search"),
        ("* /customers", "search"),
    ],
)
def test_shape(request_line: str, operation: str) -> None:
    """Without a rule, the method and an identifier at the end of the path tell what kind of call it is."""
    assert ClassifyByRules()(scope(*request_line.split(" "))) == operation


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/customers/acme", "detail_read"),
        ("/customers/acme/", "detail_read"),
        ("/customers/import", "search"),  # a rule spells it out
        ("/customers", "search"),
        ("/customers/acme/orders", "search"),
        ("/files/acme", "search"),  # * is no parameter
        ("/trees/acme", "search"),
    ],
)
def test_a_parameter_of_a_rule_is_an_identifier(path: str, operation: str) -> None:
    """Where a rule of any method ends in {name}, a GET there reads an item."""
    classify = classifier(
        ("DELETE /customers/{id}/", "heavy_write"),
        ("POST /customers/import", "heavy_write"),
        ("POST /files/*", "heavy_write"),
        ("POST /trees/**", "heavy_write"),
        ("POST /", "heavy_write"),
    )
    assert classify(scope("GET", path)) == operation


@pytest.mark.parametrize(
    ("method", "headers", "operation"),
    [
        ("OPTIONS", (b"origin", b"access-control-request-method"), None),
        ("OPTIONS", (b"origin",), "everything"),
        ("OPTIONS", (b"access-control-request-method",), "everything"),
        ("GET", (b"origin", b"access-control-request-method"), "everything"),
    ],
)
def test_a_preflight_is_exempt(method: str, headers: tuple[bytes, ...], operation: str | None) -> None:
    """A CORS preflight is exempt even where a rule takes all, and nothing else is mistaken for one."""
    request = scope(method, "/a") | {"headers": [(name, b"x") for name in headers]}
    assert classifier(("* /**", "everything"))(request) == operation


@pytest.mark.parametrize(
    ("root_path", "path", "operation"),
    [
        ("", "/api/health", None),
        ("/api", "/api/health", None),  # a mount, or a proxy that cuts nothing off
        ("/api", "/health", None),  # a proxy that cuts the prefix off
        ("/api/", "/health", None),
        ("/api/", "/api/health", None),
        ("/api", "/apihealth", "search"),
        ("/api", "/api", "root"),
        ("/api", "", "root"),
        ("/other", "/api/health", "search"),
        (None, "/api/health", None),
    ],
)
def test_rules_see_the_path_of_the_client(root_path: str | None, path: str, operation: str | None) -> None:
    """A root_path is a part of the path that rules see, whether or not the server left it in."""
    classify = classifier(("GET /api/health", "exempt"), ("GET /api", "root"))
    assert classify(scope("GET", path, root_path=root_path)) == operation


def test_a_handshake_of_a_websocket() -> None:
    """Rules of the method WEBSOCKET and of any method take it, and no others; otherwise it is `connect`, whatever its
    path, however that is written."""
    classify = classifier(
        ("GET /live", "stream"), ("WEBSOCKET /feed/{id}", "feed"), ("* /any", "any"), ("WEBSOCKET /free", "exempt")
    )
    for path, operation in (
        *(("/live", "connect"), ("/rooms/17", "connect"), ("/rooms", "connect"), ("/", "connect")),
        *(("/feed/7", "feed"), ("/FEED/7", "feed"), ("/feed//7", "feed"), ("/any", "any"), ("/free", None)),
        *(("/Free", "connect"), ("/free/../feed/7", Readings(("connect", "feed")))),
    ):
        assert classify({"type": "websocket", "path": path, "headers": []}) == operation


def test_a_request_is_no_handshake() -> None:
    """A request of HTTP whose method is WEBSOCKET is of another method, which no rule of handshakes takes; one without
    a method is a GET."""
    classify = classifier(("WEBSOCKET /free", "exempt"), ("* /any", "any"))
    for method in ("WEBSOCKET", "websocket", "handshake"):
        assert classify(scope(method, "/free")) == "search"
        assert classify(scope(method, "/any")) == "any"
    assert classify({"type": "http", "path": "/rooms/17", "headers": []}) == "detail_read"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'is no rule: write a method in capitals or \\*, a space, and a path from /, such as "POST /v2/invoices"'),
        ("/health", "is no rule"),
        ("GET", '"GET" is no rule'),
        ("/v2/x", '"/v2/x" is no rule'),
        ("GET health", '"GET health" is no rule'),
        ("get /health", '"get /health" is no rule'),
        ("GET,POST /health", "is no rule"),
        ("GET /a POST /b", "is no rule"),
        ("** /health", "is no rule"),
        ("GET /a/{id:int}", '"{id:int}" in the rule "GET /a/{id:int}" matches nothing: a segment is plain text, or'),
        ("GET /a/{id}.json", "a segment is plain text"),
        ("GET /a/{}", "a segment is plain text"),
        ("GET /a/b*", "a segment is plain text"),
        ("GET /a/***", "a segment is plain text"),
        ("GET /a/b?c=d", "the query is not looked at"),
        ("GET /a/b#c", "a fragment is never sent; write the path alone"),
        ("GET /a/../b", "dot segments are resolved; write the path that they lead to"),
        ("GET /a/.", "dot segments are resolved"),
        ("GET /a/b\0", "a segment is plain text"),
        ("GET /a/caf%C3%A9", "write the character itself, as paths are matched decoded"),
    ],
)
def test_wrong_rules(text: str, message: str) -> None:
    """A rule that could never match is a ValueError that says what is allowed."""
    with pytest.raises(ValueError, match=message):
        Rule.parse(text, "search")


def test_parse() -> None:
    """A rule keeps its text apart, and the operation `exempt` is None."""
    assert Rule.parse(" GET   /a/{id} ", "search") == Rule("GET", "/a/{id}", "search")
    assert Rule.parse("VERSION-CONTROL /a", "exempt") == Rule("VERSION-CONTROL", "/a", None)


def test_work_does_not_grow_with_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path takes as many steps through 1,000 rules as through 10, and a hostile one has an end."""
    steps: list[str] = []
    after = table._Node.after

    def counted(node: table._Node, segment: str) -> list[table._Node]:
        steps.append(segment)
        return after(node, segment)

    monkeypatch.setattr(table._Node, "after", counted)

    def count(rules: int, path: str) -> int:
        classify = classifier(*((f"GET /v2/**/thing{i}/{{id}}/**/x", "x") for i in range(rules)))
        steps.clear()
        classify(scope("GET", path))
        return len(steps)

    assert count(10, "/v2/a/thing7/b/c") == count(1000, "/v2/a/thing7/b/c") < 40
    assert count(10, "/v2" + "/thing7" * 8000) == count(1000, "/v2" + "/thing7" * 8000) < 4000


def test_a_very_long_path_keeps_its_ends() -> None:
    """What is behind a very long middle still leads to its rule."""
    classify = classifier(("POST /a/**/y/z", "long"))
    assert classify(scope("POST", "/a" + "/b" * 8000 + "/y/z")) == "long"
    assert classify(scope("POST", "/a" + "/b" * 8000 + "/z")) == "create"


def by_hand(pattern: list[str], path: list[str]) -> bool:
    """The rules' grammar, spelled out."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return by_hand(pattern[1:], path) or (bool(path) and by_hand(pattern, path[1:]))
    return bool(path) and pattern[0] in ("*", path[0]) and by_hand(pattern[1:], path[1:])


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "*", "**"]), max_size=5), max_size=6),
    st.lists(st.sampled_from(["a", "b"]), max_size=7),
)
def test_all_patterns_at_once_match_as_each_alone(patterns: list[list[str]], path: list[str]) -> None:
    """The tree of all rules finds the same rule as trying one after the other."""
    rules = [Rule("GET", "/" + "/".join(pattern), str(order)) for order, pattern in enumerate(patterns)]
    expected = next((str(order) for order, pattern in enumerate(patterns) if by_hand(pattern, path)), "search")
    assert ClassifyByRules(rules)(scope("GET", "/" + "/".join(path))) == expected


@given(st.text(), st.text(), st.lists(st.tuples(st.binary(), st.binary()), max_size=2), st.sampled_from(["", "/api"]))
def test_no_request_raises(method: str, path: str, headers: list[tuple[bytes, bytes]], root_path: str) -> None:
    """Any method, path and headers are some operation."""
    classify = classifier(("GET /v2/{id}/**/b", "a"))
    request = scope(method, path, root_path=root_path) | {"headers": headers}
    assert classify(request) in ("a", "search", "detail_read", "create", "write")


@given(
    st.sampled_from(["GET", "HEAD", "POST", "get", "OPTIONS"]),
    st.lists(st.sampled_from(["items", "17", "v2", "v", "x7", "٣", "\n", "", "9\n"]), max_size=4).map("/".join),
    st.sampled_from(["", "/"]),
    st.sampled_from(["", "/v1", "v", "/api/", "/17"]),
)
@example("GET", "17", "", "v")
def test_a_policy_without_rules_tells_the_same_shapes(method: str, path: str, slash: str, root_path: str) -> None:
    """What is quicker without rules says what rules that match nothing leave to the shape."""
    request = scope(method, slash + path, root_path=root_path)
    assert classifier()(request) == classifier(("TRACE /nothing/like/this", "other"))(request)
