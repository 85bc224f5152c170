"""Kafka, by librdkafka's own broker: exactly once in, at least once out, and what a stranger makes of our topic."""

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from benchmarks.broker import Broker, broker
from benchmarks.sync import Stranger, run

from lastgood.access import grants
from lastgood.access.grants import Grant
from lastgood.access.sync import dead, feed, intake, kafka, sources
from lastgood.access.sync.events import Around
from lastgood.access.sync.kafka import Reader, Record
from lastgood.access.sync.topic import Writer
from lastgood.catalogue import GrantFeed, GrantSource
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.errors import InvalidSetting, SourceMoved, SourceUnreachable
from lastgood.settings import Settings
from support.scene import ALICE
from support.stores import on_sqlite

NAME, ROW = "hr", ">out"
WHO = Principal("grants-hr", "service")
NOW = int(time.time())


@pytest.fixture(scope="module")
def served() -> Iterator[Broker]:
    with broker() as one:
        yield one


def event(user: str, action: str = "add", at: int = NOW, **more: Any) -> tuple[bytes, bytes, None]:
    body = {"user_id": user, "role": "viewer", "action": action, "timestamp": at, **more}
    return user.encode(), json.dumps(body).encode(), None


def ready(store: Store) -> None:
    store.write(lambda tx: (sources.ensure(tx, NAME, "kafka"), sources.ensure(tx, ROW, sources.FEED)))


def read_all(reader: Reader, number: int) -> None:
    until = time.monotonic() + 60
    while number > 0 and time.monotonic() < until:
        number -= reader.step(1.0)
    assert number == 0


def records(*some: tuple[int, str]) -> list[Record]:
    return [Record(0, offset, event(user)[1], Around()) for offset, user in some]


@on_sqlite
def test_kills_doublings_and_late_events_change_nothing(settings: Settings, served: Broker) -> None:
    outcome = run(settings, served, number=2000, kills=2, batch=100)
    assert outcome.faults == []
    assert (outcome.kills, outcome.dead > 0, outcome.grants > 0) == (2, True, True)


def test_where_it_was_read_to_and_what_came_of_it_are_one_transaction(store: Store) -> None:
    ready(store)
    setting = GrantSource(kind="kafka", topic="t")
    bad = Record(1, 4, b"{", Around(key=b"u1", headers={"a": "b"}, at_ms=5))
    at = store.write(lambda tx: kafka.take_in(tx, WHO, NAME, setting, [*records((0, "ann")), bad], {}))
    assert at == {"0": 1, "1": 5}
    with store.read() as tx:
        source = sources.get(tx, NAME)
        (kept,) = dead.listing(tx)
        assert intake.held(tx, NAME) == {("ann", "viewer", "*")}
    assert source.position == {"topic": "t", "offsets": at, "counts": {"applied": 1, "malformed": 1}}
    assert (kept.place, kept.body, kept.around) == ("1/4", b"{", bad.around)
    assert "not JSON" in kept.reason


def test_one_that_was_overtaken_changes_nothing(store: Store) -> None:
    ready(store)
    setting = GrantSource(kind="kafka", topic="t")
    store.write(lambda tx: kafka.take_in(tx, WHO, NAME, setting, records((0, "ann")), {}))
    with pytest.raises(SourceMoved):  # it believes to stand at the beginning
        store.write(lambda tx: kafka.take_in(tx, WHO, NAME, setting, records((0, "ann"), (1, "bob")), {}))
    with store.read() as tx:
        assert intake.held(tx, NAME) == {("ann", "viewer", "*")}
        assert sources.get(tx, NAME).position["counts"] == {"applied": 1}


def test_one_that_was_overtaken_in_another_partition_sets_nothing_back(store: Store) -> None:
    ready(store)
    setting = GrantSource(kind="kafka", topic="t")
    there = Record(1, 0, event("bob")[1], Around())
    began = store.write(lambda tx: kafka.take_in(tx, WHO, NAME, setting, [*records((0, "ann")), there], {}))
    further = Record(1, 1, event("cid")[1], Around())
    store.write(lambda tx: kafka.take_in(tx, WHO, NAME, setting, [further], began))
    with pytest.raises(SourceMoved):
        store.write(lambda tx: kafka.take_in(tx, WHO, NAME, setting, records((1, "dan")), began))
    with store.read() as tx:
        assert sources.get(tx, NAME).position["offsets"] == {"0": 1, "1": 2}


def test_only_one_process_holds_a_source(store: Store) -> None:
    ready(store)
    with store.read() as tx:
        source = sources.get(tx, NAME)
    assert store.write(lambda tx: sources.take(tx, source, "one"))
    assert store.write(lambda tx: sources.take(tx, source, "one")), "it holds it longer"
    assert not store.write(lambda tx: sources.take(tx, source, "other"))
    store.write(lambda tx: sources.let_go(tx, source, "one"))
    assert store.write(lambda tx: sources.take(tx, source, "other"))


