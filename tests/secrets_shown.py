"""What a reporter of errors would show of a secret: in the frames of an error and of those behind it, and in reprs."""

from __future__ import annotations

import gc
import traceback
from pathlib import Path
from types import ModuleType

TESTS = str(Path(__file__).parent)


def in_frames(error: BaseException, secret: str) -> list[str]:
    """The texts and the locals with a secret in them, but for frames of tests: these are the caller's own."""
    shown = []
    behind = [traceback.TracebackException.from_exception(error, capture_locals=True)]
    while behind:
        one = behind.pop()
        if secret in str(one):
            shown.append(str(one))
        for frame in one.stack:
            if not frame.filename.startswith(TESTS):
                for name, text in (frame.locals or {}).items():
                    if secret in text:
                        shown.append(f"{frame.filename}:{frame.lineno} {frame.name}: {name} = {text}")
        behind += [other for other in (one.__cause__, one.__context__, *(one.exceptions or ())) if other]
    return shown


def in_reprs(root: object, secret: str) -> tuple[int, list[str]]:
    """How many objects of ratelimit's own classes can be reached from one, and those whose repr has a secret."""
    seen: dict[int, object] = {}
    ahead = [root]
    while ahead:
        one = ahead.pop()
        if id(one) not in seen and not isinstance(one, ModuleType | type):
            seen[id(one)] = one
            ahead += [other for other in gc.get_referents(one) if not _is_global(other)]
    ours = [one for one in seen.values() if type(one).__module__.partition(".")[0] == "ratelimit"]
    return len(ours), [f"{type(one).__name__}: {one!r}" for one in ours if secret in repr(one)]


def _is_global(one: object) -> bool:
    """The names of a module, which every function has: from there all of Python can be reached."""
    return isinstance(one, dict) and "__name__" in one
