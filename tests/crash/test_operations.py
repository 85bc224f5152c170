"""An operation whose process is killed, stopped or interrupted by a word at any of its steps: another ends it, and
what is left is what an operation leaves that nobody disturbed."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from benchmarks.crash_examination import Ground, Way, examine
from benchmarks.crash_operations import (
    UNCOMMITTED,
    Field,
    enter,
    field_of,
    pausable,
)
from sqlalchemy import delete, insert, update

from lastgood.db import tables as t
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import OperationOver, OperationTaken
from lastgood.history import channels, workflows
from lastgood.release import flow, journal, operation
from lastgood.release.means import Means
from lastgood.release.steps import EFFECTS
from lastgood.settings import Settings
from support.scene import ALICE
from support.stores import on_sqlite


@pytest.fixture
def here(settings: Settings, home: Path) -> Iterator[Field]:
    with field_of(settings, home.parent / "ground") as found:
        yield found


def before_inside_after(seen: list[str]) -> list[int]:
    """Three instants of each step: nothing is done, its effect is there and not recorded, all of it is done."""
    chosen = []
    for step in dict.fromkeys(at.partition(": ")[0] for at in seen):
        before, inside, after = "before", "done, not recorded", "after"
        if step in ("plan", "the word"):
            before, inside, after = "before a transaction", UNCOMMITTED, "committed"
        elif step in EFFECTS:
            inside = UNCOMMITTED
        chosen += [seen.index(f"{step}: {what}") for what in (before, inside, after)]
    return chosen


@pytest.mark.parametrize(("way", "points"), [("forward", 33), ("undone", 39)])
def test_killed_before_inside_and_after_every_step(here: Field, way: Way, points: int) -> None:
    seen = here.undisturbed(way)
    chosen = before_inside_after(seen)
    assert len(chosen) == points
    if "LASTGOOD_EVERY_KILL" not in os.environ:  # as `benchmarks.crash_operations` does on both
        # What a step leaves is what the next one finds, and a kill takes seconds: one way is killed inside its steps
        # and the other before them, in every other step; on PostgreSQL only who must undo, in every third.
        if here.store.postgres and way == "forward":
            pytest.skip("SQLite shows it; LASTGOOD_EVERY_KILL=1 runs all")
        inside = (way == "forward") != here.store.postgres
        chosen = chosen[1 if inside else 0 :: 9 if here.store.postgres else 6]
    wrong = [(seen[number], faults) for number in chosen if (faults := here.kill(way, number))]
    assert wrong == []


def test_killed_while_a_person_takes_it_back(here: Field) -> None:
    seen = here.undisturbed("taken back")
    named = [at for at in seen if at.startswith(("the word", "undo: "))]
    chosen = [seen.index(named[number]) for number in before_inside_after(named)]
    assert len(chosen) == 6
    if "LASTGOOD_EVERY_KILL" not in os.environ:
        chosen = chosen[1::3]
    wrong = [(seen[number], faults) for number in chosen if (faults := here.kill("taken back", number))]
    assert wrong == []


def test_one_process_after_the_other_is_killed(here: Field) -> None:
    seen = here.undisturbed("undone")
    first, second = seen.index("listeners: begun"), seen.index("listeners: begun") - seen.index("listeners: before")
    assert here.kill("undone", first, second, 1) == []


def test_who_wakes_after_its_lease_writes_nothing_more(here: Field) -> None:
    seen = here.undisturbed("undone")
    wanted = {
        *("pre-hook: begun", "move: before", "listeners: done, not recorded"),
        *("verification: begun", "undo: before", "undo-listeners: begun", "undo-report: before"),
    }
    chosen = [number for number, at in enumerate(seen) if at in wanted and pausable(at)]
    assert len(chosen) == len(wanted)
    if "LASTGOOD_EVERY_KILL" not in os.environ:
        chosen = chosen[:: 2 if here.store.postgres else 3]
    wrong = [(seen[number], faults) for number in chosen if (faults := here.pause("undone", number))]
    assert wrong == []


@contextmanager
def around_steps(monkeypatch: pytest.MonkeyPatch, before: Callable[[str], None], after: Callable[[str], None]) -> Any:
    """Call these with each step's name while operations run here."""
    step = operation._step

    def surrounded(means: Means, running: journal.Operation, name: str) -> Any:
        before(name)
        ended = step(means, running, name)
        after(name)
        return ended

    with monkeypatch.context() as patch:
        patch.setattr(operation, "_step", surrounded)
        yield


