"""How else a path may be read, and what is never asked of one that is plain."""

from __future__ import annotations

import pickle
from copy import copy
from typing import Any

import pytest

from ratelimit.model import Readings
from ratelimit.operations import ClassifyByRules, Rule
from ratelimit.operations import classify as operations
from ratelimit.operations.readings import LONGEST, MOST, readings


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("/docs/../a", "/a"),
        ("/docs//../a", "/docs/a"),  # as RFC 3986 has it
        ("/docs//../a", "/a"),  # with the slashes joined first
        ("/../../a", "/a"),
        ("../a", "/a"),
        ("/a/.", "/a"),
        ("/a\\b", "/a/b"),
        ("/a;b/c;d=e", "/a/c"),
        ("/a./b.. ", "/a/b"),
        ("/.. /a", "/a"),
        ("/a/... /b", "/a/b"),
        ("/a\tb", "/ab"),
        ("/a\u200b", "/a"),
        ("/a\x00b", "/a"),
        ("/a?b", "/a"),
        ("/a#b", "/a"),
        ("/%61", "/a"),
        ("/%2561", "/a"),
        ("/%252561", "/a"),  # deeper is as cheap
        ("/%u0061", "/a"),
        ("/%ud800", "/"),
        ("/%c0%ae", "/."),
        ("/%C0%2E", "/."),
        ("/%e0%80%af", "//"),
        ("/%f0%80%80%af", "//"),
        ("/%f8%80%80%80%af", "//"),
        ("/%fc%80%80%80%80%af", "//"),
        ("/%ff", "/\ufffd"),
        ("/%zz", "/%zz"),
        ("/\udcc0\udcae", "/."),  # what a server decoded with surrogateescape
        ("/\ud800", "/"),
        ("/\uff41", "/a"),
        ("/a/\u2025/b", "/b"),
    ],
)
def test_steps(path: str, read: str) -> None:
    """Each step finds its reading, and none loses the path as it is."""
    found = readings(path, "", None) or []
    assert found[0] == path
    assert read in found or read.rstrip("/") in found or read.replace("//", "/") in found


@pytest.mark.parametrize(
    ("path", "root", "read"),
    [
        ("/../b", "/api", "/b"),
        ("/../b", "/api", "/api/b"),
        ("/./api/b", "/api", "/api/b"),
        ("/API/b", "/api", "/API/b"),
        ("/API/b", "/api", "/api/API/b"),
    ],
)
def test_below_a_root_path(path: str, root: str, read: str) -> None:
    """Dots may lead out of a root_path or end there, and one that is spelled oddly may be there or not."""
    assert read in (readings(path, root, None) or [])


def test_raw_path() -> None:
    """The bytes as sent are looked at where the server could not decode them, and not otherwise."""
    assert "/a" in (readings("/\ufffd\ufffd/a", "", b"/%c0%ae/a") or [])
    assert readings("/a;", "", b"/b") == ["/a;", "/a"]


def test_too_much() -> None:
    """What has too many readings, or is too long to be read in several ways, is all that its method may be."""
    endless = "/" + "/".join(f"%{25 + n}252e;{n}." for n in range(4)) + "\\\t?"
    long = "/docs/" + "a/../" * LONGEST
    assert readings("/%" + "25" * MOST * 2, "", None) is None
    assert readings(long, "", None) is None
    assert readings(endless, "/api", None) is None
    rules = [Rule.parse("* /docs/**", "exempt"), Rule.parse("POST /x", "heavy_write"), Rule.parse("GET /y", "report")]
    classify = ClassifyByRules(rules)

    def found(method: str, **more: Any) -> tuple[str, ...]:
        operation = classify({"type": "http", "method": method, "path": long, "headers": [], **more})
        return operation.operations if isinstance(operation, Readings) else (str(operation),)

    assert found("POST") == ("create", "heavy_write")
    assert found("HEAD") == ("detail_read", "search", "report")
    assert found("PATCH") == ("write",)
    preflight = [(b"origin", b"x"), (b"access-control-request-method", b"GET")]
    assert found("OPTIONS", headers=preflight) == ("None",)  # no rule takes any


def test_a_plain_path_does_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain path, also with capitals, dots or a doubled slash among its letters, is read in one way."""

    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(operations, "readings", never)
    classify = ClassifyByRules([Rule.parse("* /docs/**", "exempt")])
    for path in ("/", "/v2/invoices/17", "/v2/CUS_17", "/a.b/c~d", "/a b/!$&'()*+,=:@", "/v2-0/x_y/"):
        assert classify({"type": "http", "method": "GET", "path": path, "headers": []}) in ("search", "detail_read")


def test_a_copy() -> None:
    """Readings are copied and pickled with their operations, and tell the log all of them."""
    made = Readings(("create", "heavy_write"))
    for other in (copy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301 - its own
        assert other == made == "create·heavy_write"
        assert other.operations == ("create", "heavy_write")
