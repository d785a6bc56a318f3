"""Logs that the limiter itself has written, and objects of JSON that say too little."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ratelimit.simulate.logs.formats import Format
from ratelimit.simulate.logs.json_lines import ByFields
from ratelimit.simulate.logs.recorded import Recorded

AT = 1_772_445_600_000
LINE = {"at": AT, "took": 12, "method": "GET", "path": "/a", "status": 200}


def read(*lines: Any, reader: Any = None) -> tuple[list[Any], list[str], Any]:
    reader = reader or Recorded()
    unread: list[str] = []
    data = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return reader.read(data, 0, 1, lambda number, why, line: unread.append(why)), unread, reader.facts


def test_what_is_recorded() -> None:
    """Who was counted, as what and how often; what is not known is left out."""
    who = {
        "organization": "acme",
        "api_key": "#12",
        "tier": "basic",
        "attributes": {"registers": 3, "x": [1]},
        "user": None,
    }
    events, unread, facts = read(
        {**LINE, **who, "operation": "create·heavy_write", "units": 5, "declared": ["exports"]},
        {**LINE, "operation": None, "attributes": 7, "took": -1, "units": "many"},
        {"lost": 12},
        LINE,
    )
    assert unread == []
    pairs = (("organization", "acme"), ("api_key", "#12"), ("tier", "basic"), ("registers", 3))
    assert events == [
        (AT, 0, 1, 12, b"GET /a", 200, pairs, ("create·heavy_write", 5)),
        (AT, 0, 2, 0, b"GET /a", 200, b"", (None, 1)),
        (AT, 0, 4, 12, b"GET /a", 200, b"", None),
    ]
    assert facts == {"lost": 12, "declared": 1}


def test_what_can_not_be_read() -> None:
    """Each line says why; an empty one says nothing."""
    events, unread, _ = read(
        *(b"", b"  ", b"{", b"[1]", b"\xff", b"[" * 100_000, b'"' + b"x" * 70_000),
        *(
            {**LINE, "at": "now"},
            {**LINE, "at": -1},
            {**LINE, "method": 7},
            {**LINE, "method": "GET x"},
            {**LINE, "path": ""},
        ),
    )
    assert events == []
    no_object, too_long, no_time, no_request = "no object of JSON", "above 64 kB", "no time in it", "no request in it"
    assert unread == [no_object] * 3 + [too_long] * 2 + [no_time] * 2 + [no_request] * 3


ROLES = (
    ("time", "ts"),
    ("call", "request"),
    ("method", "method"),
    ("path", "path"),
    ("status", "status"),
    ("ip", "ip"),
)


@pytest.mark.parametrize(
    ("said", "call", "status", "ip"),
    [
        ({"request": "GET /a HTTP/1.1", "status": 200, "ip": 7}, b"GET /a", 200, b"7"),
        ({"request": "GET", "method": "PUT", "path": "/b", "status": "404"}, b"PUT /b", 404, b""),
        ({"request": {}, "method": "PUT", "path": "/b", "status": "OK", "ip": ""}, b"PUT /b", 0, b""),
        ({"method": "PUT", "path": "/b", "status": 99_999, "ip": ["x"]}, b"PUT /b", 0, b""),
    ],
)
def test_values_of_other_types(said: dict[str, Any], call: bytes, status: int, ip: bytes) -> None:
    """What is not what it should be is not known; a request line may stand for method and path."""
    [event], unread, _ = read({"ts": AT, **said}, reader=ByFields(Format("json", roles=ROLES)))
    assert (event[4:7], unread) == ((call, status, ip), [])


def test_objects_that_say_too_little() -> None:
    """Without a time or a request there is nothing to decide."""
    reader = ByFields(Format("json", roles=ROLES))
    events, unread, _ = read({"ts": [1], "method": "GET", "path": "/"}, {"ts": AT}, b"{", reader=reader)
    assert (events, unread) == ([], ["no time in it", "no request in it", "no object of JSON"])
