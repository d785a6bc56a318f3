"""A denied caller who does not stop: what the 429s cost, against the answers of the bare app."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import median

from benchmarks import check
from benchmarks.candidates import BARE, HEADERS
from benchmarks.rounds import CONNECTIONS, Outcome, run, up
from benchmarks.section import Cell, Figure, Section, Table

ROUNDS = {"short": 3, "full": 15}
SECONDS = {"short": 2, "full": 10}
ALLOWED = 10  # requests a minute

RATE = 0.9  # of the bare app's requests a second
COMMANDS = 0.001  # a request: none but for a look a second at what Redis says

TEXT = f"""\
One caller of {ALLOWED} requests a minute asks the Starlette app as fast as it can over {CONNECTIONS} connections;
what it gets is a 429 with all its headers and a body. Beside it, in the same round, the answers of the bare app to
as many connections; which of the two is first alternates."""

COLUMNS = ("", "requests/s", "of the bare app's", "least", "most", "server, µs/request", "commands/request")


def measure(*, short: bool) -> Section:
    form = "short" if short else "full"
    flooding = replace(HEADERS, callers=1)
    shares = check.client_shares(flooding, "starlette")
    bare, flood = [], []
    with up(BARE, "starlette") as plain, up(flooding, "starlette", rate=ALLOWED) as flooded:
        for number in range(ROUNDS[form]):
            print(f"flood: round {number + 1} of {ROUNDS[form]}", file=sys.stderr)
            for one in (plain, flooded) if number % 2 == 0 else (flooded, plain):
                if one is plain:
                    bare.append(run(plain, SECONDS[form]))
                else:
                    flood.append(_silent(run(flooded, SECONDS[form], shares, allowed=ALLOWED)))
            flood[-1] = replace(flood[-1], kept=flood[-1].rate / bare[-1].rate)
    rate, commands = median(one.kept for one in flood), median(one.commands for one in flood)
    rows = [_row("bare app, 200", bare), _row("ratelimit, 429", flood)]
    what = "flood of a denied caller"
    figures = [
        Figure(f"{what}: requests a second / bare Starlette app", f">= {RATE}", round(rate, 3), rate >= RATE),
        Figure(f"{what}: Redis commands", "0", round(commands, 5), commands <= COMMANDS, f"0 is: at most {COMMANDS}"),
    ]
    raw = {"bare": [asdict(one) for one in bare], "flood": [asdict(one) for one in flood]}
    note = f"{ROUNDS[form]} rounds, runs of {SECONDS[form]} s."
    return Section(
        "flood", "A flood of denied requests", TEXT, [Table("Starlette", COLUMNS, rows, note)], [], figures, raw
    )


def _silent(one: Outcome) -> Outcome:
    """Raises RuntimeError if the app had something to say: wrk can't tell a 503, for want of the store, from a 429."""
    if one.complaint:
        raise RuntimeError(f"{HEADERS.name} wrote during the flood: {one.complaint}")
    return one


def _row(name: str, runs: Sequence[Outcome]) -> list[Cell]:
    kept = [one.kept for one in runs]
    cells: list[Cell] = [name, round(median(one.rate for one in runs))]
    cells += [round(value, 2) for value in (median(kept), min(kept), max(kept))]
    return [*cells, round(median(one.server_us for one in runs)), round(median(one.commands for one in runs), 5)]
