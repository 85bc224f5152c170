"""What the gateway must know of Dify apps beyond their routes, read from the store off the request path."""

import logging
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from sqlalchemy import bindparam, exists, select

from lastgood.access import decisions
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.dsl import InputField, inputs
from lastgood.history import apps, placements, versions
from lastgood.history.routes import Route

log = logging.getLogger(__name__)

_GATEWAY = Principal("gateway", "service")

# Moves that take a version out of service because it is not wanted there any more.
_BACK = ("rollback", "undo")
_LEFT = select(
    exists()
    .where(
        t.move.c.channel_pk == t.channel.c.pk,
        t.channel.c.workflow_pk == t.workflow.c.pk,
        t.move.c.from_pk == t.version.c.pk,
        t.workflow.c.id == bindparam("workflow"),
        t.channel.c.name == bindparam("channel"),
        t.version.c.id == bindparam("version"),
        t.move.c.generation > bindparam("since"),
        t.move.c.kind.in_(_BACK),
    )
    .correlate(None)
)


class Placed(NamedTuple):
    """A version that is placed on an app: which one, what it takes, and whether its row is still there."""

    version_id: str
    fields: Sequence[InputField]
    gone: bool


class Knowledge(Protocol):
    """Questions that are answered by the store. Each may wait, so each is asked in a thread."""

    def placed(self, route: Route, placement: str) -> Placed | None:
        """What Dify's row `placement` of the route's app holds; None for one that is not known."""

    def placement_of(self, route: Route, version: str) -> str | None:
        """Dify's row of the route's app that holds `version` now."""

    def left(self, route: Route, version: str, since: int) -> bool:
        """Whether a rollback took `version` out of the route's channel after generation `since`."""

    def deleted(self, route: Route, placement: str) -> None:
        """Keep that Dify does not have the row `placement` any more."""


class StoreKnowledge:
    """`Knowledge` of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def placed(self, route: Route, placement: str) -> Placed | None:
        """See `Knowledge`. Raises `LastgoodError`."""
        with self._store.read() as tx:
            app = apps.find(tx, route.target, route.app or "")
            found = placements.find(tx, app, placement) if app is not None else None
            if found is None:
                return None
            document = versions.document_of(tx, versions.by_pk(tx, found.version_pk))
            return Placed(found.version, inputs(document), found.gone_at is not None)

    def placement_of(self, route: Route, version: str) -> str | None:
        """See `Knowledge`. Raises `LastgoodError`."""
        with self._store.read() as tx:
            app = apps.find(tx, route.target, route.app or "")
            found = placements.current(tx, app, versions.find(tx, version)) if app is not None else None
            return found.placed_id if found is not None else None

    def left(self, route: Route, version: str, since: int) -> bool:
        """See `Knowledge`. Raises `LastgoodError`."""
        asked = {"workflow": route.workflow_id, "channel": route.channel, "version": version, "since": since}
        with self._store.read() as tx:
            return bool(tx.connection.execute(_LEFT, asked).scalar_one())

    def deleted(self, route: Route, placement: str) -> None:
        """See `Knowledge`: the placement is marked as gone, with the alarm; the operators publish it again. Raises
        `LastgoodError`."""
        decisions.require(self._store, _GATEWAY, "target:capture", f"target:{route.target}")

        def work(tx: Tx) -> None:
            app = apps.find(tx, route.target, route.app or "")
            found = placements.find(tx, app, placement) if app is not None else None
            if app is not None and found is not None and found.gone_at is None:
                log.warning("%s: Dify has no %s (%s) any more", route.slug, found.version, placement)
                placements.set_gone(tx, _GATEWAY, app, found)

        self._store.write(work)
