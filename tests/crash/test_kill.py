"""A process killed in the middle of moves leaves nothing torn and loses nothing that it acknowledged."""

from collections.abc import Callable

import pytest
from benchmarks.crash import examine, run
from benchmarks.rule3 import ground_of, move
from sqlalchemy import delete, update

from lastgood.db import tables as t
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.settings import Settings
from support.stores import on_sqlite

KILLS = 20


def test_moves_survive_kills(settings: Settings) -> None:
    outcome = run(settings, KILLS)
    assert outcome.faults == ()
    assert outcome.kills == KILLS
    assert outcome.moves >= outcome.acknowledged > KILLS, "the mover hardly moved, so this shows nothing"
    assert outcome.moves == outcome.acknowledged + outcome.unsaid


def lose_a_move(tx: Tx) -> None:
    tx.connection.execute(delete(t.move).where(t.move.c.generation == 2))


def lose_an_audit_row(tx: Tx) -> None:
    tx.connection.execute(delete(t.audit).where(t.audit.c.resource.like("%/channel/live")))


def lose_an_event(tx: Tx) -> None:
    tx.connection.execute(delete(t.outbox).where(t.outbox.c.type == "channel.moved"))


def lose_the_generation(tx: Tx) -> None:
    tx.connection.execute(update(t.channel).values(generation=t.channel.c.generation - 1))


def point_elsewhere(tx: Tx) -> None:
    tx.connection.execute(update(t.channel).values(version_pk=3 - t.channel.c.version_pk))


def point_nowhere(tx: Tx) -> None:
    tx.connection.execute(update(t.channel).values(version_pk=None))


def forget_to_tell(tx: Tx) -> None:
    tx.connection.execute(update(t.channel).values(revision=t.channel.c.revision - 1))


@on_sqlite
@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (None, ""),
        (lose_a_move, "the moves have a gap"),
        (lose_an_audit_row, "the audit rows are not the moves"),
        (lose_an_event, "the events are not the moves"),
        (lose_the_generation, "the moves have a gap"),
        (point_elsewhere, "the last move is not where the channel is"),
        (point_nowhere, "the channel points to None"),
        (forget_to_tell, "the gateway would not hear of the last move"),
    ],
)
def test_the_examination_finds_what_a_crash_could_leave(
    store: Store, damage: Callable[[Tx], None] | None, fault: str
) -> None:
    ground = ground_of(store, "engine")
    for _ in range(3):
        move(ground)
    if damage is None:
        assert examine(store) == []
    else:
        store.write(damage)
        assert fault in examine(store)
