"""The checker: what it must reject and what it must allow, by hand and against every order tried out."""

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linear.checker import Operation, State, check

START = State("v-a", 1)


def read(invoked: int, returned: int | None, version: str, generation: int) -> Operation:
    return Operation(0, "read", invoked, returned, State(version, generation))


def move(invoked: int, returned: int | None, expected: int, to: str) -> Operation:
    return Operation(0, "move", invoked, returned, State(to, expected + 1), expected, to)


def refused(invoked: int, returned: int | None, expected: int, in_the_way: int) -> Operation:
    return Operation(0, "move", invoked, returned, State(None, in_the_way), expected, "v-x", "refused")


def unknown(invoked: int, expected: int, to: str) -> Operation:
    return Operation(0, "move", invoked, None, State(None, 0), expected, to, "unknown")


ALLOWED = {
    "nothing": [],
    "one after the other": [read(0, 1, "v-a", 1), move(2, 3, 1, "v-b"), read(4, 5, "v-b", 2)],
    "a read during a move may see the old": [move(0, 10, 1, "v-b"), read(2, 3, "v-a", 1)],
    "a read during a move may see the new": [move(0, 10, 1, "v-b"), read(2, 3, "v-b", 2)],
    "reads that overlap may see old and new": [move(0, 10, 1, "v-b"), read(1, 6, "v-b", 2), read(2, 7, "v-a", 1)],
    "old, then new, during one move": [move(0, 10, 1, "v-b"), read(1, 2, "v-a", 1), read(3, 4, "v-b", 2)],
    "at the same tick either order": [move(0, 5, 1, "v-b"), read(5, 6, "v-a", 1)],
    "one of two that race wins": [move(0, 10, 1, "v-b"), refused(1, 9, 1, 2)],
    "the loser may return first": [move(0, 10, 1, "v-b"), refused(1, 2, 1, 2), read(3, 4, "v-b", 2)],
    "two moves in flight, one upon the other": [move(0, 9, 1, "v-b"), move(1, 10, 2, "v-c"), read(2, 3, "v-c", 3)],
    "a lost answer of a move that was made": [unknown(0, 1, "v-b"), read(5, 6, "v-a", 1), read(7, 8, "v-b", 2)],
    "a lost answer of a move that was not": [unknown(0, 1, "v-b"), read(5, 6, "v-a", 1), move(7, 8, 1, "v-c")],
    "many overlap": [move(n, 100 + n, n + 1, "v-b") for n in range(8)],
}

REJECTED = {
    "a stale read after an acknowledged move": [move(0, 1, 1, "v-b"), read(2, 3, "v-a", 1)],
    "a stale read after a read saw the new": [move(0, 9, 1, "v-b"), read(1, 2, "v-b", 2), read(3, 4, "v-a", 1)],
    "a read from the future": [read(0, 1, "v-b", 2), move(2, 3, 1, "v-b")],
    "two winners of one generation": [move(0, 9, 1, "v-b"), move(1, 8, 1, "v-c")],
    "two winners, one after the other": [move(0, 1, 1, "v-b"), move(2, 3, 1, "v-c")],
    "a lost update": [move(0, 1, 1, "v-b"), move(2, 3, 2, "v-c"), read(4, 5, "v-b", 2)],
    "an update lost under another": [move(0, 9, 1, "v-b"), move(1, 8, 2, "v-c"), read(10, 11, "v-b", 3)],
    "a torn read, old version at the new generation": [move(0, 9, 1, "v-b"), read(1, 8, "v-a", 2)],
    "a torn read, new version at the old generation": [move(0, 9, 1, "v-b"), read(1, 8, "v-b", 1)],
    "a move that nobody made": [read(0, 1, "v-b", 2)],
    "refused without a reason": [refused(0, 1, 1, 2)],
    "refused by what comes only later": [refused(0, 1, 1, 2), move(2, 3, 1, "v-b")],
    "refused by its own expectation": [refused(0, 1, 1, 1)],
    "a generation that was skipped": [replace(move(0, 1, 1, "v-b"), seen=State("v-b", 3))],
    "a lost answer that comes and goes": [unknown(0, 1, "v-b"), read(5, 6, "v-b", 2), read(7, 8, "v-a", 1)],
    "the middle of many": [*(move(n, 100 + n, n + 1, "v-b") for n in range(7)), read(200, 201, "v-b", 7)],
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_some_order_explains_is_allowed(name: str) -> None:
    assert check(ALLOWED[name], START).linearizable


@pytest.mark.parametrize("name", REJECTED)
def test_a_planted_violation_is_rejected(name: str) -> None:
    verdict = check(REJECTED[name], START)
    assert not verdict.linearizable
    assert verdict.stuck in REJECTED[name]


def test_a_rejection_says_where() -> None:
    stale = read(2, 3, "v-a", 1)
    verdict = check([move(0, 1, 1, "v-b"), stale, read(4, 5, "v-b", 2)], START)
    assert (verdict.stuck, verdict.possible) == (stale, (State("v-b", 2),))


def by_every_order(history: list[Operation]) -> bool:
    """The definition itself, for short histories: is there an order that keeps to the times and to the answers? Those
    that never returned may be left out."""
    unsure = [one for one in history if one.returned is None]
    sure = [one for one in history if one.returned is not None]
    for chosen in range(2 ** len(unsure)):
        taken = sure + [one for place, one in enumerate(unsure) if chosen >> place & 1]
        for order in permutations(taken):
            state: State | None = START
            for place, one in enumerate(order):
                if any(later.returned is not None and later.returned < one.invoked for later in order[place + 1 :]):
                    break
                state = one.after(state) if state else None
                if state is None:
                    break
            else:
                return True
    return False


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    """Short histories in which about every second answer is possible."""
    found = []
    for _ in range(draw(st.integers(1, 5))):
        invoked = draw(st.integers(0, 6))
        returned = invoked + draw(st.integers(0, 6))
        expected, version = draw(st.integers(1, 3)), draw(st.sampled_from(["v-a", "v-b"]))
        found.append(
            draw(
                st.sampled_from(
                    [
                        read(invoked, returned, version, expected),
                        move(invoked, returned, expected, version),
                        refused(invoked, returned, expected, draw(st.integers(1, 3))),
                        unknown(invoked, expected, version),
                    ]
                )
            )
        )
    return found


@settings(max_examples=400)
@given(histories())
def test_it_agrees_with_trying_out_every_order(history: list[Operation]) -> None:
    assert check(history, START).linearizable is by_every_order(history)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(0, 30)), max_size=40))
def test_what_was_done_one_by_one_is_allowed_however_long_each_took(steps: list[tuple[bool, int, int]]) -> None:
    state, history = START, []
    for place, (moves, before, after) in enumerate(steps):
        at = 100 + 10 * place
        if moves:
            to = "v-a" if state.version == "v-b" else "v-b"
            history.append(move(at - before, at + after, state.generation, to))
            state = State(to, state.generation + 1)
        else:
            history.append(read(at - before, at + after, str(state.version), state.generation))
    assert check(history, START).linearizable
