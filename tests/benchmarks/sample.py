"""Results as a run would write them, with made-up numbers."""

from __future__ import annotations

from benchmarks.candidates import REDIS
from benchmarks.lone import DECISION
from benchmarks.rounds import Outcome
from benchmarks.section import Figure, Plot, Section, Table


def sections() -> list[Section]:
    return [throughput(), latency(), script()]


def throughput() -> Section:
    runs = [{"rate": rate, "scripts": 1 / 32, "redis_us": 7.0} for rate in (5_000.0, 5_200.0, 9_000.0)]
    kept = {"FastAPI": [("ratelimit", 0.93), ("slowapi", 0.21)], "FastAPI (least)": [("ratelimit", 0.9)]}
    return Section(
        "throughput",
        "Throughput",
        "What was done.",
        [
            Table(
                "FastAPI",
                ["", "kept", "requests/s"],
                [["ratelimit | ours", 0.93, 5200], ["slowapi", 0.21, 1200]],
                "A note.",
            )
        ],
        [Plot("kept", "Throughput <kept>", "", "share", "bars", kept, "Of a plot.")],
        [Figure("kept", ">= 0.92", 0.93, True), Figure("calls", "<= 1/16", "1/8", False, "too many")],
        {framework: {REDIS.name: runs} for framework in ("fastapi", "starlette")},
    )


def latency() -> Section:
    rows = [["a PING", 90.0, 1.0], [DECISION, 120.0, 1.3]]
    lines = {"bare": [(1, 0.2), (64, 9.0)], "ratelimit": [(64, 10.0), (1, 0.3)]}
    plot = Plot("latency", "Latency", "connections", "ms", "lines", lines)
    return Section("latency", "Latency", "", [Table("Alone", ["", "µs", "PINGs"], rows)], [plot])


def script() -> Section:
    return Section("script", "Redis time", "", raw={"valkey": {"1": 11.0, "32": 5.8}})


def outcome(rate: float, kept: float = 1.0, *, commands: float = 0.0, complaint: str = "") -> Outcome:
    """One run; with so many commands a request, half of them script calls, or without a Redis."""
    return Outcome(rate, kept, rate / 100, commands > 0, commands * 10, commands, commands / 2, complaint)
