"""The routing revision: one number that grows with every change that the gateway must know."""

from sqlalchemy import func, select, update

from lastgood.db import messages, tables
from lastgood.db.messages import ROUTE_CHANGE_FORMS, RouteChange
from lastgood.db.tx import Tx

NOTIFY_CHANNEL = "lastgood_routes"

_BUMP = update(tables.routing).values(revision=tables.routing.c.revision + 1).returning(tables.routing.c.revision)
# Which form all can read is asked where the message is sent: one round trip, one moment.
_NOTIFY = select(func.pg_notify(NOTIFY_CHANNEL, messages.newest_agreed(ROUTE_CHANGE_FORMS, "gateway")))
_REVISION = select(tables.routing.c.revision)


def bump(tx: Tx, *, workflow: str = "", channel: str = "", generation: int = 0) -> int:
    """The next revision, for the rows that this transaction changes. The row lock it takes lasts until the commit,
    so revisions become visible in their order; on PostgreSQL every gateway worker is notified at the commit, once,
    in the newest form that all of them read. `workflow`, `channel` and `generation` name the move, if it is one (the
    first of the transaction), for their logs."""
    if tx.revision == 0:
        tx.revision = tx.connection.execute(_BUMP).scalar_one()
        if tx.postgres:
            change = RouteChange(tx.revision, workflow, channel, generation)
            tx.connection.execute(_NOTIFY, messages.texts(ROUTE_CHANGE_FORMS, change))
    return tx.revision


def current(tx: Tx) -> int:
    """The revision as this transaction sees it."""
    return int(tx.connection.execute(_REVISION).scalar_one())