@on_sqlite
def test_a_reader_goes_on_where_the_store_says(store: Store, served: Broker) -> None:
    ready(store)
    setting = GrantSource(kind="kafka", brokers=served.brokers, topic="again")
    served.send("again", [event("ann"), event("bob"), (b"bob", None, None)])
    first = Reader(store, NAME, setting, WHO)
    read_all(first, 3)
    assert (first.lag, first.lost) == (0, 0)
    first.close()
    served.send("again", [event("cid")])
    second = Reader(store, NAME, setting, WHO)
    read_all(second, 1)
    with store.read() as tx:
        assert intake.held(tx, NAME) == {("ann", "viewer", "*"), ("cid", "viewer", "*")}
        assert sources.get(tx, NAME).position["counts"] == {"applied": 4}
    # Where the store knows better, the reader gives up and begins again.
    served.send("again", [event("dan")])

    def ahead(tx: Any) -> None:
        source = sources.get(tx, NAME)
        moved = {part: offset + 1 for part, offset in source.position["offsets"].items()}
        sources.move(tx, source, {**source.position, "offsets": moved})

    store.write(ahead)
    with pytest.raises(SourceMoved):
        read_all(second, 1)
    second.close()


@on_sqlite
def test_records_that_kafka_no_longer_has_are_counted_as_lost(store: Store) -> None:
    ready(store)
    stored = {"topic": "t", "offsets": {"0": 2, "1": 7}}
    store.write(lambda tx: sources.move(tx, sources.get(tx, NAME), stored))
    reader = Reader(store, NAME, GrantSource(kind="kafka", brokers="127.0.0.1:9", topic="t"), WHO)
    reader._begin({0: (5, 9), 1: (6, 9)})
    assert (reader.lost, reader.lag) == (3, 4 + 2)
    reader.close()
    with store.read() as tx:
        assert sources.get(tx, NAME).position["offsets"] == {"0": 5, "1": 7}


@on_sqlite
def test_another_topic_of_the_same_name_is_read_from_its_beginning(store: Store, served: Broker) -> None:
    ready(store)
    served.send("short", [event("ann")])
    past = {"topic": "short", "offsets": {str(part): 100 for part in range(4)}}
    store.write(lambda tx: sources.move(tx, sources.get(tx, NAME), past))
    reader = Reader(store, NAME, GrantSource(kind="kafka", brokers=served.brokers, topic="short"), WHO)
    read_all(reader, 1)
    assert reader.lost == 0
    reader.close()
    with store.read() as tx:
        assert intake.held(tx, NAME) == {("ann", "viewer", "*")}


@on_sqlite
def test_what_is_wrong_is_said(store: Store) -> None:
    ready(store)
    with pytest.raises(InvalidSetting, match=r"grants\.hr"):
        Reader(store, NAME, GrantSource(kind="kafka"), WHO)
    with pytest.raises(InvalidSetting, match="PASSWORD is not set"):
        config = {"sasl.password": "env:LASTGOOD_TEST_NO_PASSWORD"}
        Reader(store, NAME, GrantSource(kind="kafka", brokers="b", topic="t", config=config), WHO)
    with pytest.raises(InvalidSetting):
        Reader(store, NAME, GrantSource(kind="kafka", brokers="b", topic="t", config={"no.such": "1"}), WHO)


@on_sqlite
def test_a_kafka_that_is_down_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(store)
    monkeypatch.setattr(kafka, "SECONDS", 1.0)
    reader = Reader(store, NAME, GrantSource(kind="kafka", brokers="127.0.0.1:9", topic="t"), WHO)
    with pytest.raises(SourceUnreachable, match="hr"):
        reader.step(0.1)
    reader.close()


@on_sqlite
@pytest.mark.parametrize("fenced", [False, True])
def test_changes_go_out_and_revokes_are_tombstones(store: Store, served: Broker, fenced: bool) -> None:
    ready(store)
    name = f"out-{fenced}"
    out = GrantFeed(brokers=served.brokers, topic=name, fenced=fenced)
    ann, odd = Grant("ann", "viewer", "workflow:x"), Grant("50%|x", "editor")
    for grant in (ann, odd):
        store.write(partial(grants.put, who=ALICE, grant=grant))
    with store.read() as tx:
        assert feed.waiting(tx, 0) == 2
    writer = Writer(store, name, ROW, out)
    assert (writer.step(), writer.step()) == (2, 0)
    store.write(lambda tx: grants.put(tx, ALICE, ann, present=False, stamp=(1, 0)))
    assert writer.step() == 1
    writer.close()
    with store.read() as tx:
        assert sources.get(tx, ROW).position == {"topic": name, "sequence": feed.head(tx)}
        assert (feed.waiting(tx, 0), feed.waiting(tx, feed.head(tx))) == (2, 0), "each grant as it stands"
        (left,) = feed.snapshot(tx)
    assert left.key == "50%25%7Cx|editor|*|local"
    if not fenced:  # librdkafka's own broker breaks the checksums of transactions
        stranger = Stranger(served.brokers, name)
        stranger.start()
        assert stranger.finish() == ({left.key: left.sequence}, 3)


def test_a_record_is_a_cloud_event(store: Store) -> None:
    store.write(lambda tx: grants.put(tx, ALICE, Grant("ann", "viewer")))
    with store.read() as tx:
        (change,) = feed.changes(tx, 0, 10)
    key, value, headers = change.record()
    told = {name: value.decode() for name, value in headers}
    assert (key, json.loads(value or b"")) == (b"ann|viewer|*|local", change.public())
    assert (told["ce_specversion"], told["ce_id"], told["sequence"]) == ("1.0", "1", "1")
    assert told["content-type"] == "application/json"
    gone = feed.Change(**{**{name: getattr(change, name) for name in change.__slots__}, "present": False})
    assert gone.record()[1] is None
