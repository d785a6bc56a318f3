"""The exit codes of every command."""

from __future__ import annotations

FINE = 0
FINDINGS = 1  # something is wrong, or would be denied: the answer is on standard output
USAGE = 2  # what was asked for can't be done: an option, or a file that can't be read. typer's own errors have it too
STORE = 3  # the store can't be reached
INTERRUPTED = 130  # by Ctrl-C, as shells have it


class Stopped(Exception):
    """A command can't go on: one sentence for standard error, and its exit code."""

    def __init__(self, sentence: str, code: int = USAGE) -> None:
        super().__init__(sentence)
        self.code = code
