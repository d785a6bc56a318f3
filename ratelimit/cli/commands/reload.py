"""`ratelimit reload`: an edit of a policy file that running processes have refused, and an operator's word on it."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from ratelimit.cli.input.policies import FileArgument, called, policy_of
from ratelimit.cli.input.stores import StoreOption, with_store
from ratelimit.cli.output.console import say
from ratelimit.cli.output.exits import FINDINGS, FINE
from ratelimit.cli.output.formats import Format, FormatOption, annotate, emit_json
from ratelimit.reload import verdicts

EXAMPLES = """
  ratelimit reload ratelimit.toml
  ratelimit reload --accept ratelimit.toml
"""
_SAID = {
    "refused": "is refused: the processes that run stay with the policy before; --accept has them take it",
    "taken": "is in force, or was accepted",
    None: "nothing is known: no process has seen an edit to it within the last hour",
}

AcceptOption = Annotated[bool, typer.Option("--accept", help="Have it taken, whomever it denies.")]


def reload(
    file: FileArgument, accept: AcceptOption = False, store: StoreOption = None, output: FormatOption = Format.TEXT
) -> None:
    """Tell what running processes say of an edited policy file, or have them take it.

    They take an edit by themselves within 2 s, but for one that is invalid, and one that would newly deny more callers
    than it says itself, refuse_above under [reload]. What is accepted is the file as it is now, for a day: another edit
    is looked at again.
    """
    policy = policy_of(file)
    digest = policy.origin.rpartition("#")[2]
    if accept:
        with_store(policy, store, partial(verdicts.accept, digest=digest))
    verdict = "taken" if accept else with_store(policy, store, partial(verdicts.known, digest=digest))
    if accept:
        said = "is accepted: processes that have refused it take it within 2 s, and others until tomorrow"
    else:
        said = _SAID[verdict]
    if output is Format.JSON:
        emit_json("reload", {"file": called(file), "sha256": digest, "verdict": verdict, "accepted": accept})
    elif output is Format.GITHUB:
        annotate("error" if verdict == "refused" else "notice", f"{called(file)} {said}", file=called(file))
    else:
        say(f"{called(file)} (sha256 {digest[:12]}) {said}")
    raise typer.Exit(FINDINGS if verdict == "refused" else FINE)
