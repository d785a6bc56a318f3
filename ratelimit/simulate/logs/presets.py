"""The formats that are known by name. Of the variants of one the first that takes the most lines is the one."""

from __future__ import annotations

from ratelimit.simulate.logs.formats import Format

_CALL = rb'"(?P<call>[A-Za-z]+ [^ ?"]+)[^"]*"'
_COMBINED = rb"(?P<ip>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] " + _CALL + rb" (?P<status>\d{3}) \S+"
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'  # alternatives inside would take ten times as long
_AGENT = b" " + _TEXT + b" " + _TEXT
_SECONDS = rb"(?P<duration_s>\d+\.\d{3})"
_STAMP = rb"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|[+-]\d\d:?\d\d))?)"
_UVICORN = rb"(?P<ip>[^\s\"]{0,64}?)(?::\d+)? - " + _CALL + rb" (?P<status>\d{3})"

UNTIMED = rb"[A-Z]+:?\s+" + _UVICORN  # what uvicorn writes unless it is told

PRESETS: dict[str, tuple[Format, ...]] = {
    "traefik": (
        Format("traefik", _COMBINED + _AGENT + rb' \d+ "[^"]*" "[^"]*" (?P<duration_ms>\d+)ms', ends=False),
        Format(
            "traefik",
            roles=(
                *(("time", "$.StartUTC"), ("ip", "$.ClientHost"), ("user", "$.ClientUsername")),
                *(("method", "$.RequestMethod"), ("path", "$.RequestPath"), ("status", "$.DownstreamStatus")),
                ("duration_ns", "$.Duration"),
            ),
            ends=False,
        ),
    ),
    "nginx": (
        Format("nginx", _COMBINED + rb'.*\b(?:rt|request_time)[=:]"?' + _SECONDS),  # the last: an agent is before it
        Format("nginx", _COMBINED + _AGENT + rb'(?: "[^"]*"| \d+)? "?' + _SECONDS + rb"(?![\d.])"),
        Format("nginx", _COMBINED + rb'(?:.*" "?' + _SECONDS + rb'"?\r?\Z)'),
        Format("nginx", _COMBINED),
    ),
    "gunicorn": (
        Format("gunicorn", _COMBINED + _AGENT + rb" (?P<duration_s>\d+\.\d+)"),  # %(L)s
        Format("gunicorn", _COMBINED + _AGENT + rb" (?P<duration_us>\d+)\r?\Z"),  # %(D)s
        Format("gunicorn", _COMBINED),
    ),
    "alb": (
        Format(
            "alb",
            rb"(?:http|https|h2|grpc|grpcs|ws|wss) (?P<ended>\S+) \S+ (?P<ip>\S+):\d+ \S+ \S+ \S+ \S+"
            rb' (?P<status>\S+) \S+ \d+ \d+ "(?P<call>[A-Z]+ [^ ?"]+)[^"]*" ' + _TEXT + rb' \S+ \S+ \S+ "[^"]*"'
            rb' "[^"]*" "[^"]*" \S+ (?P<time>\S+)',
            ends=False,
        ),
    ),
    "cloudfront": (
        Format(
            "cloudfront",
            rb"(?P<time>\d{4}-\d\d-\d\d\t\d\d:\d\d:\d\d)\t[^\t]*\t[^\t]*\t(?P<ip>[^\t]+)\t(?P<method>[A-Z]+)\t[^\t]*"
            rb"\t(?P<path>[^\t]+)\t(?P<status>\d{3})(?:\t[^\t]*){9}\t(?P<duration_s>[\d.]+)",
        ),
    ),
    "uvicorn": (Format("uvicorn", rb'[^"]{0,100}?' + _STAMP + rb'[^"]{0,100}?[\s\])]' + _UVICORN),),
    "caddy": (
        Format(
            "caddy",
            roles=(
                *(("time", "$.ts"), ("ip", "$.request.client_ip"), ("ip", "$.request.remote_ip")),
                *(("user", "$.user_id"), ("method", "$.request.method"), ("path", "$.request.uri")),
                *(("status", "$.status"), ("duration_s", "$.duration")),
            ),
        ),
    ),
    "ratelimit": (Format("ratelimit", roles=(("recorded", "$.at"),), ends=False),),
    "json": (Format("json", roles=(("guessed", ""),)),),
}
