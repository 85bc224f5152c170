"""Our changes on a compacted Kafka topic. How far it was written is kept in the store once Kafka has acknowledged it,
so that a crash writes some records again, and never leaves one out; each carries its number.

Written by transactions (the setting `fenced`), a process that has lost its lease without noticing is refused by
Kafka: an old state that came last would be what compaction keeps."""

from typing import Any, Final

from lastgood.access.sync import feed, sources
from lastgood.access.sync.librdkafka import SECONDS, configured, library, words
from lastgood.catalogue import GrantFeed
from lastgood.db.store import Store
from lastgood.errors import InvalidSetting, SourceUnreachable

MOST: Final = 1000


class Writer:
    """Writes the topic of the feed `name`; `row` is what its state is kept under. Not for more than one thread."""

    def __init__(self, store: Store, name: str, row: str, setting: GrantFeed) -> None:
        self._store, self._name, self._row, self._topic = store, name, row, setting.topic
        self._kafka = library()
        self._fenced = setting.fenced
        ours: dict[str, Any] = {"enable_idempotence": True}
        if self._fenced:
            ours["transactional_id"] = f"lastgood-feed-{name}"
        settings = configured(setting.brokers, setting.config, f"feeds.{name}", **ours)
        try:
            self._producer = self._kafka.Producer(settings)
        except (self._kafka.KafkaException, ValueError, TypeError) as error:
            raise InvalidSetting(name=f"feeds.{name}.config", value="…", reason=words(error)) from None
        self._begun = False

    def step(self) -> int:
        """Write what has changed since, at most `MOST` records. Says how many. Raises `SourceUnreachable`,
        `SourceMoved`; then the writer is to be closed."""
        with self._store.read() as tx:
            source = sources.get(tx, self._row)
            same = source.position.get("topic") == self._topic
            after = int(source.position.get("sequence", 0)) if same else 0
            found = feed.changes(tx, after, MOST)
        if not found:
            return 0
        try:
            self._write(found)
        except self._kafka.KafkaException as error:
            raise SourceUnreachable(source=f"the feed {self._name}", reason=words(error)) from None
        position = {"topic": self._topic, "sequence": found[-1].sequence}
        self._store.write(lambda tx: sources.move(tx, source, position))
        return len(found)

    def close(self) -> None:
        """Let go of Kafka; what it has not acknowledged is written again by the next."""
        self._producer.purge()
        self._producer.flush(0)

    def _write(self, found: list[feed.Change]) -> None:
        if self._fenced and not self._begun:
            self._producer.init_transactions(SECONDS)
            self._begun = True
        if self._fenced:
            self._producer.begin_transaction()
        failed: list[Any] = []

        def told(error: Any, _: Any) -> None:
            if error is not None:
                failed.append(error)

        for change in found:
            key, value, headers = change.record()
            self._producer.produce(self._topic, value, key, headers=headers, on_delivery=told)
        left = self._producer.flush(SECONDS)
        if failed or left:
            raise self._kafka.KafkaException(failed[0] if failed else self._kafka.KafkaError._MSG_TIMED_OUT)
        if self._fenced:
            self._producer.commit_transaction(SECONDS)
