"""Permissions from Kafka under random kills, beside plain consumption of the same topic.

``uv run python -m benchmarks.sync [--events 100000] [--kills 40] [--batch 500] [--postgres]``

Events of roles, some twice, some late, some malformed, lie on a topic of librdkafka's own broker. A process of its
own takes them in and writes our changes to another topic; it is killed (SIGKILL) at random moments, and the next one
goes on. In the end the grants must be what `events.fold` makes of the topic, every malformed event must be dead once,
and aiokafka, reading our topic from its start, must find the same table. Exit code 1 when anything is not so."""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, TopicPartition

from benchmarks.broker import Broker, broker
from benchmarks.rule3 import postgres
from lastgood.access.grants import Stamp
from lastgood.access.sync import buckets, dead, events, feed, intake, kafka, listing, sources, topic
from lastgood.access.sync.events import Event, Had
from lastgood.catalogue import GrantFeed, GrantSource
from lastgood.db.audit import Principal
from lastgood.db.store import Store, open_store
from lastgood.errors import MalformedEvent, SourceMoved, SourceUnreachable
from lastgood.settings import Settings, load

NAME, ROW = "hr", ">out"
IN, OUT = "roles", "grants"
WHO = Principal(f"grants-{NAME}", "service")
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["confluent_kafka", "lastgood.access.sync.topic", "lastgood.db.migrations"])
_ROLES = ("viewer", "editor", "releaser", "approver", "auditor")
_RESOURCES = ("*", "*", "workflow:prod-*", "workflow:invoice")


@dataclass(slots=True)
class Outcome:
    """What came of a run, and what was wrong with it."""

    records: int = 0
    kills: int = 0
    grants: int = 0
    changes: int = 0
    dead: int = 0
    plain_seconds: float = 0.0
    seconds: float = 0.0
    written: int = 0
    faults: list[str] = field(default_factory=list)


