"""Short ways to a store with something in it, for tests that begin later than at the first push."""

from dataclasses import dataclass
from typing import Any

import pytest

from lastgood import dsl
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.history import channels, versions, workflows
from lastgood.history.channels import Channel, Kind
from lastgood.history.states import State
from lastgood.history.versions import Pushed, Version
from lastgood.history.workflows import Workflow
from support.documents import document

_ALL = frozenset({"admin"})
ALICE, BOB = Principal("alice", roles=_ALL), Principal("bob", roles=_ALL)
NOBODY = Principal("mallory")
ELSEWHERE = "dify"  # a target of which nothing is known but its address


@dataclass(frozen=True)
class Scene:
    """One workflow of `store`. Every method is one transaction."""

    store: Store
    workflow: Workflow

    def push(self, text: str | dsl.Document = "hello", who: Principal = ALICE, **more: Any) -> Pushed:
        """Keep a document, or one that says `text`."""
        value = document(text) if isinstance(text, str) else text
        return self.store.write(lambda tx: versions.push(tx, who, self.workflow, value, **more))

    def versions(self, *texts: str, state: State = "candidate") -> list[Version]:
        """New versions that say `texts`, in `state`."""
        pushed = [self.push(text).version for text in texts]
        return pushed if state == "candidate" else [self.mark(version, state) for version in pushed]

    def mark(self, version: Version, state: State, who: Principal = ALICE) -> Version:
        """Set what is known of a version."""
        return self.store.write(
            lambda tx: versions.set_state(tx, who, version, state, kind="mark", reason=f"seen to be {state}")
        )

    def move(
        self,
        to: Version,
        *,
        expected: int | None = None,
        kind: Kind = "publish",
        name: str = channels.LIVE,
        who: Principal = ALICE,
        reason: str = "",
    ) -> int:
        """Point a channel to `to` from the generation it is at, or from `expected`."""

        def work(tx: Tx) -> int:
            channel = channels.ensure(tx, self.workflow, name)
            at = channel.generation if expected is None else expected
            return channels.move(tx, who, self.workflow, channel, to, expected=at, kind=kind, reason=reason)

        return self.store.write(work)

    def channel(self, name: str = channels.LIVE) -> Channel:
        """A channel as it stands."""
        with self.store.read() as tx:
            return channels.get(tx, self.workflow, name)

    def last_good(self, name: str = channels.LIVE) -> str | None:
        """The id of the last good version of a channel."""
        with self.store.read() as tx:
            found = channels.last_good(tx, self.workflow, channels.get(tx, self.workflow, name))
        return found.id if found else None

    def find(self, id: str) -> Version:
        """A version as it stands."""
        with self.store.read() as tx:
            return versions.find(tx, id, self.workflow)


def scene(store: Store, slug: str = "greet", *, mode: str = "workflow", target: str = ELSEWHERE) -> Scene:
    """A new workflow `slug` on `target`."""

    def work(tx: Tx) -> Workflow:
        if target != "engine":
            workflows.set_target(tx, ALICE, target, "http://127.0.0.1:9")
        return workflows.create(tx, ALICE, slug, name=slug.title(), mode=mode, target=target)

    return Scene(store, store.write(work))


class Clock:
    """The time that transactions are given; stands still until it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: str) -> None:
        self.now = now
        monkeypatch.setattr("lastgood.db.store.utc_now", lambda: self.now)

    def set(self, day_and_time: str) -> None:
        """Let it be ``2026-11-23 10:00``, UTC."""
        self.now = day_and_time.replace(" ", "T") + ":00.000000Z"
