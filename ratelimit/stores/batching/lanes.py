"""Which waiting calls go together in a script call: those of a slot; on a single node all are in one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from ratelimit.stores.batching.batch import Batch
from ratelimit.stores.batching.callers import SentTerms
from ratelimit.stores.batching.pending import Again, Pending, fail
from ratelimit.stores.connection.inflight import Done, unheard
from ratelimit.stores.connection.socket import ASKING, Reply
from ratelimit.stores.lua.scripts import Scripts


class Lanes:
    """Of one node. While a slot is on its way to another node, each of its callers has a script call of its own: the
    keys of one may have gone and those of another not. `new_batch` is called with whether it is for a slot that the
    node does not have yet."""

    def __init__(self, new_batch: Callable[[bool], Batch]) -> None:
        self._new_batch = new_batch
        self._moving: set[int] = set()

    def moves(self, slot: int) -> None:
        self._moving.add(slot)

    def settle(self) -> None:
        """As far as is known no slot is on its way."""
        self._moving.clear()

    def fill(self, waiting: deque[Pending], most: int) -> set[Batch]:
        """Take at most so many calls out of those that wait, first come first served; fewer where each is more work."""
        if alike := self._alike(waiting, most):
            return {alike}
        batches: dict[object, Batch] = {}
        # Of the latest, if who comes next may be like it; then most of what is looked at was just seen.
        slot, term_set, weight = -1, None, 0
        calls, keys, terms = list[Pending](), list[bytes](), list[SentTerms]()
        room, next_of = most, waiting.popleft
        while waiting and room > 0:
            result, caller, _, extras = call = next_of()
            if result.done():  # nobody waits for it any more: it would be charged for nothing
                continue
            if caller.term_set is term_set and caller.slot == slot and not (extras or caller.special):
                calls.append(call)
                keys.append(caller.keys)
                terms.append(term_set)
            else:
                batch = self._batch_of(call, batches)
                if caller.special and batch.spares(caller):
                    result.set_result(Again.HERE)
                    continue
                term_set = _added(batch, call)
                slot = -1 if batch.apart else caller.slot
                calls, keys, terms, weight = batch.calls, batch.keys, batch.terms, caller.term_set.weight
            room -= weight
        return {batch for batch in batches.values() if batch.calls}

    def fill_beside(self, waiting: deque[Pending], most: int) -> set[Batch]:
        """The same while a call is under way: nobody where its reply may tell one who waits that it need not be sent,
        or another thing goes with it: a denial, units ahead, slots, a slot on its way."""
        if self._moving:
            return set()
        for _, caller, _, extras in waiting:
            if extras or caller.special:
                return set()
        return self.fill(waiting, most)

    def _alike(self, waiting: deque[Pending], most: int) -> Batch | None:
        """Take all of them, where they differ in nothing but their keys, as nearly always: in turn each takes 20
        bytecodes more. None where somebody is to be looked at."""
        first = waiting[0][1]
        slot, term_set, keys = first.slot, first.term_set, list[bytes]()
        if slot in self._moving or len(waiting) * term_set.weight > most:
            return None
        for result, caller, _, extras in waiting:
            if caller.term_set is not term_set or caller.slot != slot or extras or caller.special or result.done():
                return None
            keys.append(caller.keys)
        batch = self._new_batch(False)
        if _added(batch, waiting[0]) is not term_set:  # its terms have changed by now, and so have those of others
            return None
        batch.calls[:], batch.keys[:], batch.terms[:] = waiting, keys, [term_set] * len(keys)
        waiting.clear()
        return batch

    def _batch_of(self, call: Pending, batches: dict[object, Batch]) -> Batch:
        _, caller, _, extras = call
        asking = extras is not None and extras.asking
        what = (caller, asking) if asking or caller.slot in self._moving else caller.slot
        if what not in batches:
            batches[what] = self._new_batch(asking)
            batches[what].apart = type(what) is tuple
        return batches[what]


def _added(batch: Batch, call: Pending) -> SentTerms | None:
    """Its terms; None where it has none."""
    try:
        return batch.add(call)
    except Exception as error:  # noqa: BLE001 - a calendar without this year: nobody may wait for ever
        fail(call[0], repr(error))
        return None


def written(
    batches: Iterable[Batch], scripts: Scripts, answered: Callable[[Batch, Reply], None], first: Sequence[bytes] = ()
) -> tuple[bytes, *tuple[Done, ...]]:
    """Script calls in one write, and who is told of each reply. `first` are commands of whose replies nobody is
    told."""
    commands = list(first)
    done: list[Done] = [unheard] * len(commands)
    for batch in batches:
        if batch.importing:
            commands.append(ASKING)
            done.append(unheard)
        commands.append(batch.command(scripts))
        done.append(partial(answered, batch))
    return b"".join(commands), *done