def records_of(number: int, seed: int) -> list[tuple[bytes, bytes | None, Any]]:
    """Records of `number` events: one in twenty comes again, one in ten late, one in a hundred cannot be read, one in
    three hundred is a tombstone."""
    dice = random.Random(seed)
    now = int(time.time())
    users = max(10, number // 20)
    made: list[tuple[float, bytes, bytes | None]] = []
    for place in range(number):
        user = f"u{dice.randrange(users)}"
        body: dict[str, Any] = {
            "user_id": user,
            "role": dice.choice(_ROLES),
            "action": dice.choices(("add", "revoke", "update"), (7, 2, 1))[0],
            "timestamp": now - 86_400 + place * 80_000 // number,
        }
        if (on := dice.choice(_RESOURCES)) != "*":
            body["resource"] = on
        if dice.random() < 0.01:
            body["timestamp"] = "soon"
        value = None if dice.random() < 1 / 300 else orjson.dumps(body)
        late = dice.random() * number / 10 if dice.random() < 0.1 else 0
        made.append((place + late, user.encode(), value))
        if dice.random() < 0.05:
            made.append((place + dice.random() * 1000, user.encode(), value))
    made.sort(key=lambda one: one[0])
    return [(key, value, None) for _, key, value in made]


def plain(brokers: str, name: str, number: int) -> tuple[list[Any], float]:
    """All records of a topic, and how long it took to get them and do nothing else."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "plain", "log_level": 0})
    parts = consumer.list_topics(name, 10).topics[name].partitions
    consumer.assign([TopicPartition(name, part, 0) for part in parts])
    found: list[Any] = []
    began = time.perf_counter()
    while len(found) < number and time.perf_counter() - began < 120:
        found += consumer.consume(500, 1.0)
    took = time.perf_counter() - began
    consumer.close()
    return found, took


def model(records: Iterable[Any]) -> tuple[set[Had], int]:
    """What a topic comes to, and how many of its records cannot be read."""
    rules = kafka.rules_of(GrantSource(kind="kafka"))
    stamped: list[tuple[Stamp, Event]] = []
    malformed = 0
    for one in map(kafka.record_of, records):
        try:
            event = events.read(one.body, rules, one.around)
        except MalformedEvent:
            malformed += 1
        else:
            stamped.append(((event.at, kafka.place_of(one.partition, one.offset)), event))
    return events.fold(stamped), malformed


def consume(settings: Settings, source: GrantSource, out: GrantFeed, told: Connection) -> None:
    """Take in and write until killed, and say how much was taken in by each step."""
    store = open_store(settings)
    reader = kafka.Reader(store, NAME, source, WHO)
    writer = topic.Writer(store, "out", ROW, out)
    while True:
        try:
            told.send(reader.step(0.2))
            writer.step()
        except (SourceMoved, SourceUnreachable):
            reader.close()
            reader = kafka.Reader(store, NAME, source, WHO)


def run(settings: Settings, served: Broker, *, number: int, kills: int, batch: int, seed: int = 7) -> Outcome:
    """One whole run on a fresh store."""
    dice = random.Random(seed)
    outcome = Outcome()
    sent = records_of(number, seed)
    served.send(IN, sent)
    outcome.records = len(sent)
    found, outcome.plain_seconds = plain(served.brokers, IN, len(sent))
    wanted, malformed = model(found)
    source = GrantSource(kind="kafka", brokers=served.brokers, topic=IN, batch=batch)
    # librdkafka's own broker gives what was written by transactions back with checksums that aiokafka refuses.
    out = GrantFeed(brokers=served.brokers, topic=OUT, fenced=False)
    store = open_store(settings)
    store.write(lambda tx: (sources.ensure(tx, NAME, "kafka"), sources.ensure(tx, ROW, sources.FEED)))
    stranger = Stranger(served.brokers, OUT)
    stranger.start()
    steps = max(1, len(sent) // batch // (kills + 1))
    taken = 0
    began = time.perf_counter()
    for life in range(kills + 1):
        here, there = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=consume, args=(settings, source, out, there), daemon=True)
        process.start()
        there.close()
        last = life == kills
        wait = dice.randrange(steps) + 1
        while (last and taken < len(sent)) or (not last and wait > 0):
            step = here.recv() if here.poll(60) else -1
            if step < 0:
                outcome.faults.append("a process took nothing in for a minute")
                break
            wait -= 1
            with store.read() as tx:
                taken = sum(sources.get(tx, NAME).position.get("offsets", {}).values())
        if not last:
            time.sleep(dice.random() * 0.02)
            outcome.kills += 1
        process.kill()
        process.join()
        here.close()
    outcome.seconds = time.perf_counter() - began
    _examine(store, stranger, out, wanted, malformed, outcome)
    store.close()
    return outcome


def _examine(
    store: Store, stranger: "Stranger", out: GrantFeed, wanted: set[Had], malformed: int, outcome: Outcome
) -> None:
    writer = topic.Writer(store, "out", ROW, out)
    while writer.step():
        pass
    writer.close()
    with store.read() as tx:
        held = intake.held(tx, NAME)
        counts = sources.get(tx, NAME).position["counts"]
        outcome.dead = dead.counts(tx).get(NAME, 0)
        outcome.changes = feed.head(tx)
        ours = {one.key: one.sequence for one in feed.snapshot(tx)}
    outcome.grants = len(held)
    if held != wanted:
        outcome.faults.append(f"{len(held ^ wanted)} grants are not those of the model")
    if outcome.dead != malformed or counts.get("malformed") != malformed:
        outcome.faults.append(f"{outcome.dead} dead events, {malformed} malformed ones, {counts} counted")
    if sum(counts.values()) != outcome.records:
        outcome.faults.append(f"{sum(counts.values())} records counted of {outcome.records}")
    table, outcome.written = stranger.finish()
    if table != ours:
        outcome.faults.append(f"aiokafka rebuilt another table: {len(table.items() ^ ours.items())} differ")


class Stranger(threading.Thread):
    """aiokafka, which reads a topic of ours from its start, beside who writes it: librdkafka's own broker keeps no
    more than 5 MB of a partition."""

    def __init__(self, brokers: str, name: str) -> None:
        super().__init__(daemon=True)
        self._brokers, self._name = brokers, name
        self._over = threading.Event()
        self._table: dict[str, int] = {}
        self._count = 0

    def finish(self) -> tuple[dict[str, int], int]:
        """When it has read what there is now: the table (sequence by key) that it made of the topic, and how many
        records it read."""
        self._over.set()
        self.join()
        return self._table, self._count

    def run(self) -> None:
        """Read until all is."""
        asyncio.run(self._read())

    async def _read(self) -> None:
        from aiokafka import AIOKafkaConsumer
        from aiokafka import TopicPartition as Part

        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._brokers, enable_auto_commit=False, group_id=None, auto_offset_reset="none"
        )
        await consumer.start()
        newest: dict[str, tuple[int, bool]] = {}
        try:
            while not (numbers := await _partitions(consumer, self._name)):
                pass  # asking makes the topic
            parts = [Part(self._name, number) for number in numbers]
            consumer.assign(parts)
            for part in parts:
                consumer.seek(part, 0)
            while not (self._over.is_set() and await _is_at_end(consumer, parts)):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for one in records:
                        self._count += 1
                        sequence = int(dict(one.headers)["sequence"])
                        key = one.key.decode()
                        if sequence >= newest.get(key, (0, False))[0]:
                            newest[key] = sequence, one.value is not None
                            assert one.value is None or json.loads(one.value)["sequence"] == sequence
            self._table = {key: sequence for key, (sequence, present) in newest.items() if present}
        finally:
            await consumer.stop()


async def _is_at_end(consumer: Any, parts: list[Any]) -> bool:
    ends = await consumer.end_offsets(parts)
    return not any([await consumer.position(part) < end for part, end in ends.items()])


async def _partitions(consumer: Any, name: str) -> list[int]:
    metadata = await consumer._client.fetch_all_metadata()
    return sorted(metadata.partitions_for_topic(name) or ())


def digests(number: int) -> tuple[int, int, float, float]:
    """Bytes that a comparison of so many grants costs by digests and in full, and milliseconds for the digests of one
    side, and for the list."""
    some = {(f"u{place}", _ROLES[place % 5], _RESOURCES[place % 4]) for place in range(number)}
    began = time.perf_counter()
    told = buckets.answer(some, [("buckets", "256")], 1_790_000_000)
    took = (time.perf_counter() - began) * 1000
    began = time.perf_counter()
    whole = orjson.dumps(buckets.answer(some, [], 1_790_000_000))
    listing.read(orjson.loads(whole), {}, NAME)
    return len(orjson.dumps(told)), len(whole), took, (time.perf_counter() - began) * 1000


def main() -> int:
    """Run and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--postgres", action="store_true")
    flags = parser.parse_args()
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(postgres(home)) if flags.postgres else ""
        served = stack.enter_context(broker())
        settings = load(home=home / "home", database=database)
        found = run(settings, served, number=flags.events, kills=flags.kills, batch=flags.batch, seed=flags.seed)
    plain_rate, rate = found.records / found.plain_seconds, found.records / found.seconds
    print(f"{found.records} records, {found.kills} kills, {found.changes} changes, {found.grants} grants in the end")
    print(f"plain consumption {plain_rate:,.0f} records/s; taken in, kills and all, {rate:,.0f}/s")
    print(f"{found.dead} dead events; aiokafka read {found.written} records of our topic")
    by_digests, in_full, digest_ms, list_ms = digests(100_000)
    print(
        f"100,000 grants compared: {by_digests:,} bytes ({digest_ms:.0f} ms), in full {in_full:,} ({list_ms:.0f} ms)"
    )
    for fault in found.faults:
        print(f"WRONG: {fault}")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
