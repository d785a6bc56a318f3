"""Whatever is in a log: each line is a request or is counted as one that can't be read, and nothing is an error."""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ratelimit.simulate.logs.formats import Format
from ratelimit.simulate.logs.guess import format_of
from ratelimit.simulate.logs.own import mapping_of
from ratelimit.simulate.logs.sources import Source
from ratelimit.simulate.run import PolicyText, Share, Task
from tests.simulate.logs.test_presets import LINES
from tests.simulate.test_equals_the_middleware import SLOTS, STATUSES

HOSTILE = [
    "\x1b[31m",
    "<img src=x onerror=alert(1)>",
    "\ud800",
    "\x00",
    "'; --",
    "%00",
    "..%2f",
    "9" * 400,
    "\u2028",
    " ",
    "{}",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(HOSTILE),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """A line of a real server, and others that somebody has changed in some place."""
    name, line, _ = LINES[draw(st.sampled_from(sorted(LINES)))]
    lines = [line.encode()]
    for _ in range(draw(st.integers(1, 4))):
        changed = bytearray(lines[0])
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(changed)))
            until = draw(st.integers(at, min(len(changed), at + 9)))
            inside = st.binary(max_size=9) | st.sampled_from(
                [text.encode("utf-8", "surrogatepass") for text in HOSTILE]
            )
            changed[at:until] = draw(inside)
        lines.append(bytes(changed))
    return name, lines


@st.composite
def objects(draw: st.DrawFn) -> list[bytes]:
    """Objects as a log of our own has them, with whatever values."""
    names = [
        "at",
        "took",
        "method",
        "path",
        "status",
        "operation",
        "units",
        "organization",
        "user",
        "api_key",
        "ip",
        "tier",
    ]
    names += ["attributes", "lost", "declared", "application"]
    usual = {"at": 1_772_445_600_000, "took": 5, "method": "GET", "path": "/", "ip": "192.0.2.7", "tier": "retail"}
    return [
        json.dumps({**usual, **draw(st.dictionaries(st.sampled_from(names), json_values, max_size=3))}).encode()
        for _ in range(draw(st.integers(1, 4)))
    ]


def run(of: Format, data: list[bytes], maps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log, out = Path(folder) / "log", Path(folder) / "verdicts"
        log.write_bytes(b"\n".join(data))
        with closing(Source(str(log))) as source:
            task = Task(PolicyText(SLOTS, "p"), (str(log),), (of,), mapped=mapping_of(maps), verdicts=str(out))
            other = PolicyText(STATUSES, "o")
            summary = Share(Task(task.policy, task.files, task.formats, other=other), sources=[source]).run().summary
        with closing(Source(str(log))) as source:
            again = Share(task, sources=[source]).run().summary
        verdicts = [json.loads(line) for line in out.read_text(encoding="ascii").splitlines()]
    assert summary.understood == again.understood == len(verdicts)
    assert all(text.isprintable() for _, _, why, shown in summary.samples for text in (why, shown))
    assert all(line.isprintable() for line in again.told)


@settings(max_examples=40)
@given(mutated())
def test_changed_lines(case: tuple[str, list[bytes]]) -> None:
    """Lines of each server with anything in any place of them."""
    name, data = case
    of = format_of("log", data[:1], mapping_of([]))
    assert of is not None
    maps = (
        []
        if name == "ratelimit"
        else ["organization=$.request.headers", "registers=$.size"]
        if of.roles
        else ["user=$user"]
    )
    maps = [one for one in maps if of.roles or "user" in of.groups]
    run(of, data, maps)


@settings(max_examples=40)
@given(objects())
@example([json.dumps({"at": 2**53 - 1, "took": 2**60, "method": "GET", "path": "/", "units": 2**60}).encode()])
@example([json.dumps({"at": 10**12, "method": "GET", "path": "/", "operation": "·", "units": -5}).encode()])
def test_objects(data: list[bytes]) -> None:
    """Logs of our own with any value in any field."""
    run(Format("ratelimit", roles=(("recorded", "$.at"),), ends=False), data, [])
