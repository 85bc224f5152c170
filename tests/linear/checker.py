"""Is a recorded history of a pointer linearizable? A search after Wing and Gong, in the just-in-time form of Lowe.

A history is linearizable when each operation can be given one moment between its invocation and its return, so that
all of them, done one by one at these moments, give the answers that were recorded. The search goes through
invocations and returns in their order and keeps every *configuration* that is still possible: the state of the
pointer, and which of the operations in flight have taken effect already. An operation takes effect at the latest when
it returns; so at each return all orders are tried in which operations in flight may have come before it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple


class State(NamedTuple):
    """What a channel points to, and its generation."""

    version: str | None
    generation: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One recorded call. Times are of one clock for all processes; `returned` is None where no answer came.

    A ``read`` saw `seen`. A ``move`` asked to go from generation `expected` to the version `to`: it was ``done``
    (`seen` is the state it made), ``refused`` (`seen.generation` is the one that was in its way), or it is
    ``unknown`` whether it was done."""

    process: int
    kind: Literal["read", "move"]
    invoked: int
    returned: int | None
    seen: State
    expected: int = -1
    to: str = ""
    outcome: Literal["done", "refused", "unknown"] = "done"

    def after(self, state: State) -> State | None:
        """The state after the operation has taken effect on `state`; None where it could not answer as it did."""
        if self.kind == "read":
            return state if state == self.seen else None
        matches = state.generation == self.expected
        moved = State(self.to, self.expected + 1)
        match self.outcome:
            case "done":
                return moved if matches and self.seen == moved else None
            case "refused":
                return None if matches or state.generation != self.seen.generation else state
            case "unknown":
                return moved if matches else state


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a history is linearizable; if not, `stuck` could not have answered as it did, whatever order the
    operations before it and in flight had (`possible` are the states in which it was tried)."""

    linearizable: bool
    stuck: Operation | None = None
    possible: tuple[State, ...] = ()


Configuration = tuple[State, frozenset[int]]  # which operations in flight have taken effect, by their place


def check(history: Iterable[Operation], initial: State) -> Verdict:
    """Whether `history` is linearizable from `initial` on."""
    operations = list(history)
    events = [(one.invoked, 0, place) for place, one in enumerate(operations)]
    # At the same tick an invocation counts as before a return: then the two overlap, and either order is allowed.
    events += [(one.returned, 1, place) for place, one in enumerate(operations) if one.returned is not None]
    pending: set[int] = set()
    configurations: set[Configuration] = {(initial, frozenset())}
    for _, is_return, place in sorted(events):
        if not is_return:
            pending.add(place)
            continue
        reached = _until_effective(operations, pending, place, configurations)
        if not reached:
            return Verdict(False, operations[place], tuple(sorted({state for state, _ in configurations}, key=str)))
        pending.remove(place)
        configurations = {(state, effective - {place}) for state, effective in reached}
    return Verdict(True)


def _until_effective(
    operations: list[Operation], pending: set[int], place: int, configurations: set[Configuration]
) -> set[Configuration]:
    """Every configuration in which the operation at `place` has taken effect, that can be reached by letting
    operations in flight take effect in any order."""
    reached: set[Configuration] = set()
    tried: set[Configuration] = set()
    waiting = list(configurations)
    while waiting:
        one = waiting.pop()
        if one in tried:
            continue
        tried.add(one)
        state, effective = one
        if place in effective:
            reached.add(one)
            continue
        for other in pending - effective:
            after = operations[other].after(state)
            if after is not None:
                waiting.append((after, effective | {other}))
    return reached