@on_sqlite
@pytest.mark.parametrize("step", ["preflight", "backup", "move", "listeners", "report"])
def test_who_lost_its_claim_between_two_steps_does_not_go_on_under_the_other_one(
    here: Field, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = enter(here.means, "forward")

    def taken(name: str) -> None:
        if name == step:
            end_leases(here.store)
            with suppress(OperationOver):  # the report was its last step
                here.store.write(lambda tx: journal.claim(tx, id, "elsewhere:1:a"))

    with around_steps(monkeypatch, lambda _: None, taken):
        if step == "report":
            assert operation.run(here.means, id).operation.over
            return
        with pytest.raises(OperationTaken):
            operation.run(here.means, id)
    with here.store.read() as tx:
        found = journal.find(tx, id)
    assert list(found.steps)[-1] == step
    assert found.owner == "elsewhere:1:a"


@on_sqlite
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", [name for name in flow.ALL if name != "plan" and not name.startswith("undo")])
def test_a_word_at_any_moment_is_heard(here: Field, step: str, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever a person asks for the undo, the channel is in the end where it was before, and the operation over."""
    id = enter(here.means, "forward")

    def ask(name: str) -> None:
        if name == step:
            here.store.write(lambda tx: journal.ask(tx, ALICE, id, "undo"))

    def nothing(_: str) -> None:
        pass

    with around_steps(monkeypatch, *((ask, nothing) if moment == "before" else (nothing, ask))):
        operation.run(here.means, id)
    assert_back(here, id)


def assert_back(here: Field, id: str) -> None:
    """That the operation is over, and its channel where it was before."""
    with here.store.read() as tx:
        found = journal.find(tx, id)
        (workflow,) = workflows.listing(tx)
        channel = channels.get(tx, workflow)
        waiting = journal.waiting(tx)
    (planned,) = found.plan.moves
    assert (channel.version, waiting) == (planned.from_version, [])
    assert found.state == ("undone" if "move" in found.steps else "failed")
    assert found.summary and found.id in found.report and "no reason" not in found.summary


@pytest.mark.parametrize("step", ["undo", "undo-listeners", "undo-report"])
def test_a_word_while_the_report_is_written_outlives_a_crash(
    here: Field, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = enter(here.means, "forward")

    def ask_and_die(name: str) -> None:
        if name == "report":
            here.store.write(lambda tx: journal.ask(tx, ALICE, id, "undo"))
        if name == step:
            raise KeyboardInterrupt

    with around_steps(monkeypatch, ask_and_die, lambda _: None), pytest.raises(KeyboardInterrupt):
        operation.run(here.means, id)
    end_leases(here.store)
    assert here.waiting() == [id]
    operation.run(here.means, id)
    assert_back(here, id)


def end_leases(store: Store) -> None:
    store.write(lambda tx: tx.connection.execute(update(t.operation).values(lease_until_ms=1)))


# What the examination must find.


def lose_a_step(tx: Tx, _: Ground) -> None:
    tx.connection.execute(delete(t.operation_step).where(t.operation_step.c.name == "backup"))


def leave_a_step_begun(tx: Tx, _: Ground) -> None:
    tx.connection.execute(update(t.operation_step).where(t.operation_step.c.name == "notify").values(state="begun"))


def swap_the_order(tx: Tx, _: Ground) -> None:
    tx.connection.execute(
        update(t.operation_step).where(t.operation_step.c.name == "backup").values(began_at="2001-01-01T00:00:00Z")
    )


def try_the_move_twice(tx: Tx, _: Ground) -> None:
    tx.connection.execute(update(t.operation_step).where(t.operation_step.c.name == "move").values(attempts=2))


def stay_running(tx: Tx, _: Ground) -> None:
    tx.connection.execute(update(t.operation).values(state="running", ended_at=None))


def keep_the_claim(tx: Tx, _: Ground) -> None:
    tx.connection.execute(update(t.operation).values(owner="elsewhere:1:a"))


def say_nothing(tx: Tx, _: Ground) -> None:
    tx.connection.execute(update(t.operation).values(report=""))


def belong_to_nobody(tx: Tx, _: Ground) -> None:
    tx.connection.execute(update(t.move).values(operation=None))


def move_twice(tx: Tx, _: Ground) -> None:
    last = tx.connection.execute(t.move.select().order_by(t.move.c.pk.desc())).first()
    assert last is not None
    again = {**last._mapping, "pk": last.pk + 1, "generation": last.generation + 1}
    tx.connection.execute(insert(t.move), again)
    tx.connection.execute(update(t.channel).values(generation=again["generation"]))


def tell_twice(tx: Tx, _: Ground) -> None:
    ended = tx.connection.execute(t.outbox.select().where(t.outbox.c.type == "operation.ended")).first()
    assert ended is not None
    tx.connection.execute(insert(t.outbox), {**ended._mapping, "pk": None})


def forget_who_entered_it(tx: Tx, _: Ground) -> None:
    tx.connection.execute(delete(t.audit).where(t.audit.c.action == "operation:rollback"))


def point_elsewhere(tx: Tx, _: Ground) -> None:
    tx.connection.execute(update(t.channel).values(version_pk=3 - t.channel.c.version_pk))


def take_effect_twice(_: Tx, ground: Ground) -> None:
    (first, *_rest) = [one for one in ground.effects.iterdir() if "pre-hook" in one.name]
    with (first / "effect").open("a") as file:
        file.write("\n")


def run_under_another_key(_: Tx, ground: Ground) -> None:
    (first, *_rest) = [one for one in ground.effects.iterdir() if "pre-hook" in one.name]
    shutil.copytree(first, first.with_name(first.name + "_2"))


def run_too_often(_: Tx, ground: Ground) -> None:
    (first, *_rest) = [one for one in ground.runs.iterdir() if "post-hook" in one.name]
    first.write_text("\n\n")


def forget_the_hook(_: Tx, ground: Ground) -> None:
    for one in ground.effects.iterdir():
        shutil.rmtree(one)


def log_a_move_twice(_: Tx, ground: Ground) -> None:
    log = ground.files / "versions.log"
    log.write_text(log.read_text() * 2)


def keep_the_old_version(_: Tx, ground: Ground) -> None:
    (ground.files / "current_version.txt").write_text("v-20010101-01\n")


@on_sqlite
@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (None, ""),
        (lose_a_step, "the journal says"),
        (leave_a_step_begun, "the journal says"),
        (swap_the_order, "a step began before the one before it ended"),
        (try_the_move_twice, "an effect in the store was tried twice"),
        (stay_running, "the operation is running"),
        (stay_running, "an operation that is over waits for somebody"),
        (keep_the_claim, "the operation is still claimed"),
        (say_nothing, "the report does not speak of the operation"),
        (belong_to_nobody, "the operation moved []"),
        (move_twice, "the operation moved"),
        (move_twice, "the events are not the moves"),
        (tell_twice, "subscribers heard that it ['succeeded', 'succeeded']"),
        (forget_who_entered_it, "it was entered 0 times in the audit log"),
        (point_elsewhere, "the channel points to"),
        (point_elsewhere, "the last move is not where the channel is"),
        (take_effect_twice, "the pre-hook took effect [2] times"),
        (run_under_another_key, "the pre-hook took effect under the keys"),
        (run_too_often, "the post-hook ran 2 times in 1 attempts"),
        (forget_the_hook, "the pre-hook took effect under the keys []"),
        (log_a_move_twice, "the file listener's log is not the moves"),
        (log_a_move_twice, "the file listener's log has a key twice"),
        (keep_the_old_version, "the file listener says v-20010101-01"),
    ],
)
def test_the_examination_finds_what_a_crash_could_leave(
    here: Field, damage: Callable[[Tx, Ground], None] | None, fault: str
) -> None:
    id = enter(here.means, "forward")
    operation.run(here.means, id)
    wanted = [(name, "done") for name in flow.ALL if not name.startswith("undo")]
    assert examine(here.store, here.ground, id, "forward", wanted) == []
    if damage is not None:
        here.store.write(lambda tx: damage(tx, here.ground))
        assert any(one.startswith(fault) for one in examine(here.store, here.ground, id, "forward", wanted))
