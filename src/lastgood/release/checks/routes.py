"""Whether permissions and routes are in step: each app key of the channel leads to what the channel points to, and a
revoked one nowhere."""

from collections.abc import Iterator

from sqlalchemy import bindparam, select

from lastgood.db import tables as t
from lastgood.history import routes
from lastgood.release.checks.case import Case, Checked

_KEYS = (
    select(t.app_key.c.id, t.app_key.c.name, t.app_key.c.hash, t.app_key.c.revoked_at)
    .join(t.channel, t.app_key.c.channel_pk == t.channel.c.pk)
    .where(t.channel.c.workflow_pk == bindparam("workflow"), t.channel.c.name == bindparam("name"))
    .order_by(t.app_key.c.pk)
)


def check(case: Case) -> Iterator[Checked]:
    """One item for all keys of the channel."""
    with case.means.store.read() as tx:
        keys = tx.connection.execute(_KEYS, {"workflow": case.workflow.pk, "name": case.channel}).all()
        known = routes.read_changes(tx.connection, 0).keys if keys else {}
    expected = f"each app key leads to {case.version.id} at generation {case.generation}, a revoked one nowhere"
    wrong = []
    for key in keys:
        route = known.get(bytes(key.hash))
        if key.revoked_at is not None:
            if route is not None:
                wrong.append(f"the revoked key {key.name} ({key.id}) still leads to {route.version_id}")
        elif route is None:
            wrong.append(f"{key.name} ({key.id}) leads nowhere")
        elif (route.workflow_id, route.channel) != (case.workflow.id, case.channel):
            wrong.append(f"{key.name} ({key.id}) leads to {route.channel} of {route.slug}")
        elif (route.version_id, route.generation) != (case.version.id, case.generation):
            wrong.append(f"{key.name} ({key.id}) leads to {route.version_id} at generation {route.generation}")
    active = sum(1 for key in keys if key.revoked_at is None)
    if wrong:
        yield Checked("routes", "fail", expected, "; ".join(wrong))
    elif not active:
        yield Checked("routes", "skipped", expected, "no app key leads to this channel")
    else:
        yield Checked("routes", "pass", expected, f"{active} of {active} app keys do")
