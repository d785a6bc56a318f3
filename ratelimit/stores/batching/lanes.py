"""Which waiting calls go together in a script call: those of a slot; on a single node all are in one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from ratelimit.stores.batching.batch import Batch
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
        batches: dict[object, Batch] = {}
        slot, room, moving = -1, most, bool(self._moving)
        next_of = waiting.popleft
        while waiting and room > 0:
            result, caller, _, _, asking, _ = call = next_of()
            if result.done():  # nobody waits for it any more: it would be charged for nothing
                continue
            if moving or asking or caller.slot != slot:
                slot, batch = -1 if asking else caller.slot, self._batch_of(call, batches)
            if (caller.refusal or caller.allotment) and batch.spares(caller):
                result.set_result(Again.HERE)
            else:
                try:
                    batch.add(call)
                except Exception as error:  # noqa: BLE001 - a calendar without this year: nobody may wait for ever
                    fail(call, repr(error))
                room -= caller.term_set.weight
        return {batch for batch in batches.values() if batch.calls}

    def _batch_of(self, call: Pending, batches: dict[object, Batch]) -> Batch:
        caller, asking = call.caller, call.asking
        what = (caller, asking) if asking or caller.slot in self._moving else caller.slot
        if what not in batches:
            batches[what] = self._new_batch(asking)
            batches[what].apart = type(what) is tuple
        return batches[what]


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
