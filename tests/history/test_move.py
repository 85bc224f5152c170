"""The move: one winner, all of it or nothing, and a record without gaps."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select, update

from lastgood.db import routing, tables
from lastgood.db.audit import Principal
from lastgood.db.store import Store, open_store
from lastgood.db.tx import Tx
from lastgood.errors import ChannelMoved, InvalidId, StillApplying, UnknownChannel
from lastgood.history import channels, versions, workflows
from lastgood.history.channels import Move
from lastgood.history.versions import Version
from lastgood.settings import Settings
from support.processes import at_once
from support.scene import ALICE, BOB, Scene, scene
from support.stores import clean_settings


@pytest.fixture
def place(store: Store) -> Scene:
    return scene(store)


def log(place: Scene, **page: Any) -> list[Move]:
    with place.store.read() as tx:
        return channels.moves(tx, place.workflow, **page)


def traces(store: Store) -> dict[str, int]:
    """How many rows a move adds to, and the revision."""
    with store.read() as tx:
        counted = {
            name: tx.connection.execute(select(func.count()).select_from(tables.metadata.tables[name])).scalar_one()
            for name in ("channel", "move", "audit", "outbox")
        }
        return {**counted, "revision": routing.current(tx)}


def test_the_first_move_comes_from_nowhere(place: Scene) -> None:
    (version,) = place.versions("a")
    assert place.move(version, reason="go") == 1
    channel = place.channel()
    assert (channel.version, channel.generation, channel.etag) == (version.id, 1, '"1"')
    (move,) = log(place)
    assert (move.from_id, move.to_id, move.generation, move.kind) == (None, version.id, 1, "publish")
    assert (move.actor, move.reason, move.operation, move.channel) == ("alice", "go", None, "live")


def test_every_move_is_recorded_once_everywhere(place: Scene) -> None:
    one, two = place.versions("a", "b")
    place.move(one)
    before = traces(place.store)
    place.move(two, who=BOB, kind="rollback", reason="back")
    after = traces(place.store)
    assert {name: after[name] - before[name] for name in after} == {
        "channel": 0,
        "move": 1,
        "audit": 1,
        "outbox": 1,
        "revision": 1,
    }
    with place.store.read() as tx:
        row = tx.connection.execute(select(tables.audit).order_by(tables.audit.c.pk.desc()).limit(1)).one()
        told = tx.connection.execute(select(tables.outbox).order_by(tables.outbox.c.pk.desc()).limit(1)).one()
        revision = tx.connection.execute(select(tables.channel.c.revision)).scalar_one()
    assert (row.actor, row.action, row.reason) == ("bob", "workflow:rollback", "back")
    assert row.resource == f"workflow/{place.workflow.id}/channel/live"
    facts = json.loads(row.canonical)
    assert (facts["before"], facts["after"], facts["generation"]) == (one.id, two.id, 2)
    assert facts["digest"] == two.digest
    assert (told.type, told.subject) == ("channel.moved", place.workflow.id)
    assert json.loads(told.payload)["after"] == two.id
    assert revision == after["revision"], "the gateway would not hear of it"


def test_the_log_is_newest_first_and_paged(place: Scene) -> None:
    one, two = place.versions("a", "b")
    for number in range(7):
        place.move((one, two)[number % 2], name=("live", "staging")[number == 3])
    numbers = [move.pk for move in log(place)]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 7
    paged: list[int] = []
    before = None
    while page := log(place, limit=3, before=before):
        paged += [move.pk for move in page]
        before = paged[-1]
    assert paged == numbers
    assert [(move.channel, move.generation) for move in log(place)][3] == ("staging", 1)


def test_a_stale_move_changes_nothing_and_hears_who_where_and_when(place: Scene) -> None:
    one, two = place.versions("a", "b")
    place.move(one)
    place.move(two, who=BOB, reason="better")
    before = traces(place.store)
    with pytest.raises(ChannelMoved) as caught:
        place.move(one, expected=1)
    text = str(caught.value)
    channel = place.channel()
    for word in ("bob", two.id, channel.updated_at, "better", "generation 2", "not 1", "Nothing was changed"):
        assert word in text
    assert caught.value.data["generation"] == 2
    assert traces(place.store) == before


@pytest.mark.parametrize("expected", [0, 2, 3, 999, -1])
def test_only_the_generation_it_is_at_moves_a_channel(place: Scene, expected: int) -> None:
    (version,) = place.versions("a")
    place.move(version)
    with pytest.raises(ChannelMoved):
        place.move(version, expected=expected)
    assert place.channel().generation == 1


def test_a_first_move_with_a_wrong_generation_makes_no_channel(place: Scene) -> None:
    (version,) = place.versions("a")
    with pytest.raises(ChannelMoved, match="nobody moved it to nothing"):
        place.move(version, expected=4, name="staging")
    with pytest.raises(UnknownChannel, match="no channel 'staging'"):
        place.channel("staging")


def test_a_channel_that_an_operation_is_moving_waits_for_it(place: Scene) -> None:
    one, two = place.versions("a", "b")
    place.move(one)
    applying = update(tables.channel).values(applying="op-1234")
    place.store.write(lambda tx: tx.connection.execute(applying))
    with pytest.raises(StillApplying, match="being moved by op-1234"):
        place.move(two)
    assert place.channel().version == one.id


@pytest.mark.parametrize("name", ["", "Live", "a b", "x" * 64, "../x", "live\n"])
def test_a_channel_needs_a_name_that_is_one(place: Scene, name: str) -> None:
    (version,) = place.versions("a")
    with pytest.raises(InvalidId, match="channel"):
        place.move(version, name=name)


def race(place: Scene, to: list[Version], barrier: Callable[[], object]) -> list[str]:
    """Everybody moves from the same generation at once, each as somebody else; gives what each heard."""
    at = place.channel().generation
    heard: list[str] = []

    def work(number: int, version: Version) -> None:
        barrier()
        try:
            place.move(version, expected=at, who=Principal(f"user-{number}"), reason=f"reason-{number}")
            heard.append(f"user-{number} won")
        except ChannelMoved as error:
            heard.append(str(error))

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(to)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return heard


def test_of_8_threads_exactly_one_wins_and_the_others_hear_of_it(place: Scene) -> None:
    found = place.versions(*"abcdefgh")
    place.move(found[0])
    for turn in range(2, 12):
        heard = race(place, found, threading.Barrier(8).wait)
        winners = [text.removesuffix(" won") for text in heard if text.endswith(" won")]
        assert len(heard) == 8
        assert len(winners) == 1, heard
        channel, last = place.channel(), log(place, limit=1)[0]
        assert (channel.generation, last.generation, last.actor) == (turn, turn, winners[0])
        assert channel.version == last.to_id
        for text in heard:
            if not text.endswith(" won"):
                assert winners[0] in text
                assert last.to_id in text
                assert last.at in text
                assert last.reason in text


def test_of_4_processes_exactly_one_wins_each_time(place: Scene, settings: Settings) -> None:
    found = place.versions(*"abcd")
    place.move(found[0])
    turns = 15
    heard = at_once(
        4, _race_in_a_process, str(settings.home), settings.database, place.workflow.id, [v.id for v in found], turns
    )
    for turn, answers in enumerate(zip(*heard, strict=True), start=2):
        winners = [who for who, won, _ in answers if won]
        assert len(winners) == 1, answers
        assert all(f"{winners[0]} moved it" in text for _, won, text in answers if not won)
        assert [move.actor for move in log(place) if move.generation == turn] == winners
    generations = [move.generation for move in log(place)]
    assert generations == list(range(turns + 1, 0, -1)), "the moves have a gap"
    counted = traces(place.store)
    assert counted["move"] == turns + 1


def _race_in_a_process(
    barrier: Any, index: int, home: str, database: str, workflow_id: str, ids: list[str], turns: int
) -> list[tuple[str, bool, str]]:
    store = open_store(clean_settings(Path(home), database))
    who = Principal(f"process-{index}")
    answers = []
    for turn in range(turns):
        barrier.wait()

        def work(tx: Tx, generation: int = turn + 1) -> int:
            workflow = workflows.find(tx, workflow_id)
            channel = channels.get(tx, workflow)
            to = versions.find(tx, ids[index])
            return channels.move(tx, who, workflow, channel, to, expected=generation, kind="publish")

        try:
            store.write(work)
            answers.append((who.name, True, ""))
        except ChannelMoved as error:
            answers.append((who.name, False, str(error)))
    store.close()
    return answers


def test_moves_of_different_channels_do_not_collide(place: Scene) -> None:
    one, two = place.versions("a", "b")
    names = [f"channel-{number}" for number in range(4)]

    def work(name: str) -> None:
        for turn in range(10):
            place.move((one, two)[turn % 2], name=name)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [place.channel(name).generation for name in names] == [10] * 4
    for name in names:
        assert [m.generation for m in log(place) if m.channel == name] == list(range(10, 0, -1))


class Interrupted(Exception):
    """The process stopped right there."""


def statements_of(store: Store, work: Callable[[], object], stop_after: int | None = None) -> list[str]:
    """The statements that `work` sends, BEGIN and COMMIT left out. With `stop_after`, it raises `Interrupted` right
    after that many."""
    sent: list[str] = []

    @event.listens_for(store.engine, "after_cursor_execute")
    def count(_: Connection, __: Any, statement: str, *___: Any) -> None:
        if not statement.startswith(("BEGIN", "SET ", "PRAGMA")):
            sent.append(statement)
            if len(sent) == stop_after:
                raise Interrupted

    try:
        work()
    finally:
        event.remove(store.engine, "after_cursor_execute", count)
    return sent


def test_a_move_that_is_interrupted_after_any_statement_never_was(place: Scene) -> None:
    one, two = place.versions("a", "b")
    place.move(one)
    whole = statements_of(place.store, lambda: place.move(two))
    place.move(one)
    words = " ".join(whole).lower()
    for table in ("routing", "channel", "move", "audit", "outbox"):
        assert f"{table} " in words, f"the move does not touch {table}, so this test shows nothing"
    before, channel = traces(place.store), place.channel()
    for number in range(1, len(whole) + 1):
        with pytest.raises(Interrupted):
            statements_of(place.store, lambda: place.move(two), stop_after=number)
        assert traces(place.store) == before, whole[number - 1]
        assert place.channel() == channel
    assert place.move(two) == channel.generation + 1, "it does not work any more"


def test_a_first_move_that_is_interrupted_makes_no_channel(place: Scene) -> None:
    (version,) = place.versions("a")
    other = scene(place.store, "other")
    whole = statements_of(place.store, lambda: other.move(other.push("a").version))
    for number in range(1, len(whole)):
        try:
            statements_of(place.store, lambda: place.move(version), stop_after=number)
        except Interrupted:
            with pytest.raises(UnknownChannel):
                place.channel()
        else:
            break
    assert place.channel().generation == 1


def test_each_channel_counts_its_own_generations(place: Scene) -> None:
    one, two = place.versions("a", "b")
    assert [place.move(one), place.move(two), place.move(one, name="lts-1")] == [1, 2, 1]
    with place.store.read() as tx:
        assert [(c.name, c.generation) for c in channels.listing(tx, place.workflow)] == [("live", 2), ("lts-1", 1)]


def test_generations_grow_under_a_clock_that_jumps(place: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = place.versions("a", "b")
    hours = (12, 3, 23, 0, 12, 7)
    for number, hour in enumerate(hours):
        monkeypatch.setattr("lastgood.db.store.utc_now", lambda hour=hour: f"2026-11-23T{hour:02}:00:00.000000Z")
        assert place.move((one, two)[number % 2]) == number + 1
    assert [move.generation for move in log(place)] == [6, 5, 4, 3, 2, 1]
    assert [int(move.at[11:13]) for move in log(place)] == list(hours[::-1])
    assert place.channel().updated_at == "2026-11-23T07:00:00.000000Z"


def test_a_version_of_another_workspace_or_none_cannot_be_pointed_to(place: Scene) -> None:
    """The database itself refuses a pointer to nothing."""
    (version,) = place.versions("a")
    place.move(version)
    before = place.channel()
    nowhere = update(tables.channel).values(version_pk=987654)
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        place.store.write(lambda tx: tx.connection.execute(nowhere))
    assert place.channel() == before


def test_what_moved_since_is_told_of_all_workflows(place: Scene) -> None:
    other = scene(place.store, "other")
    (one,), (two,) = place.versions("a"), other.versions("b")
    place.move(one)
    other.move(two)
    with place.store.read() as tx:
        since = tx.connection.execute(select(func.min(tables.move.c.at))).scalar_one()
        assert [m.workflow for m in channels.moves_since(tx, since)] == ["other", "greet"]
        assert channels.moves_since(tx, "9") == []
    assert ALICE.name == log(place)[0].actor
