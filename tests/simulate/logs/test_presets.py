"""What each server writes is known for what it is, and read."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimit.simulate.events import Event
from ratelimit.simulate.logs.guess import format_of, reader_of
from ratelimit.simulate.logs.own import Mapped, mapping_of
from ratelimit.simulate.logs.sources import LogError

AGENT = '"Mozilla/5.0 (X11; \\"Linux\\")"'
AT = 1_772_445_600_000  # 2026-03-02T10:00:00Z
NGINX = f'192.0.2.7 - ana [02/Mar/2026:10:00:00 +0000] "GET /v2/a?x=1 HTTP/1.1" 200 51 "https://example.com/" {AGENT}'
ALB = (
    "https 2026-03-02T10:00:00.750000Z app/lb/50dc6c495c0c9188 192.0.2.7:2817 10.0.0.1:80 0.000 0.741 0.000"
    ' 200 200 34 366 "GET https://www.example.com:443/v2/a?x=1 HTTP/1.1" "curl/7.46.0" ECDHE-RSA TLSv1.2'
    " arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/t/73e2d6bc24d8a067"
    ' "Root=1-58337262-36d228ad5d99923"'
    ' "www.example.com" "arn:aws:acm:us-east-2:123456789012:certificate/12345678" 0'
    ' 2026-03-02T10:00:00.000000Z "forward"'
    ' "-" "-" "10.0.0.1:80" "200" "-" "-"'
)
CLOUDFRONT = (
    "2026-03-02\t10:00:00\tLAX1\t2390282\t192.0.2.7\tGET\td111111abcdef8.cloudfront.net\t/v2/a\t200\t-\tMozilla/5.0\tx=1\t-"
    "\tHit\tSOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ==\td111111abcdef8.cloudfront.net\thttps\t23\t0.250\t-"
)
CADDY = (
    '{"level":"info","ts":1772445600.25,"logger":"http.log.access","msg":"handled'
    ' request","request":{"remote_ip":"10.0.0.1",'
    '"remote_port":"1","client_ip":"192.0.2.7","proto":"HTTP/2.0","method":"GET","host":"localhost","uri":"/v2/a?x=1",'
    '"headers":{"User-Agent":["curl/7.82.0"]}},"bytes_read":0,"user_id":"","duration":0.25,"size":10900,"status":200}'
)
TRAEFIK_JSON = (
    '{"ClientAddr":"192.0.2.7:1","ClientHost":"192.0.2.7","ClientUsername":"-",'
    '"DownstreamStatus":200,"Duration":250000000,'
    '"RequestMethod":"GET","RequestPath":"/v2/a?x=1","StartUTC":"2026-03-02T10:00:00.000000001Z",'
    '"time":"2026-03-02T10:00:00Z"}'
)
CALL = b"GET /v2/a"
IP = b"192.0.2.7"

# format, line, (at, took, call, status, who)
LINES: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "nginx, combined": ("nginx", NGINX, (AT, 0, CALL, 200, (IP, b"ana"))),
    "nginx, nobody": ("nginx", NGINX.replace("ana", "-"), (AT, 0, CALL, 200, IP)),
    "nginx, its request_time": ("nginx", f"{NGINX} 0.250", (AT - 250, 250, CALL, 200, (IP, b"ana"))),
    "nginx, behind X-Forwarded-For": ("nginx", f'{NGINX} "-" 0.250 0.249', (AT - 250, 250, CALL, 200, (IP, b"ana"))),
    "nginx, rt=": ("nginx", f'{NGINX} "-" urt="0.001" rt=0.250', (AT - 250, 250, CALL, 200, (IP, b"ana"))),
    "nginx, an agent that names a time": (
        "nginx",
        NGINX.replace("curl", "rt=3000000.000 curl").replace("Mozilla", "rt=3000000.000 Mozilla") + " rt=0.250",
        (AT - 250, 250, CALL, 200, (IP, b"ana")),
    ),
    "nginx, ingress of Kubernetes": (
        "nginx",
        f"{NGINX} 457 0.250 [default-api-80] [] 10.1.2.3:8080 51 0.249 200 8f2c0a1b",
        (AT - 250, 250, CALL, 200, (IP, b"ana")),
    ),
    "nginx, last of all": ("nginx", f'{NGINX} 17 "-" "0.250"', (AT - 250, 250, CALL, 200, (IP, b"ana"))),
    "nginx, another zone": (
        "nginx",
        NGINX.replace("10:00:00 +0000", "15:30:00 +0530"),
        (AT, 0, CALL, 200, (IP, b"ana")),
    ),
    "nginx, escapes": ("nginx", NGINX.replace("/v2/a", r"/v2/\x22\x5C"), (AT, 0, b'GET /v2/"\\', 200, (IP, b"ana"))),
    "nginx, IPv6": ("nginx", NGINX.replace("192.0.2.7", "2001:db8::7"), (AT, 0, CALL, 200, (b"2001:db8::7", b"ana"))),
    "traefik": (
        "traefik",
        f'{NGINX} 12 "api@docker" "http://10.0.0.9:80" 250ms',
        (AT, 250, CALL, 200, (IP, b"ana")),
    ),
    "traefik, JSON": ("traefik", TRAEFIK_JSON, (AT, 250, CALL, 200, IP)),
    "gunicorn, as nginx": ("nginx", NGINX, (AT, 0, CALL, 200, (IP, b"ana"))),
    "alb": ("alb", ALB, (AT, 750, b"GET https://www.example.com:443/v2/a", 200, IP)),
    "cloudfront": ("cloudfront", CLOUDFRONT, (AT - 250, 250, CALL, 200, IP)),
    "uvicorn, with a time": (
        "uvicorn",
        '2026-03-02 10:00:00,250 INFO:     192.0.2.7:61234 - "GET /v2/a?x=1 HTTP/1.1" 200 OK',
        (AT + 250, 0, CALL, 200, IP),
    ),
    "uvicorn, its time behind": (
        "uvicorn",
        'INFO [2026-03-02T10:00:00Z] 192.0.2.7:61234 - "GET /v2/a?x=1 HTTP/1.1" 200',
        (AT, 0, CALL, 200, IP),
    ),
    "caddy": ("caddy", CADDY, (AT, 250, CALL, 200, IP)),
    "ratelimit": (
        "ratelimit",
        '{"at":1772445600000,"took":250,"method":"GET","path":"/v2/a","status":200,"operation":"search",'
        '"ip":"192.0.2.7"}',
        (AT, 250, CALL, 200, (("ip", "192.0.2.7"),)),
    ),
    "JSON, of any app": (
        "json",
        '{"time":"2026-03-02T10:00:00.250Z","client_ip":"192.0.2.7","method":"GET","path":"/v2/a",'
        '"status":"200","took":250}',
        (AT, 250, CALL, 200, IP),
    ),
    "JSON, nginx' own": (
        "json",
        '{"msec":"1772445600.250","remote_addr":"192.0.2.7","remote_user":"ana","request":"GET /v2/a?x=1 HTTP/1.1",'
        '"status":200,"request_time":"0.250"}',
        (AT, 250, CALL, 200, (IP, b"ana")),
    ),
}


def read(lines: list[str], name: str | None = None, **said: str) -> tuple[str, list[Event], list[tuple[int, str]]]:
    """By the look of them: the format, the requests, and what could not be read."""
    mapped = mapping_of([f"{field}={where}" for field, where in said.items()])
    data = [line.encode() for line in lines]
    of = format_of("access.log", data, mapped, name)
    assert of is not None
    unread: list[tuple[int, str]] = []
    events = reader_of(of, mapped).read(data, 3, 1, lambda number, why, line: unread.append((number, why)))
    return of.name, events, unread


@pytest.mark.parametrize("case", LINES)
def test_each_server(case: str) -> None:
    """The look of a line tells which server wrote it; its instant of arrival is its time, less what it took where the
    server writes at the end."""
    name, line, (at, took, call, status, who) = LINES[case]
    found, events, unread = read([line])
    assert (found, unread) == (name, [])
    assert [event[:7] for event in events] == [(at, 3, 1, took, call, status, who)]


@pytest.mark.parametrize(
    ("tail", "took"), [(" 0.2500", 250), (" 250000", 250), ("", 0)], ids=["%(L)s", "%(D)s", "without"]
)
def test_gunicorn(tail: str, took: int) -> None:
    """gunicorn looks as nginx does; said by name, what it took is read in its own units."""
    name, events, _ = read([NGINX + tail], "gunicorn")
    assert (name, events[0][3]) == ("gunicorn", took)


def test_the_most_lines_tell() -> None:
    """Lines that another program has written into the log do not hide what it is of."""
    name, events, unread = read(["starting", *[f"{NGINX} 0.250"] * 3, '{"a": 1}'])
    assert (name, len(events), unread) == ("nginx", 3, [(1, "not of this format"), (5, "not of this format")])


def test_what_is_no_request() -> None:
    """A line of nginx without a request, as of a handshake of TLS on a plain port, says so; a comment and an empty line
    say nothing."""
    tls = NGINX.replace("GET /v2/a?x=1 HTTP/1.1", r"\x16\x03\x01")
    none = NGINX.replace("GET /v2/a?x=1 HTTP/1.1", "-")
    no_time = NGINX.replace("02/Mar/2026", "32/Mar/2026")
    _, events, unread = read([NGINX, "#Fields: x", "", tls, none, no_time, NGINX + "x" * 70_000])
    assert len(events) == 1
    assert unread == [(4, "no request in it"), (5, "no request in it"), (6, "no time in it"), (7, "above 64 kB")]


@pytest.mark.parametrize(
    ("lines", "name", "says"),
    [
        (["hello", "world"], None, "none of the first 2 lines of access.log is of a format that is known; say which"),
        ([NGINX], "alb", "none of the first 1 lines of access.log is of the format alb"),
        (["\x00\x01ELF"], None, "access.log is binary, no log of requests"),
        (['INFO:     127.0.0.1:1 - "GET / HTTP/1.1" 200 OK'], None, "has no times, as uvicorn writes it"),
        (
            ['{"method": "GET", "path": "/", "\\u001b[31m": 1}'],
            None,
            "without a known field for time; say it as in --map",
        ),
        (['{"ts": 1, "msg": "x"}'], None, "without a known field for method and path"),
        (['{"ts": "soon", "method": "GET", "path": "/"}'], None, "without a known field for time"),
    ],
)
def test_what_is_none_of_them(lines: list[str], name: str | None, says: str) -> None:
    """It is said in a sentence, with what to do, and nothing in it is what a terminal obeys."""
    with pytest.raises(LogError) as error:
        format_of("access.log", [line.encode() for line in lines], Mapped(), name)
    assert says in str(error.value)
    assert str(error.value).isprintable()


def test_no_line_is_no_format() -> None:
    """Of a log without lines nobody can say which it is."""
    assert format_of("access.log", [b"", b"# nothing"], Mapped()) is None
