"""What is said of a log on the command line: --pattern and --map."""

from __future__ import annotations

import pytest

from ratelimit.simulate.events import Event
from ratelimit.simulate.logs.guess import reader_of
from ratelimit.simulate.logs.own import MapError, Mapped, PatternError, mapping_of, pattern
from tests.simulate.logs.test_presets import AT, NGINX, read

LOG_FORMAT = (
    '$remote_addr - ${remote_user} [$time_local] "$request" $status $body_bytes_sent "$http_x_org" $request_time'
)
LINE = '192.0.2.7 - ana [02/Mar/2026:10:00:00 +0000] "GET /v2/a?x=1 HTTP/1.1" 200 51 "acme, \\"Inc\\"" 0.250'


def by_pattern(text: str, line: str, *mapped: str) -> list[Event]:
    unread: list[str] = []
    reader = reader_of(pattern(text), mapping_of(mapped))
    events = reader.read([line.encode()], 0, 1, lambda number, why, line: unread.append(why))
    assert unread == []
    return events


def test_log_format_of_nginx() -> None:
    """A line of nginx's own configuration is a pattern; any variable of it can be mapped."""
    [event] = by_pattern(LOG_FORMAT, LINE, "organization=$http_x_org")
    assert event == (AT - 250, 0, 1, 250, b"GET /v2/a", 200, (b"192.0.2.7", b"ana", b'acme, \\"Inc\\"'), None)


def test_method_and_path_apart() -> None:
    """They may stand apart, twice, and at the end of a line."""
    [event] = by_pattern("$msec|$request_method|$uri|$status|$status", "1772445600.250|GET|/v2/a?x=1|200|201")
    assert event[:6] == (AT + 250, 0, 1, 0, b"GET /v2/a", 200)
    [event] = by_pattern("$time_iso8601 $request_method $request_uri", "2026-03-02T10:00:00+00:00 GET /v2/a?x=1")
    assert event[4] == b"GET /v2/a"
    [event] = by_pattern("$msec $request_method $uri $status", "1772445600 GET /v2/a 200\r")
    assert event[5] == 200


def test_an_expression() -> None:
    """One with named groups is taken as it is: also with the instant at which a request ended."""
    text = r"(?P<time>\S+) (?P<ended>\S+) (?P<call>\S+ \S+) org=(?P<org>\S+)"
    [event] = by_pattern(text, "1772445600 1772445600.250 GET /v2/a org=acme", "organization=$org")
    assert event == (AT, 0, 1, 250, b"GET /v2/a", 0, (b"", b"", b"acme"), None)


@pytest.mark.parametrize("call", [r"(?P<call>GET \S+)?", r"(?P<method>GET)?(?P<path> \S+)?"])
def test_groups_that_need_not_be_there(call: str) -> None:
    """Where there is no request in a line it can't be read; whatever else is not there is not known."""
    optional = pattern(rf"(?P<time>\S+)(?: from (?P<ip>\S+))?(?: of (?P<org>\S+))? (?:{call})(?: (?P<status>\d+))?")
    unread: list[str] = []
    lines = [b"1772445600 GET /a", b"1772445600 of acme ?"]
    for mapped, who in ((["organization=$org"], (None, b"", None)), ([], b"")):
        reader = reader_of(optional, mapping_of(mapped))
        events = reader.read(lines, 0, 1, lambda number, why, line: unread.append(why))
        assert [event[5:7] for event in events] == [(0, who)]
    assert unread == ["no request in it"] * 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("(?P<time>", "--pattern is no regular expression: missing ), unterminated subpattern"),
        ("$remote_addr", "has no time and no call (GET /path), or method and path"),
        (r"(?P<time>\S+) (?P<request>.*)", "the request is the group call, as GET /path"),
    ],
)
def test_a_pattern_that_is_wrong(text: str, says: str) -> None:
    """It is said what is wrong with it."""
    with pytest.raises(PatternError) as error:
        pattern(text)
    assert says in str(error.value)


def test_mapped_fields_of_json() -> None:
    """Of an object any value can say who calls, also one deep within; numbers and nulls are as they are."""
    line = (
        '{"ts": 1772445600, "req": {"m": "GET", "to": "/é?x"}, "org": {"id": 7, "names": ["acme"]}, "plan": 1.5,'
        ' "x": null, "ms": 250, "list": []}'
    )
    where = {
        "method": "$.req.m",
        "path": "$.req.to",
        "duration_ms": "$.ms",
        "organization": "$.org.names[0]",
        "user": '$["org"]["id"]',
        "tier": "$plan",
        "application": "$.x.y",
        "shop": "$.list",
    }
    name, [event], unread = read([line], "json", **where)
    assert (name, unread) == ("json", [])
    assert event == (AT - 250, 3, 1, 250, b"GET /%C3%A9", 0, (b"", b"", "acme", 7, "1.5", None, None), None)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["organization"], '--map "organization": write field=$.path, field=$group or field=text'),
        (["=x"], "write field=$.path"),
        (["a=$.b", "a=$.c"], '--map names "a" twice'),
        (["method=GET"], "method is another one in each line; write method=$.path"),
        (["user=$.a["], "that is no path"),
        (["user=$[x]"], "that is no path"),
    ],
)
def test_a_mapping_that_is_wrong(texts: list[str], says: str) -> None:
    """It is said what is wrong with it, and how it is written."""
    with pytest.raises(MapError) as error:
        mapping_of(texts)
    assert says in str(error.value)


def test_what_a_format_does_not_have() -> None:
    """A field that is mapped to no group of the format is an error that names those that there are, and so is one of
    the request that only JSON can have elsewhere, and any of a log that says itself who called."""
    nginx = pattern(LOG_FORMAT)
    with pytest.raises(
        MapError, match=r'"\$org": pattern has no such group, only body_bytes_sent, http_x_org, ip, user'
    ):
        reader_of(nginx, mapping_of(["organization=$org"]))
    with pytest.raises(MapError, match="--map status: pattern is no JSON; write a --pattern that has this group"):
        reader_of(nginx, mapping_of(["status=$.code"]))
    with pytest.raises(MapError, match="a log of the limiter itself says who was calling"):
        read(['{"at": 1772445600000, "method": "GET", "path": "/"}'], "ratelimit", organization="$.org")


def test_constants() -> None:
    """What all lines have is no part of them."""
    assert mapping_of(["tier=gold", "user=$user"]) == Mapped({"user": "$user"}, {}, {"tier": "gold"})
    _, [event], _ = read([NGINX], user="$user")
    assert event[6] == (b"192.0.2.7", b"ana", b"ana")
