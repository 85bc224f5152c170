"""librdkafka's own broker: it speaks Kafka's protocol to other processes too."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Producer

_MOST_QUEUED = 50_000  # at 100,000 librdkafka takes no more


class Broker:
    """A running broker; `brokers` is its address. Topics are made when first written to, with four partitions."""

    def __init__(self, owner: Producer) -> None:
        self._owner = owner
        found = owner.list_topics(timeout=10).brokers.values()
        self.brokers = ",".join(f"{one.host}:{one.port}" for one in found)

    def send(self, topic: str, records: Any) -> None:
        """Write records (key, value, headers) in their order."""
        producer = Producer({"bootstrap.servers": self.brokers, "linger.ms": 5, "enable.idempotence": True})
        for key, value, headers in records:
            while len(producer) >= _MOST_QUEUED:
                producer.poll(0.1)
            producer.produce(topic, value, key, headers=headers)
            producer.poll(0)
        assert producer.flush(30) == 0


@contextmanager
def broker() -> Iterator[Broker]:
    """A broker of one's own for as long as needed."""
    owner = Producer({"bootstrap.servers": "nowhere", "test.mock.num.brokers": 1, "log_level": 0})
    yield Broker(owner)
    del owner
