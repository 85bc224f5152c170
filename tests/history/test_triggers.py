"""Triggers follow the pointer: bound by the move itself, and each slot is run once, by one version, whenever a move
comes."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.db.store import Store
from lastgood.db.tx import parse_time, utc_text
from lastgood.dsl import Document
from lastgood.dsl.schedule import Schedule
from lastgood.history import channels, slots, triggers
from lastgood.history.slots import Fire
from lastgood.history.triggers import Bound, carry
from lastgood.history.versions import Version
from lastgood.release import moves
from support.scene import ALICE, Clock, Scene, scene
from support.triggered import triggered

GRACE = timedelta(minutes=5)
OWNER = "here:1:abcd"


@dataclass
class Stage:
    """A workflow on the engine, and its clock."""

    place: Scene
    clock: Clock

    def push(self, text: str, **more: Any) -> Version:
        return self.place.push(triggered(text, **more)).version

    def publish(self, to: Version, at: str, channel: str = "live") -> None:
        self.clock.set(at)
        self._move(
            lambda tx, expected: moves.publish(
                tx, ALICE, self.place.workflow, to.id, channel=channel, expected=expected
            ),
            channel,
        )

    def rollback(self, to: Version, at: str) -> None:
        self.clock.set(at)
        self._move(
            lambda tx, expected: moves.rollback(tx, ALICE, self.place.workflow, to=to.id, expected=expected), "live"
        )

    def _move(self, work: Any, channel: str) -> None:
        with self.place.store.read() as tx:
            expected = channels.present(tx, self.place.workflow, channel).generation
        self.place.store.write(lambda tx: work(tx, expected))

    def fire(self, at: str = "", names: tuple[str, ...] = ("live",)) -> list[Fire]:
        """Claim all that has come."""
        if at:
            self.clock.set(at)
        with self.place.store.read() as tx:
            due = slots.due(tx, names)
        found = [self._claim(one) for one in due]
        return [fire for fire in found if fire is not None]

    def _claim(self, trigger: int) -> Fire | None:
        return self.place.store.write(lambda tx: slots.claim(tx, trigger, OWNER, GRACE))

    def all(self, channel: str = "live") -> dict[str, Bound]:
        with self.place.store.read() as tx:
            return {one.node: one for one in triggers.of_channel(tx, self.place.workflow, channel)}


@pytest.fixture
def stage(store: Store, monkeypatch: pytest.MonkeyPatch) -> Stage:
    clock = Clock(monkeypatch, "2026-11-23T08:00:00.000000Z")
    return Stage(scene(store, target="engine"), clock)


def test_a_move_binds_and_a_webhook_keeps_its_address(stage: Stage) -> None:
    one, two, bare = stage.push("1"), stage.push("2", cron="0 10 * * *"), stage.push("3", cron=None, hook=False)
    stage.publish(one, "2026-11-23 08:00")
    first = stage.all()
    assert [(b.kind, b.state, b.version, b.generation) for b in first.values()] == [
        ("webhook", "bound", one.id, 1),
        ("schedule", "bound", one.id, 1),
    ]
    assert first["every"].next_slot == "2026-11-23T09:00:00.000000Z"
    stage.publish(two, "2026-11-23 08:10")
    second = stage.all()
    assert (second["every"].next_slot, second["every"].version) == ("2026-11-23T10:00:00.000000Z", two.id)
    stage.publish(bare, "2026-11-23 08:20")
    third = stage.all()
    assert {(b.state, b.version, b.next_slot, b.generation) for b in third.values()} == {("unbound", None, None, 3)}
    stage.rollback(one, "2026-11-23 09:30")
    fourth = stage.all()
    assert fourth["every"].next_slot == "2026-11-24T09:00:00.000000Z"
    assert len({each["hook"].token for each in (first, second, third, fourth)}) == 1
    assert len(first["hook"].token or "") == 24


def test_channels_are_apart_and_the_shadow_has_none(stage: Stage) -> None:
    one = stage.push("1")
    stage.publish(one, "2026-11-23 08:00")
    stage.publish(one, "2026-11-23 08:00", channel="staging")
    stage.publish(one, "2026-11-23 08:00", channel=channels.SHADOW)
    assert stage.all()["hook"].token != stage.all("staging")["hook"].token
    assert stage.all(channels.SHADOW) == {}
    assert [fire.channel for fire in stage.fire("2026-11-23 09:00")] == ["live"]
    assert [fire.channel for fire in stage.fire(names=("live", "staging"))] == ["staging"]


def test_another_target_binds_its_triggers_itself(store: Store) -> None:
    place = scene(store)
    version = place.push(triggered()).version
    store.write(lambda tx: moves.publish(tx, ALICE, place.workflow, version.id, expected=0))
    with store.read() as tx:
        assert triggers.of_workflow(tx, place.workflow) == []


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(
    ("claimed", "moved", "who"),
    [
        ("", "2026-11-23 08:59", "two"),  # before the slot
        ("", "2026-11-23 09:00", "two"),  # at the slot, which nobody had claimed
        ("", "2026-11-23 09:01", "two"),  # after it, and still nobody had
        ("2026-11-23 09:00", "2026-11-23 09:00", "one"),  # at the slot, which was claimed first
        ("2026-11-23 09:00", "2026-11-23 09:01", "one"),
    ],
)
def test_a_move_around_a_slot_neither_doubles_nor_skips_it(
    stage: Stage, claimed: str, moved: str, who: str, same: bool
) -> None:
    one, two = stage.push("1"), stage.push("2", cron="0 9 * * *" if same else "0 9,10 * * *")
    stage.publish(one, "2026-11-23 08:00")
    found = stage.fire(claimed) if claimed else []
    stage.publish(two, moved)
    found += stage.fire()
    found += stage.fire("2026-11-23 09:02")
    stage.rollback(one, "2026-11-23 09:02")
    found += stage.fire("2026-11-23 09:03")
    wanted = {"one": one.id, "two": two.id}[who]
    assert [(fire.slot[:16], fire.version) for fire in found] == [("2026-11-23T09:00", wanted)]
    assert [(fire.slot[:16], fire.version) for fire in stage.fire("2026-11-24 09:00")] == [
        ("2026-11-24T09:00", one.id)
    ]


def test_a_slot_whose_trigger_goes_away_is_passed_over_and_said(stage: Stage) -> None:
    one, bare = stage.push("1"), stage.push("2", cron=None, hook=False)
    stage.publish(one, "2026-11-23 08:00")
    stage.publish(bare, "2026-11-23 09:00")
    assert stage.fire() == []
    last = stage.all()["every"].last
    assert last is not None
    assert (last["state"], last["slot"][:16]) == ("skipped", "2026-11-23T09:00")
    assert f"then {bare.id} came into service, which has no such trigger" in last["detail"]


def test_after_a_long_night_only_the_newest_slot_is_run(stage: Stage) -> None:
    stage.publish(stage.push("1", cron="*/2 * * * *"), "2026-11-23 08:00")
    assert [fire.slot[:16] for fire in stage.fire("2026-11-23 11:05")] == ["2026-11-23T11:04"]
    assert stage.all()["every"].next_slot == "2026-11-23T11:06:00.000000Z"


def test_what_came_too_long_ago_is_passed_over_and_said(stage: Stage) -> None:
    stage.publish(stage.push("1"), "2026-11-23 08:00")
    assert stage.fire("2026-11-23 09:06") == []
    bound = stage.all()["every"]
    assert bound.last is not None
    assert (bound.last["state"], bound.next_slot) == ("skipped", "2026-11-24T09:00:00.000000Z")
    assert "nobody was there" in bound.last["detail"]


def test_a_clock_put_back_fires_nothing_twice(stage: Stage) -> None:
    one, two = stage.push("1"), stage.push("2", cron="0 9,12 * * *")
    stage.publish(one, "2026-11-23 08:00")
    assert len(stage.fire("2026-11-23 09:00")) == 1
    stage.publish(two, "2026-11-23 08:30")  # other times start from now
    assert stage.all()["every"].next_slot == "2026-11-23T09:00:00.000000Z"
    assert stage.fire("2026-11-23 09:00") == []
    assert stage.all()["every"].next_slot == "2026-11-23T12:00:00.000000Z"


def test_a_claimed_slot_is_one_holders_until_its_lease_ends(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    store = stage.place.store
    stage.publish(stage.push("1"), "2026-11-23 08:00")
    monkeypatch.setattr(slots, "LEASE_MS", 0)
    (fire,) = stage.fire("2026-11-23 09:00")
    monkeypatch.undo()
    with store.read() as tx:
        assert slots.left(tx) == [fire.pk]
    again = store.write(lambda tx: slots.take(tx, fire.pk, "there:2:efgh"))
    assert again == replace(fire, attempts=2)
    assert store.write(lambda tx: slots.take(tx, fire.pk, OWNER)) is None
    assert not store.write(lambda tx: slots.end(tx, fire.pk, OWNER, "ran", "too late"))
    assert store.write(lambda tx: slots.end(tx, fire.pk, "there:2:efgh", "ran", "well"))
    with store.read() as tx:
        assert slots.left(tx) == []


def test_old_slots_are_forgotten(stage: Stage) -> None:
    stage.publish(stage.push("1"), "2026-11-23 08:00")
    (fire,) = stage.fire("2026-11-23 09:00")
    stage.place.store.write(lambda tx: slots.end(tx, fire.pk, OWNER, "ran", "well"))
    stage.clock.set("2026-12-22 09:00")
    stage.place.store.write(slots.forget_old)
    assert stage.all()["every"].last is not None
    stage.clock.set("2026-12-24 09:00")
    stage.place.store.write(slots.forget_old)
    assert stage.all()["every"].last is None


def test_a_broken_schedule_is_bound_and_never_fires(stage: Stage) -> None:
    stage.publish(stage.push("1", cron="0 9 30 2 *"), "2026-11-23 08:00")
    bound = stage.all()["every"]
    assert (bound.state, bound.next_slot) == ("broken", None)
    assert bound.public("http://gateway")["problem"] == "the cron expression '0 9 30 2 *' names no time"


SLOT, NOW = "2026-11-23T09:00:00.000000Z", "2026-11-23T08:30:00.000000Z"
NINE, TEN = Schedule("0 9 * * *", "UTC"), Schedule("0 10 * * *", "UTC")


@pytest.mark.parametrize(
    ("bound", "slot", "wanted", "now", "expected"),
    [
        (None, None, NINE, NOW, SLOT),
        (NINE, SLOT, NINE, NOW, SLOT),
        (NINE, SLOT, TEN, NOW, SLOT.replace("09", "10", 1)),
        (NINE, SLOT, TEN, SLOT, SLOT),  # its time has come
        (NINE, SLOT, replace(NINE, timezone="Asia/Shanghai"), NOW, "2026-11-24T01:00:00.000000Z"),
        (NINE, SLOT, Schedule("", "UTC", "broken"), NOW, None),
        (NINE, None, NINE, NOW, SLOT),
    ],
)
def test_what_a_move_does_to_the_next_slot(
    bound: Schedule | None, slot: str | None, wanted: Schedule, now: str, expected: str | None
) -> None:
    assert carry(bound, slot, wanted, now) == expected


@settings(deadline=None)
@given(st.integers(0, 30 * 60), st.sampled_from(["*/2 * * * *", "0 * * * *", "30 9 * * *"]))
def test_the_slot_that_is_chosen_is_the_newest_within_the_grace(late: int, cron: str) -> None:
    times, start = Schedule(cron, "UTC"), parse_time(SLOT)
    slot = times.next(start)
    assert slot is not None
    now = slot + timedelta(minutes=late)
    chosen, several = slots.choose(times, slot, now, GRACE)
    come = [slot]
    for coming in times.slots(slot):
        if coming > now:
            break
        come.append(coming)
    fresh = [each for each in come if now - each <= GRACE]
    assert chosen == (fresh[-1] if fresh else None), utc_text(now)
    assert several == (bool(fresh) and fresh[-1] != slot)


def test_moving_binds_in_the_same_transaction(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = stage.push("1"), stage.push("2")
    stage.publish(one, "2026-11-23 08:00")

    def fail(document: Document) -> Any:
        raise RuntimeError

    monkeypatch.setattr(triggers, "triggers", fail)
    with pytest.raises(RuntimeError):
        stage.publish(two, "2026-11-23 08:10")
    assert (stage.place.channel().version, stage.all()["every"].version) == (one.id, one.id)
