"""Clients of one channel in processes of their own, each of which writes down what it asked and what it was told."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import update

from gateway.scene import KEY
from lastgood.db import process
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store, open_store
from lastgood.db.tx import Tx
from lastgood.errors import AlreadyActive, ChannelMoved
from lastgood.gateway.lease import LeaseRouter, StoreMembership
from lastgood.gateway.router import Router, SqliteRouter
from lastgood.history import channels, workflows
from lastgood.release import moves
from linear.checker import Operation, State
from support.stores import clean_settings

LEASE = 5.0

# What a client can be made to do wrong, so that a test sees it rejected: answer reads from a memory that is renewed
# now and then; read the version and the generation one after the other; move without looking at the generation.
Fault = Literal["", "remembers", "tears", "overwrites"]

# How a client reads the channel: in the store, or as a gateway worker routes requests.
Way = Literal["store", "gateway"]


class Client:
    """A process's view of the channel `live` of the workflow `slug`."""

    def __init__(self, index: int, store: Store, slug: str, versions: tuple[str, ...], fault: Fault) -> None:
        self.index = index
        self.told: list[Operation] = []
        self._store = store
        self._versions = versions
        self._fault = fault
        self._who = Principal(f"client-{index}")
        self._random = random.Random(index)
        self._memory: tuple[float, State] = (0.0, State(None, 0))
        with store.read() as tx:
            self._workflow = workflows.find(tx, slug)

    def read(self, way: Callable[[], State]) -> State:
        """Ask what is live."""
        invoked = time.monotonic_ns()
        seen = way()
        self.told.append(Operation(self.index, "read", invoked, time.monotonic_ns(), seen))
        return seen

    def ponder(self) -> None:
        """Take some time, or none: then somebody else may move first."""
        if self._random.random() < 0.5:
            time.sleep(self._random.random() / 50)

    def move(self, seen: State) -> None:
        """Publish, or roll back to, another version than the one seen, from the generation seen; acknowledged when
        every gateway worker follows."""
        to = self._random.choice([version for version in self._versions if version != seen.version])
        invoked = time.monotonic_ns()
        try:
            process.confirm(self._store, self._store.write(lambda tx: self._work(tx, to, seen.generation)))
            outcome: Literal["done", "refused"] = "done"
            after = State(to, seen.generation + 1)
        except ChannelMoved as error:
            outcome, after = "refused", State(None, error.data["generation"])
        except AlreadyActive as error:  # an answer too, to a client that saw what never was
            active = State(error.data["version"], error.data["generation"])
            self.told.append(Operation(self.index, "read", invoked, time.monotonic_ns(), active))
            return
        self.told.append(
            Operation(self.index, "move", invoked, time.monotonic_ns(), after, seen.generation, to, outcome)
        )

    def _work(self, tx: Tx, to: str, expected: int) -> int:
        if self._fault == "overwrites":
            chosen = t.version.select().where(t.version.c.id == to)
            pk = tx.connection.execute(chosen).one().pk
            tx.connection.execute(update(t.channel).values(version_pk=pk, generation=expected + 1))
            return 0
        if self._random.random() < 0.5:
            return moves.publish(tx, self._who, self._workflow, to, expected=expected).revision
        return moves.rollback(tx, self._who, self._workflow, to=to, expected=expected).revision

    def in_store(self) -> State:
        """The channel as the store has it."""
        if self._fault == "remembers":
            if time.monotonic() - self._memory[0] > 0.05:
                self._memory = time.monotonic(), self._once()
            return self._memory[1]
        if self._fault == "tears":
            version = self._once().version
            time.sleep(0.002)
            return State(version, self._once().generation)
        return self._once()

    def _once(self) -> State:
        with self._store.read() as tx:
            found = channels.get(tx, self._workflow)
        return State(found.version, found.generation)

    def by(self, router: Router) -> State:
        """Where a gateway worker would send a request that begins now."""
        route = router.route(KEY)
        assert route is not None
        return State(route.version_id, route.generation)


def client(
    barrier: Any,
    index: int,
    home: str,
    database: str,
    slug: str,
    versions: tuple[str, ...],
    rounds: int,
    ways: tuple[Way, ...],
    fault: Fault,
) -> list[Operation]:
    """What client `index` asked and was told. It reads in its own way of `ways`: in the store so many `rounds` long,
    moving too; or through the gateway until those are through."""
    store = open_store(clean_settings(Path(home), database, lease_seconds=LEASE))
    router = _router(store) if ways[index] == "gateway" else None
    try:
        one = Client(index, store, slug, versions, fault)
        barrier.wait()
        if router is not None:
            while barrier.n_waiting < ways.count("store") and not barrier.broken:
                one.read(lambda: one.by(router))
                time.sleep(0.0005)  # a read costs microseconds: without a pause the history would be nothing else
        else:
            for _ in range(rounds):
                seen = one.read(one.in_store)
                if index % 4:  # every fourth of them only looks
                    one.ponder()
                    one.move(seen)
        barrier.wait()
    except Exception:
        barrier.abort()  # the others need not wait
        raise
    finally:
        if router is not None:
            router.close()
        store.close()
    return one.told


def _router(store: Store) -> Router:
    if not store.postgres:
        return SqliteRouter(store.engine, store.ring.lookup_key)
    member = StoreMembership(store, address="", lease_seconds=LEASE, on_store_loss="stop")
    router = LeaseRouter(member, store.ring.lookup_key, lease_seconds=LEASE)
    assert router.start()
    return router
