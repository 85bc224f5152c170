"""A process that dies between any two of its requests to Dify and its transactions, in a rollback or its undo: the
next one ends it, and nothing is lost or published twice.

``LASTGOOD_EVERY_KILL=1`` dies at each instant; the default at every second one, the one server at the even, the other
at the odd."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from dify.ground import SERVER, Ground, Moment, content, ground
from lastgood.db import tables as t
from lastgood.db.store import Store
from lastgood.history.apps import Way
from lastgood.release import journal, operation
from lastgood.targets.dify.wire import Wire
from support.scene import ALICE

EVERY = "LASTGOOD_EVERY_KILL" in os.environ


class Killed(BaseException):
    """The process is gone."""


class Instants:
    """Counts what is asked of Dify and of the store, and dies at the instant `at`, or has each looked at."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.look: Callable[[], object] | None = None
        self.seen = 0

    def come_by(self) -> None:
        self.seen += 1
        if self.look is not None:
            self.look()
        if self.seen - 1 == self.at:
            raise Killed

    @contextmanager
    def watched(self, at: int | None = None, look: Callable[[], object] | None = None) -> Iterator[None]:
        self.at, self.look, self.seen = at, look, 0
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


@pytest.mark.parametrize(("version", "way", "first"), [("1.13.0", "publish", 0), ("1.14.2", "restore", 1)])
def test_killed_at_any_instant_it_is_ended_by_the_next(
    version: str, way: Way, first: int, sqlite_template: Path, home: Path
) -> None:
    """Store and Dify as they are after every request and every transaction of a rollback and of its undo; from each
    of them, which is all that a killed process leaves, another process goes on."""
    with ground(version, sqlite_template, home) as here:
        here.set_way(way)
        before, rows = content(here.fake.draft), len(here.fake.versions)
        good, bad = content(here.fake.versions[1]), content(here.fake.versions[0])
        id = here.enter(to=here.good)
        forward = all_moments(here, id)
        for number, moment in some(forward, first):
            here.go_back(moment)
            done = finish(here, id)
            where = f"forward {number}: {done.report}"
            assert done.state == "succeeded", where
            assert (here.channel.version, here.channel.applying) == (here.good, None), where
            assert content(here.fake.live) == good, where
            assert content(here.fake.draft) == before, where
            assert len(here.fake.versions) == rows + 1, where
        ask_undo(here, id)
        back = all_moments(here, id)
        for number, moment in some(back, first):
            here.go_back(moment)
            done = finish(here, id)
            where = f"back {number}: {done.report}"
            assert done.state == "undone", where
            assert (here.channel.version, here.channel.applying) == (here.bad, None), where
            assert content(here.fake.live) == bad, where
            assert content(here.fake.draft) == before, where
            assert len(here.fake.versions) == rows + 2, where
        assert len(forward) > 40
        assert len(back) > 40
        assert here.app.target == SERVER


def some(moments: list[Moment], first: int) -> list[tuple[int, Moment]]:
    """The instants to go on from, by their number: every second from `first` on, and the last."""
    numbered = list(enumerate(moments))
    return numbered if EVERY else numbered[first:-1:2] + numbered[-1:]


def all_moments(here: Ground, id: str) -> list[Moment]:
    """What there is at every instant of the operation, which is run to its end."""
    found = [here.moment()]
    with Instants().watched(look=lambda: found.append(here.moment())):
        operation.run(here.means, id)
    return found
