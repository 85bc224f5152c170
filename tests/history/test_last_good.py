"""Which version a rollback goes to when none is named."""

from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.db.store import Store
from lastgood.history.states import Standing, choose_last_good
from support.scene import Scene, scene


def way(order: int, *, proven: int = 0, left: int = 0, served: bool = False) -> Standing:
    return Standing(order, proven, left, served)


@pytest.mark.parametrize(
    ("what", "active", "stable", "expected"),
    [
        ("there is nothing", None, [], None),
        ("there is nothing beside the active one", 1, [way(1, served=True)], None),
        ("nothing is live and one is proven", None, [way(1)], 1),
        ("nothing is live and several are proven", None, [way(1), way(3), way(2)], 3),
        ("the one before", 2, [way(1, served=True), way(2, served=True)], 1),
        ("the newest before, not the oldest", 4, [way(1), way(2), way(3), way(4)], 3),
        ("not the one before where that is not stable", 3, [way(1, served=True)], 1),
        ("one behind that was never served", 3, [way(2)], 2),
        ("behind, not beyond", 2, [way(1), way(3)], 1),
        ("beyond, where nothing lies behind", 2, [way(3)], 3),
        ("the newest beyond, where nothing lies behind", 2, [way(3), way(5), way(4)], 5),
        ("beyond, where this channel has served it", 2, [way(1), way(3, served=True)], 3),
        ("an older one that was served loses to a newer one behind", 4, [way(1, served=True), way(3)], 3),
        ("not one that a rollback left", 1, [way(2, proven=1, left=3, served=True)], None),
        ("not back to the trouble, but further", 2, [way(1), way(3, proven=2, left=4, served=True)], 1),
        ("one that a rollback left and that was proven since", 2, [way(1), way(3, proven=5, left=4, served=True)], 3),
        ("one proven right after the rollback that left it", 2, [way(3, proven=4, left=4, served=True)], 3),
        ("one that was left twice and proven between", 1, [way(2, proven=5, left=7, served=True)], None),
        ("one left by a rollback does not hide the others", 3, [way(2, proven=1, left=2), way(1)], 1),
        ("left ones beyond and behind leave nothing", 2, [way(1, left=3, proven=1), way(3, left=2, proven=1)], None),
        ("only the active one was proven since", 2, [way(2, proven=9), way(1, proven=1, left=2)], None),
        ("age counts, not how lately it was proven", 4, [way(1, proven=9), way(3, proven=1)], 3),
        ("order of the list means nothing", 5, [way(4), way(1), way(3), way(2)], 4),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_the_rule(what: str, active: int | None, stable: list[Standing], expected: int | None) -> None:
    for ways in (stable, stable[::-1]):
        chosen = choose_last_good(active, ways)
        assert (chosen.order if chosen else None) == expected, what


_WAYS = st.lists(
    st.builds(Standing, st.integers(1, 9), st.integers(0, 9), st.integers(0, 9), st.booleans()),
    unique_by=lambda one: one.order,
)


@given(st.none() | st.integers(1, 9), _WAYS)
def test_what_holds_of_every_choice(active: int | None, ways: list[Standing]) -> None:
    allowed = [one for one in ways if one.order != active and one.left <= one.proven]
    chosen = choose_last_good(active, ways)
    assert (chosen is None) == (not allowed)
    if chosen is not None:
        assert chosen in allowed
        passed_over = [one for one in allowed if one.order > chosen.order]
        assert all(active is not None and one.order > active and not one.served for one in passed_over)


# The same on a store. A story is a list of: p1 publish version 1; r1 roll back to it; s1, f1, c1 mark it stable,
# failed, unproven.


def tell(place: Scene, story: str) -> str | None:
    """Act `story` out on three versions and give the number of the last good one."""
    texts = ("one", "two", "three")
    names = {version.id: str(n) for n, version in enumerate(place.versions(*texts), start=1)}
    ids = {number: id for id, number in names.items()}
    for step in story.split():
        deed, number = step[0], step[1]
        version = place.find(ids[number])
        if deed in "pr":
            place.move(version, kind="publish" if deed == "p" else "rollback")
        else:
            place.mark(version, {"s": "stable", "f": "failed", "c": "candidate"}[deed])  # type: ignore[arg-type]
    good = place.last_good()
    return names[good] if good else None


STORIES = [
    ("p1", None),
    ("p1 s1", None),
    ("p1 s1 p2", "1"),
    ("s1 s2 p3", "2"),
    ("p1 s1 p2 s2", "1"),
    ("p1 s1 p2 s2 p3", "2"),
    ("p1 s1 p2 s2 p3 f2", "1"),
    ("p1 s1 p2 s2 p3 c2", "1"),
    ("p1 s1 p2 s2 p3 s3 r2", "1"),
    ("p1 s1 p2 s2 r1", None),
    ("p1 s1 p2 s2 r1 s2", "2"),
    ("p1 s1 p2 s2 r1 s2 p2", "1"),
    ("p1 s1 p2 s2 p3 s3 r2 r1", None),
    ("p1 s1 p2 s2 p3 s3 r2 r1 s3", "3"),
    ("p1 s1 p2 s2 p1", "2"),
    ("p2 s1 s3", "1"),
    ("p2 s3", "3"),
    ("p1 s1 p2 f2 p3 f3", "1"),
    ("p1 s1 f1 p2", None),
    ("p1 s1 f1 s1 p2", "1"),
]


HOURS: dict[str, Callable[[int], int]] = {
    "running": lambda n: n // 60 % 24,
    "backwards": lambda n: 23 - n % 24,
    "forwards and back": lambda n: n * 7 % 24,
    "standing still": lambda n: 12,
}


@pytest.mark.parametrize("clock", HOURS)
def test_stories(store: Store, clock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the clock does: what was proven and left is told by the order of the deeds."""
    numbers = count()
    monkeypatch.setattr(
        "lastgood.db.store.utc_now", lambda: f"2026-11-23T{HOURS[clock](next(numbers)):02d}:00:00.000000Z"
    )
    for number, (story, expected) in enumerate(STORIES):
        assert tell(scene(store, f"story-{number}"), story) == expected, story


def test_each_channel_has_its_own_last_good_version(store: Store) -> None:
    place = scene(store)
    one, two, three = place.versions("one", "two", "three", state="stable")
    for channel, version in (("live", two), ("staging", three), ("lts-1", one)):
        place.move(version, name=channel)
    assert place.last_good("live") == one.id
    assert place.last_good("staging") == two.id
    assert place.last_good("lts-1") == three.id, "nothing lies behind, so forward"
    place.move(one, name="live", kind="rollback")
    assert place.last_good("staging") == two.id, "another channel's rollback says nothing here"
