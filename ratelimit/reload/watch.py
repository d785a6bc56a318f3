"""A policy file that is watched: seen to change, read when it stands still, held against the callers of late, put in
force. One watch a file, for all middlewares of a process that were given its path."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any
from weakref import WeakSet, WeakValueDictionary

from ratelimit.ground.loops import in_children
from ratelimit.ground.tracebacks import without_locals
from ratelimit.policy import Policy
from ratelimit.reload import file, telling, verdicts
from ratelimit.reload.callers import Callers
from ratelimit.reload.effect import Effect, effect
from ratelimit.reload.file import Looks, Reader, Seen, digest_of
from ratelimit.reload.following import Follower, Limiter
from ratelimit.reload.ticking import Ticking
from ratelimit.reload.verdicts import Edit, Prepared, Verdict
from ratelimit.routes.routed import WrongLimits
from ratelimit.switch import mode

ASKED = 1.0  # seconds between two looks whether a refused file was accepted


class Watch:
    """`look` and `read` are those of file.py, `clock` is in seconds."""

    def __init__(
        self,
        path: str,
        look: Callable[[str], Seen | None] = file.look,
        read: Callable[[str], tuple[bytes, Seen | None]] = file.read,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.path = path
        self.callers = Callers(clock)
        self._looks = Looks(path, look, read, clock)
        self._reader = Reader()
        self._clock = clock
        self._lock = threading.Lock()
        self._followers: WeakSet[Follower] = WeakSet()
        self._known = ""  # the digest of what was read last, and was dealt with
        self._said = ""  # what is wrong, or the digest of the content with which something is
        self._edit: Edit | None = None

    def follow(self, limiter: Limiter, digest: str) -> Follower:
        follower = Follower(limiter, self, digest)
        with self._lock:
            self._followers.add(follower)
        self._looks.again()  # it may have loaded another content than what was read last
        self._known = ""
        return follower

    def begin(self) -> None:
        _ticking.add(self)

    def forked(self) -> None:
        self._lock, self.callers, self._reader = threading.Lock(), Callers(self._clock), Reader()
        for follower in self._all():
            follower.forked()

    def wanted(self) -> bool:
        wanted = bool([one for one in self._all() if one.wanted()])
        if not wanted:
            self._reader.end()
        return wanted

    def step(self) -> None:
        """Twice a second, on a thread of its own. What goes wrong here costs no request."""
        try:
            for follower in self._all():
                follower.tick()
            self.callers.forget()
            self._look()
            if self._edit:
                self._decide(self._edit)
        except Exception as error:  # noqa: BLE001 - the thread is that of all files
            if self._is_news(str(type(error))):
                telling.failed(self.path)

    @without_locals
    def _look(self) -> None:
        was_gone = self._looks.gone
        raw = self._looks.next()
        if was_gone != self._looks.gone:
            (telling.gone if self._looks.gone else telling.back)(self.path)
        if self._looks.grows:
            self._reader.begin()
            return
        try:
            if raw is not None:
                self._content(raw, digest_of(raw))
        finally:
            self._reader.end()

    def _content(self, raw: bytes, digest: str) -> None:
        if digest == self._known:
            return
        begins, self._known = not self._known, digest
        behind = [follower for follower in self._all() if follower.digest != digest]
        edit, self._edit = self._edit, None
        if not behind:
            self._said = ""
            telling.in_force(self.path, digest)
            if edit:
                telling.as_before(self.path)
            elif begins and verdicts.of_others(self._all(), lambda store: verdicts.known(store, digest)) == "refused":
                telling.began_with_refused(self.path, digest)
            return
        try:
            policy = self._reader.policy_in(raw, self.path)
            prepared = [(one, made) for one in behind if (made := one.prepared(policy)) is not None]
            if prepared:
                self._edit = self._judged(digest, policy, prepared)
        except (ValueError, TypeError, WrongLimits) as error:
            if self._is_news(digest):
                telling.invalid(self.path, digest, error)

    def _judged(self, digest: str, policy: Policy, prepared: Sequence[Prepared]) -> Edit:
        edit = Edit(digest, policy, prepared, Effect(), "taken")
        if edit.refuse_above < 1 and mode() != "off":
            follower, made = prepared[0]
            found = effect(self.callers.of_late(), follower.limiter.policy, made.policy, self.callers.now_ms)
            edit.effect = found
            edit.own = None if not found.callers else "refused" if found.share > edit.refuse_above else "taken"
        return edit

    def _decide(self, edit: Edit) -> None:
        now = self._clock()
        if now < edit.ask_at:
            return
        edit.asked += 1
        if edit.refused or edit.before:
            edit.ask_at = now + ASKED
            said = verdicts.of_others(self._all(), lambda store: verdicts.known(store, edit.digest))
            self._hear(edit, said, now)
            return
        shared = verdicts.of_others(self._all(), lambda store: verdicts.first(store, edit.digest, edit.own), tell=True)
        alone = shared is None and edit.own is None and verdicts.store_of(self._all()) is not None
        if alone and edit.asked == 1:
            return  # who knows no callers leaves the first word to others
        if (shared or edit.own or "taken") == "taken":
            before = [(follower, follower.limiter, follower.digest) for follower, _ in edit.prepared]
            self._put(edit)
            if alone:
                self._edit, edit.before, edit.until, edit.ask_at = edit, before, now + verdicts.LATE, now + ASKED
            return
        self._refuse(edit, by_others=edit.own != "refused")

    def _hear(self, edit: Edit, said: Verdict | None, now: float) -> None:
        """What others say of one that is refused, or that was taken by who knew nobody."""
        if edit.refused:
            if said == "taken":
                self._put(edit, ", as it was accepted")
        elif said == "refused":
            for follower, limiter, digest in edit.before:
                follower.put(limiter, digest)
                telling.in_force(self.path, digest)
            edit.before = ()
            self._refuse(edit, by_others=True)
        elif said == "taken" or now >= edit.until:
            self._edit = None

    def _refuse(self, edit: Edit, *, by_others: bool) -> None:
        edit.refused = True
        if self._is_news(edit.digest):
            telling.refused(self.path, edit.digest, edit.effect, edit.refuse_above, by_others=by_others)

    def _is_news(self, digest: str) -> bool:
        """What is wrong with a content is told once, until it is another one."""
        before, self._said = self._said, digest
        return before != digest

    def _all(self) -> list[Follower]:
        with self._lock:  # another thread may add one meanwhile
            return list(self._followers)

    def _put(self, edit: Edit, why: str = "") -> None:
        self._edit, self._said = None, ""
        for follower, limiter in edit.prepared:
            verdicts.ask_operators(follower, limiter)
            follower.put(limiter, edit.digest)
        telling.in_force(self.path, edit.digest)
        telling.taken(self.path, edit.digest, edit.effect, why)
        telling.what_waits(self.path, edit.prepared[0][1].policy, edit.policy)


def follow(limiter: Limiter, policy: Policy, path: Any) -> Follower | None:
    """Of a middleware that was given the path of a file; None where that does not want to be watched."""
    if not policy.reload.watch:
        return None
    where = os.path.abspath(os.fspath(path))  # noqa: PTH100 - of the links in it, any may lead elsewhere later
    watch = _watches.get(where)
    if watch is None:
        watch = _watches[where] = Watch(where)
    return watch.follow(limiter, policy.origin.rpartition("#")[2])


def _forked() -> None:
    _ticking.forked()
    for watch in list(_watches.values()):
        watch.forked()


_ticking = Ticking()
_watches: WeakValueDictionary[str, Watch] = WeakValueDictionary()
in_children(_forked)
