"""Ids that carry a day and a number: given in turn, kept when they come from elsewhere, never sorted as text."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood import ids
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import ForeignVersion, IdTaken, InvalidId, InvalidRequest, UnknownVersion
from lastgood.history import snapshots, versions
from support.scene import ALICE, Clock, Scene, scene

DAY = "20261123"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(monkeypatch, "")
    clock.set("2026-11-23 12:00")
    return clock


@pytest.fixture
def place(store: Store, clock: Clock) -> Scene:
    return scene(store)


def push(place: Scene, text: str, id: str | None = None) -> str:
    return place.push(text, id=id).version.id


def listed(place: Scene, **page: Any) -> list[str]:
    with place.store.read() as tx:
        return [version.id for version in versions.page(tx, place.workflow, **page)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("v-20240401-01", ("20240401", 1)),
        ("v-20240401-99", ("20240401", 99)),
        ("v-20240401-100", ("20240401", 100)),
        ("v-20240229-123456", ("20240229", 123456)),
        ("v-20230229-01", None),
        ("v-20241301-01", None),
        ("v-00000000-01", None),
        ("v-20240401-1", None),
        ("v-20240401-", None),
        ("v-20240401-01 ", None),
        ("v-20240401-01\n", None),
        ("V-20240401-01", None),
        ("v-2024-04-01-01", None),
        ("v-２０２４0401-01", None),
        ("v-20240401-٠١", None),
        ("v-20240401-1234567890", None),
        ("", None),
    ],
)
def test_the_form_of_a_version_id(value: str, expected: tuple[str, int] | None) -> None:
    if expected is None:
        with pytest.raises(InvalidId, match="looks like v-20240401-01"):
            ids.split_version(value)
    else:
        assert ids.split_version(value) == expected


@given(st.dates(min_value=datetime(1970, 1, 1).date()), st.integers(1, 999_999))
def test_a_version_id_reads_back(day: Any, number: int) -> None:
    text = ids.day_of(datetime(day.year, day.month, day.day, 23, 59, tzinfo=UTC))
    assert ids.split_version(ids.version_id(text, number)) == (text, number)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            ids.check_workflow,
            ["wf-abc123", "wf-a1b2c3d4e5f6"],
            ["wf-abc", "wf-ABC123", "wf-abc12345678901", "abc123", ""],
        ),
        (
            ids.check_slug,
            ["a", "prod-invoice", "1.2_x"],
            ["wf-abc123", "v-20240401-01", "snap_20241005_v1", "A", "-a"],
        ),
        (ids.check_slug, ["x" * 63], ["x" * 64, "", "a b", "a/b", "a\n", "ä", "../x"]),
        (ids.check_channel, ["live", "lts-1", "staging"], ["", "Live", "a b", "live\n", "x" * 64]),
    ],
)
def test_names(check: Any, good: list[str], bad: list[str]) -> None:
    assert [check(value) for value in good] == good
    for value in bad:
        with pytest.raises(InvalidId):
            check(value)


@given(st.text())
def test_a_title_has_a_slug_or_none(title: str) -> None:
    slug = ids.slugify(title)
    assert slug == "" or ids.check_slug(slug) == slug


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Invoice Intake!", "invoice-intake"),
        ("a" * 80, "a" * 63),
        ("发票录入", ""),
        ("发票 v2", ""),
        ("Über", ""),
        ("!!", ""),
        ("wf abc123", ""),
        ("v 20240401 01", ""),
    ],
)
def test_the_slug_of_a_title(title: str, slug: str) -> None:
    assert ids.slugify(title) == slug


def test_numbers_grow_by_one_each_day(place: Scene, clock: Clock) -> None:
    assert [push(place, text) for text in "abc"] == [f"v-{DAY}-0{n}" for n in (1, 2, 3)]
    clock.set("2026-11-24 00:00")
    assert push(place, "d") == "v-20261124-01"


def test_numbers_are_counted_in_the_workspace_not_in_the_workflow(place: Scene) -> None:
    other = scene(place.store, "other")
    assert [push(place, "a"), push(other, "b"), push(place, "c")] == [f"v-{DAY}-0{n}" for n in (1, 2, 3)]


def test_a_push_that_changes_nothing_takes_no_number(place: Scene) -> None:
    assert [push(place, "a"), push(place, "a"), push(place, "b")] == [f"v-{DAY}-0{n}" for n in (1, 1, 2)]


def test_numbers_past_99_come_after_it(place: Scene) -> None:
    push(place, "a", id=f"v-{DAY}-98")
    assert [push(place, text) for text in "bcd"] == [f"v-{DAY}-{n}" for n in (99, 100, 101)]
    assert listed(place) == [f"v-{DAY}-{n}" for n in (101, 100, 99, 98)]
    assert listed(place, before=f"v-{DAY}-100") == [f"v-{DAY}-{n}" for n in (99, 98)]
    assert listed(place, before=f"v-{DAY}-101", limit=2) == [f"v-{DAY}-{n}" for n in (100, 99)]


def test_an_id_from_elsewhere_is_kept_and_counted_on_from(place: Scene) -> None:
    assert push(place, "a", id="v-20240401-07") == "v-20240401-07"
    assert push(place, "b", id=f"v-{DAY}-30") == f"v-{DAY}-30"
    assert push(place, "c", id=f"v-{DAY}-10") == f"v-{DAY}-10", "a smaller one is free"
    assert push(place, "d") == f"v-{DAY}-31"
    assert listed(place)[-1] == "v-20240401-07", "order is that of the pushes"


def test_an_id_from_elsewhere_cannot_use_the_numbers_up(place: Scene) -> None:
    with pytest.raises(InvalidRequest, match="above 999999"):
        push(place, "a", id=f"v-{DAY}-1000000")
    push(place, "a", id=f"v-{DAY}-999999")
    assert push(place, "b") == f"v-{DAY}-1000000"
    assert place.find(f"v-{DAY}-1000000").parent == f"v-{DAY}-999999"


def test_a_taken_id_is_refused_whoever_has_it(place: Scene) -> None:
    other = scene(place.store, "other")
    taken = push(place, "a")
    for one in (place, other):
        with pytest.raises(IdTaken, match=f"{taken} is already taken by a version of greet"):
            push(one, "b", id=taken)
    assert push(other, "b") == f"v-{DAY}-02"


def test_the_newest_versions_own_id_may_come_again_with_the_same_document(place: Scene) -> None:
    taken = push(place, "a")
    again = place.push("a", id=taken)
    assert (again.version.id, again.created) == (taken, False)


def test_the_same_document_under_another_id_is_another_version(place: Scene) -> None:
    first = place.push("a")
    second = place.push("a", id="v-20240401-01")
    assert second.created
    assert second.version.snapshot_id == first.version.snapshot_id


@pytest.mark.parametrize("id", ["v-20240230-01", "v-20240401-1", "live", "wf-abc123", "../etc", "v-20240401-01\0"])
def test_an_id_that_is_none_is_refused(place: Scene, id: str) -> None:
    with pytest.raises(InvalidId):
        push(place, "a", id=id)
    with pytest.raises(InvalidId):
        place.find(id)


def test_unknown_and_foreign_versions_are_told_apart(place: Scene) -> None:
    other = scene(place.store, "other")
    theirs = push(other, "b")
    with pytest.raises(ForeignVersion, match="is a version of other, not of greet"):
        place.find(theirs)
    with pytest.raises(UnknownVersion, match="of greet"):
        place.find(f"v-{DAY}-77")


def test_snapshot_ids_count_from_1_in_the_workspace_and_day(place: Scene, clock: Clock) -> None:
    version = place.push("a").version
    assert version.snapshot_id == f"snap_{DAY}_v1"

    def keep(tx: Tx) -> str:
        return str(snapshots.keep(tx, ALICE, place.workflow, version, "by hand")["snapshot_id"])

    assert [place.store.write(keep) for _ in range(2)] == [f"snap_{DAY}_v2", f"snap_{DAY}_v3"]
    clock.set("2026-11-24 08:00")
    assert place.store.write(keep) == "snap_20261124_v1"


def test_no_number_is_given_twice_to_pushes_at_once(place: Scene) -> None:
    other = scene(place.store, "other")
    found: list[str] = []

    def work(number: int) -> None:
        found.append(push((place, other)[number % 2], f"text {number}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [f"v-{DAY}-0{n}" for n in range(1, 9)]


def test_a_clock_that_jumps_spoils_no_id_no_order_and_no_page(place: Scene, clock: Clock) -> None:
    """Hours and days, forwards and back: ids follow the clock, the order follows what happened."""
    pushed = []
    for number, at in enumerate(
        ["2026-11-23 12:00", "2026-11-23 05:00", "2026-11-25 01:00", "2026-11-22 23:00", "2026-11-23 12:00"]
    ):
        clock.set(at)
        pushed.append(push(place, f"text {number}"))
    assert pushed == [f"v-{DAY}-01", f"v-{DAY}-02", "v-20261125-01", "v-20261122-01", f"v-{DAY}-03"]
    assert listed(place) == pushed[::-1]
    pages = []
    before = None
    while page := listed(place, limit=2, before=before):
        pages += page
        before = page[-1]
    assert pages == pushed[::-1]
    assert place.find(pushed[4]).parent == pushed[3]
