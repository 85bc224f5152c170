"""Events from a Kafka topic, taken in exactly once: where each partition was read to is kept in the store, in the
transaction of the grants that came of it, and reading begins there again. Kafka's own committed offsets follow
afterwards, for people and tools that look at them; nothing here reads them.

No consumer group deals the partitions out: the store's lease names the one process that reads a source, and the
compare-and-set of the position stops one that has lost it without noticing."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from lastgood.access.sync import dead, events, sources
from lastgood.access.sync.events import Around, Event, Rules
from lastgood.access.sync.intake import Intake
from lastgood.access.sync.librdkafka import SECONDS, configured, library, words
from lastgood.catalogue import GrantSource
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import InvalidSetting, MalformedEvent, SourceMoved, SourceUnreachable

_PARTITIONS: Final = 4096
_LOOK_SECONDS: Final = 30.0  # between two looks for new partitions
_TOGETHER_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Record:
    """A record of the topic, as far as it is used here."""

    partition: int
    offset: int
    body: bytes | None
    around: Around


def place_of(partition: int, offset: int) -> int:
    """The second half of a stamp: the later offset wins; where two partitions have the same, the higher one."""
    return offset * _PARTITIONS + partition


def rules_of(setting: GrantSource) -> Rules:
    """What events of a source may say now."""
    return Rules(int(time.time()), int(setting.future_hours * 3600), setting.roles)


def take_in(
    tx: Tx, who: Principal, name: str, setting: GrantSource, records: Sequence[Record], began: Mapping[str, int]
) -> dict[str, int]:
    """Take records in and set the position past them. `began`: where the reader believes to stand, by partition (as
    text); it gives where it stands then. Raises `SourceMoved` where the store knows better."""
    source = sources.hold(tx, name)
    stored = _offsets(source.position, setting.topic)
    after = dict(began)
    for record in records:
        after[str(record.partition)] = record.offset + 1
    if any(stored.get(key) != began.get(key) for key in after):  # all of them: what is written goes back in none
        raise SourceMoved(source=name)
    rules = rules_of(setting)
    read: list[tuple[tuple[int, int], Event]] = []
    outcomes: Counter[str] = Counter()
    for record in records:
        number = place_of(record.partition, record.offset)
        try:
            event = events.read(record.body, rules, record.around)
        except MalformedEvent as error:
            place = f"{record.partition}/{record.offset}"
            dead.keep(tx, name, place, number, record.body, record.around, str(error))
            outcomes["malformed"] += 1
        else:
            read.append(((event.at, number), event))
    outcomes.update(Intake(tx, who, name).take(read))
    counts = sources.counted(source.position, outcomes)
    sources.move(tx, source, {"topic": setting.topic, "offsets": {**stored, **after}, "counts": counts})
    return after


class Reader:
    """Reads the topic of the source `name`. Not for more than one thread."""

    def __init__(self, store: Store, name: str, setting: GrantSource, who: Principal) -> None:
        if not (setting.brokers and setting.topic):
            raise InvalidSetting(name=f"grants.{name}", value="", reason="give its brokers and its topic")
        self._store, self._name, self._setting, self._who = store, name, setting, who
        self._kafka = library()
        settings = configured(
            setting.brokers, setting.config, f"grants.{name}",
            group_id=setting.group, enable_auto_commit=False, auto_offset_reset="error",
            isolation_level="read_committed",
        )  # fmt: skip
        try:
            self._consumer = self._kafka.Consumer({**settings, "error_cb": self._hear})
        except (self._kafka.KafkaException, ValueError, TypeError) as error:
            raise InvalidSetting(name=f"grants.{name}.config", value="…", reason=words(error)) from None
        self._at: dict[str, int] = {}
        self._looked = 0.0
        self._trouble = ""
        self.lag = 0
        self.lost = 0  # records that Kafka no longer had when they were to be read

    def step(self, seconds: float) -> int:
        """Take in what comes within `seconds`, one transaction at most. Says how many records. Raises
        `SourceUnreachable`, `SourceMoved`, and what the store raises; then the reader is to be closed."""
        try:
            if not self._at or time.monotonic() - self._looked > _LOOK_SECONDS:
                self._look()
            found = self._consumer.consume(1, seconds)
            if found:  # what comes with the first is taken with it, and the first does not wait for more
                self._trouble = ""
                found += self._consumer.consume(self._setting.batch - 1, _TOGETHER_SECONDS)
        except self._kafka.KafkaException as error:
            raise SourceUnreachable(source=self._name, reason=words(error)) from None
        if self._trouble and not found:
            raise SourceUnreachable(source=self._name, reason=self._trouble)
        records = [record_of(one) for one in found if self._is_record(one)]
        if not records:
            return 0
        began = dict(self._at)
        self._at = self._store.write(lambda tx: take_in(tx, self._who, self._name, self._setting, records, began))
        self._tell_kafka(records)
        self.lag = self._behind()
        return len(records)

    def close(self) -> None:
        """Let go of Kafka."""
        self._consumer.close()

    def _look(self) -> None:
        """Find partitions that are new, and how far behind we are."""
        topic = self._consumer.list_topics(self._setting.topic, SECONDS).topics[self._setting.topic]
        if topic.error is not None:
            raise SourceUnreachable(source=self._name, reason=f"the topic {self._setting.topic}: {topic.error.str()}")
        if len(topic.partitions) > _PARTITIONS:
            reason = f"the topic has {len(topic.partitions)} partitions, more than {_PARTITIONS}"
            raise SourceUnreachable(source=self._name, reason=reason)
        if self._at.keys() != {str(number) for number in topic.partitions}:
            # Asked while nothing is assigned: behind a fetch that waits for records they would wait too.
            self._consumer.unassign()
            parts = {number: self._part(number) for number in topic.partitions}
            self._begin({n: self._consumer.get_watermark_offsets(part, SECONDS) for n, part in parts.items()})
        self._looked = time.monotonic()

    def _behind(self) -> int:
        """How many records are left, as far as the last fetch of each partition told."""
        bounds = {at: self._consumer.get_watermark_offsets(self._part(int(at)), cached=True) for at in self._at}
        return sum(max(0, high[1] - self._at[at]) for at, high in bounds.items() if high)

    def _hear(self, error: Any) -> None:
        if error.code() in (self._kafka.KafkaError._ALL_BROKERS_DOWN, self._kafka.KafkaError._AUTHENTICATION):
            self._trouble = error.str()

    def _begin(self, bounds: Mapping[int, tuple[int, int]]) -> None:
        """Read each partition from where the store says, or from its beginning."""
        with self._store.read() as tx:
            stored = _offsets(sources.get(tx, self._name).position, self._setting.topic)
        wanted = {}
        for number, (low, high) in bounds.items():
            at = stored.get(str(number))
            # What lies before `low` is gone; past `high` it is another topic of the same name.
            wanted[number] = low if at is None or not low <= at <= high else at
            self.lost += 0 if at is None or at >= low else low - at
        moved = {str(number): at for number, at in wanted.items() if stored.get(str(number)) != at}
        if moved:
            self._store.write(lambda tx: self._set(tx, stored, moved))
        self._consumer.assign([self._part(number, at) for number, at in wanted.items()])
        self._at = {str(number): at for number, at in wanted.items()}
        self.lag = sum(high - wanted[number] for number, (_, high) in bounds.items())

    def _set(self, tx: Tx, stored: Mapping[str, int], moved: Mapping[str, int]) -> None:
        source = sources.hold(tx, self._name)
        if _offsets(source.position, self._setting.topic) != stored:
            raise SourceMoved(source=self._name)
        counts = source.position.get("counts", {})
        position = {"topic": self._setting.topic, "offsets": {**stored, **moved}, "counts": counts}
        sources.move(tx, source, position, read=False)

    def _is_record(self, message: Any) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() == self._kafka.KafkaError._PARTITION_EOF:
            return False
        raise SourceUnreachable(source=self._name, reason=error.str())

    def _tell_kafka(self, records: Sequence[Record]) -> None:
        """Commit to Kafka what is committed here; whoever watches the group sees it. Failing, it is told next
        time."""
        after = {record.partition: record.offset + 1 for record in records}
        with suppress(self._kafka.KafkaException):
            self._consumer.commit(offsets=[self._part(*one) for one in after.items()], asynchronous=True)

    def _part(self, number: int, offset: int | None = None) -> Any:
        if offset is None:
            return self._kafka.TopicPartition(self._setting.topic, number)
        return self._kafka.TopicPartition(self._setting.topic, number, offset)


def record_of(message: Any) -> Record:
    """A message of librdkafka as a record."""
    headers = {}
    for name, value in message.headers() or ():
        headers[str(name).lower()] = (value or b"").decode(errors="replace") if not isinstance(value, str) else value
    kind, at_ms = message.timestamp()
    around = Around(message.key(), headers, at_ms if kind else None)
    return Record(message.partition(), message.offset(), message.value(), around)


def _offsets(position: Mapping[str, Any], topic: str) -> dict[str, int]:
    return dict(position.get("offsets", {})) if position.get("topic") == topic else {}
