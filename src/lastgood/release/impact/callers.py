"""Who calls a workflow: its app keys, and the requests that the gateway counted for them."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from lastgood.db.tx import Tx
from lastgood.history import keys
from lastgood.history.workflows import Workflow
from lastgood.release.impact.reached import Caller
from lastgood.release.means import Means

type Counted = Connection


@contextmanager
def counted(means: Means) -> Iterator[Counted | None]:
    """A connection to what the gateway counted, None where nothing counts."""
    runs = means.runs()
    if runs is None:
        yield None
        return
    with runs.connect() as connection:
        yield connection


def of(tx: Tx, counted: Counted | None, workflow: Workflow) -> tuple[Caller, ...]:
    """All callers of `workflow`: every key that is not revoked, and revoked ones that called within 7 days."""
    return tuple(
        Caller(workflow.slug, key["channel"], key["id"], key["name"], "", None, None)
        for key in keys.listing(tx, workflow)
        if key["revoked_at"] is None
    )
