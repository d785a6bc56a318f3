"""`ratelimit explain`: who a caller is taken for, what a call is, which limits count it, and what they would say."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from ratelimit.cli.input.apps import AppOption, app_of
from ratelimit.cli.input.callers import IdentityOption, KeyOption, caller_of
from ratelimit.cli.input.instants import AtOption, at_ms
from ratelimit.cli.input.policies import FileArgument, called, policy_of, read_once
from ratelimit.cli.input.stores import ReadOption, with_store
from ratelimit.cli.output.console import say, show_table, unlogged
from ratelimit.cli.output.exits import FINDINGS, Stopped
from ratelimit.cli.output.formats import Format, FormatOption, annotate, emit_json
from ratelimit.explanation.limits import steps
from ratelimit.explanation.operation import WrongCall
from ratelimit.explanation.told import as_json, decided, sentences
from ratelimit.explanation.verdict import Verdict, verdict_of
from ratelimit.explanation.whole import Explanation
from ratelimit.explanation.whole import explain as explained
from ratelimit.ground.times import instant
from ratelimit.ground.words import listed
from ratelimit.policy.keys import caller as called_by

EXAMPLES = """
  ratelimit explain ratelimit.toml --key - GET /v2/invoices/7 < key.txt
  ratelimit explain ratelimit.toml --identity user=ana POST /v2/invoices
  ratelimit explain api.toml --identity ip=192.0.2.7 GET / --store default
"""

MethodArgument = Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST, …, or WEBSOCKET for a handshake.")]
PathArgument = Annotated[str, typer.Argument(metavar="PATH", help="As the client sends it: /v2/invoices/7")]


def explain(
    file: FileArgument,
    method: MethodArgument,
    path: PathArgument,
    key: KeyOption = None,
    identity: IdentityOption = None,
    at: AtOption = None,
    app: AppOption = None,
    store: ReadOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Explain one call: who its caller is taken for, what it is, and each limit that counts it.

    Nothing is charged. With --store it is said what is left, and what would be decided now: exit 1 is a denial.
    """
    read_once(file, key)
    policy = policy_of(file)
    now = at_ms(at)
    caller = caller_of(policy, key, identity, method, path)
    known = None if app is None else app_of(app, policy)
    try:
        with unlogged():
            found = explained(policy, caller, method, path, now, known)
    except WrongCall as error:
        raise Stopped(str(error)) from None
    verdict = None
    if store is not None:
        if not caller.placed and caller.identity.root[0] == "ip":
            raise Stopped("this caller is counted by its address, which is not known: add --identity ip=…")
        verdict = with_store(policy, store, partial(verdict_of, charges=found.charges))
    if output is Format.JSON:
        emit_json("explain", as_json(found, verdict, policy.store.prefix))
    elif output is Format.GITHUB:
        for sentence in sentences(found, verdict):
            annotate("notice" if verdict is None or verdict.allowed else "warning", sentence, file=called(file))
    else:
        _tell(found, verdict, policy.store.prefix, moved=at is not None)
    if verdict is not None and not verdict.allowed:
        raise typer.Exit(FINDINGS)


def _tell(found: Explanation, verdict: Verdict | None, prefix: str, *, moved: bool) -> None:
    caller, call = found.caller, found.call
    say(f"The caller is {called_by(caller.identity)}, tier {caller.tier}.", "bold")
    for sentence in caller.why:
        say(f"  {sentence}")
    if not caller.placed and caller.identity.root[0] == "ip":
        say("  its address is not given, and 127.0.0.1 stands for it: --identity ip=… says it")
    say(f"{call.method} {call.path} is {call.operation or 'exempt from every limit'}.", "bold")
    for sentence in call.why:
        say(f"  {sentence}")
    _tell_limits(found, verdict, prefix, f", as of {instant(found.at_ms)}" if moved else "")
    if verdict is not None:
        clock = f" (as of {instant(verdict.now_ms)}, the store's clock)" if moved else ""
        say(f"{decided(verdict).capitalize()}{clock}.", "bold green" if verdict.allowed else "bold red")


def _tell_limits(found: Explanation, verdict: Verdict | None, prefix: str, when: str) -> None:
    if found.limits:
        say(f"It is counted by{when}:", "bold")
        _limits(found, verdict)
    elif found.call.operation is not None:
        say("No limit counts it.", "bold")
    for one in found.limits:
        say(f"  {one.limit.name} is counted in {prefix}:{one.key}")
        if one.without:
            say(f"    without {listed(one.without)}, which is not said of this caller")
        for since, allows in steps(one):
            say(f"    from {instant(since)} on it allows {allows}")
    for other in found.others:
        say(f"  not by {other.name}: {other.why}")


def _limits(found: Explanation, verdict: Verdict | None) -> None:
    columns: tuple[str, ...] = ("limit", "allows", "cost", "mode", "why")
    rows: list[tuple[object, ...]] = [
        (one.limit.name, one.allows, one.charge.cost, one.mode, one.why) for one in found.limits
    ]
    if verdict is not None:
        columns = (*columns[:4], "used", "left", columns[4])
        rows = [(*row[:4], one.used, one.left, row[4]) for row, one in zip(rows, verdict.usage, strict=True)]
    show_table(columns, rows)
