"""The routing revision: one number that grows with every change that the gateway must know."""

from sqlalchemy import func, select, text, update

from lastgood.db import tables
from lastgood.db.tx import Tx

NOTIFY_CHANNEL = "lastgood_routes"

_BUMP = update(tables.routing).values(revision=tables.routing.c.revision + 1).returning(tables.routing.c.revision)
_NOTIFY = select(func.pg_notify(NOTIFY_CHANNEL, text(":revision")))
_REVISION = select(tables.routing.c.revision)


def bump(tx: Tx) -> int:
    """The next revision, for the rows that this transaction changes. The row lock it takes lasts until the commit,
    so revisions become visible in their order; on PostgreSQL every gateway worker is notified at the commit."""
    if tx.revision == 0:
        tx.revision = tx.connection.execute(_BUMP).scalar_one()
        if tx.postgres:
            tx.connection.execute(_NOTIFY, {"revision": str(tx.revision)})
    return tx.revision


def current(tx: Tx) -> int:
    """The revision as this transaction sees it."""
    return int(tx.connection.execute(_REVISION).scalar_one())
