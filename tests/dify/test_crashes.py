"""A process that dies between any two of its requests to Dify and its transactions, in a rollback or its undo: the
next one ends it, and nothing is lost or published twice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from dify.ground import SERVER, Ground, content, ground
from lastgood.db import tables as t
from lastgood.db.store import Store
from lastgood.history.apps import Way
from lastgood.release import journal, operation
from lastgood.targets.dify.wire import Wire
from support.scene import ALICE


class Killed(BaseException):
    """The process is gone."""


class Instants:
    """Counts what this thread asks of Dify and of the store, and dies at the instant `at`."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.seen = 0

    def come_by(self) -> None:
        self.seen += 1
        if self.seen - 1 == self.at:
            raise Killed

    @contextmanager
    def watched(self, at: int | None) -> Iterator[None]:
        self.at, self.seen = at, 0
        send, write = Wire.send, Store.write

        def watched_send(wire: Wire, *given: Any) -> Any:
            reply = send(wire, *given)
            self.come_by()
            return reply

        def watched_write(store: Store, work: Callable[[Any], Any], **more: Any) -> Any:
            result = write(store, work, **more)
            self.come_by()
            return result

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Wire, "send", watched_send)
            patch.setattr(Store, "write", watched_write)
            yield


def let_others_claim(store: Store) -> None:
    store.write(lambda tx: tx.connection.execute(update(t.operation).values(lease_until_ms=1)))


def finish(here: Ground, id: str) -> journal.Operation:
    """What the next process does with an operation that the last one left."""
    with here.store.read() as tx:
        found = journal.find(tx, id)
    if found.over:
        return found
    let_others_claim(here.store)
    return operation.run(here.means, id).operation


def ask_undo(here: Ground, id: str) -> None:
    here.store.write(lambda tx: journal.ask(tx, ALICE, id, "undo"))


@pytest.mark.parametrize(("version", "way"), [("1.13.0", "publish"), ("1.14.2", "restore")])
def test_killed_at_any_instant_it_is_ended_by_the_next(
    version: str, way: Way, sqlite_template: Path, home: Path
) -> None:
    """Rollbacks and undos of the same app, one after the other, each killed one instant later."""
    instants = Instants()
    with ground(version, sqlite_template, home) as here:
        here.set_way(way)
        before = content(here.fake.draft)
        good, bad = content(here.fake.versions[1]), content(here.fake.versions[0])
        at, killed = 0, 0
        while True:
            id = here.enter(to=here.good)
            rows = len(here.fake.versions)
            try:
                with instants.watched(at):
                    operation.run(here.means, id)
            except Killed:
                killed += 1
            forward = instants.seen > at
            done = finish(here, id)
            where = f"forward {at}: {done.report}"
            assert done.state == "succeeded", where
            assert (here.channel.version, here.channel.applying) == (here.good, None), where
            assert content(here.fake.live) == good, where
            assert content(here.fake.draft) == before, where
            assert len(here.fake.versions) == rows + 1, where
            ask_undo(here, id)
            try:
                with instants.watched(at):
                    operation.run(here.means, id)
            except Killed:
                killed += 1
            back = instants.seen > at
            done = finish(here, id)
            where = f"back {at}: {done.report}"
            assert done.state == "undone", where
            assert (here.channel.version, here.channel.applying) == (here.bad, None), where
            assert content(here.fake.live) == bad, where
            assert content(here.fake.draft) == before, where
            assert len(here.fake.versions) == rows + 2, where
            if not (forward or back):
                break
            at += 1
    assert killed > 60
    assert here.app.target == SERVER
