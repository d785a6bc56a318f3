"""What measures hand to the report, and back from results.json."""

from __future__ import annotations

from benchmarks.section import Figure, Plot, Section, Table, from_json, to_json


def test_round_trip() -> None:
    """results.json gives back the sections that were written, so that the report can be made from it again."""
    section = Section(
        "flood",
        "A flood",
        "In plain words.",
        [Table("Starlette", ["", "requests/s"], [["bare", 20_000], ["ratelimit", 19_000.5]], "3 rounds")],
        [
            Plot("bars", "Bars", "", "ms", "bars", {"FastAPI": [("bare", 1.5), ("ratelimit", 2)]}, "a note"),
            Plot("lines", "Lines", "connections", "ms", "lines", {"p50": [(1, 0.2), (64, 5.5)]}),
        ],
        [
            Figure("kept", ">= 0.9", 0.95, reached=True, note="best peer 0.4"),
            Figure("calls", "<= 1/16", "1/30", reached=True),
        ],
        {"bare": [{"rate": 1.5}]},
    )
    assert from_json(to_json([section, section])) == [section, section]


def test_a_section_may_be_short() -> None:
    """A section without tables, plots and figures comes back as one."""
    section = Section("parts", "Parts", "")
    assert from_json(to_json([section])) == [section]
