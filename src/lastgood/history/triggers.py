"""What starts the versions of a channel: its webhooks and schedules, bound in the transaction of each move.

`rebind` is part of a move, so that a trigger and the channel never disagree: from the commit on, webhooks and slots
go to the version that the channel points to. What became of each slot is in `history.slots`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, update

from lastgood.db import tables as t
from lastgood.db.tx import Tx, parse_time, utc_text
from lastgood.dsl.schedule import Schedule
from lastgood.dsl.triggers import Trigger, triggers
from lastgood.history import channels, slots, versions
from lastgood.history.channels import Channel
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow
from lastgood.ids import random_id

ENGINE = "engine"  # the one target whose triggers are bound here; Dify binds its own
_TOKEN_LENGTH = 24
# No app key has a space in it, so that none can pass for a webhook's token.
_LOOKUP = "webhook "

_T = t.trigger
_OF_CHANNEL = select(_T).where(_T.c.channel_pk == bindparam("channel")).order_by(_T.c.pk)
_OF_WORKFLOW = (
    select(
        _T,
        t.channel.c.name.label("channel"),
        t.channel.c.generation.label("channel_generation"),
        t.version.c.id.label("version"),
    )
    .join_from(_T, t.channel, _T.c.channel_pk == t.channel.c.pk)
    .outerjoin(t.version, _T.c.version_pk == t.version.c.pk)
    .where(t.channel.c.workflow_pk == bindparam("workflow"))
    .order_by(t.channel.c.pk, _T.c.pk)
)
_ADD = insert(_T)
_SET = (
    update(_T)
    .where(_T.c.pk == bindparam("trigger"))
    .values(
        title=bindparam("title"),
        version_pk=bindparam("version"),
        generation=bindparam("generation"),
        cron=bindparam("cron"),
        timezone=bindparam("timezone"),
        problem=bindparam("problem"),
        next_slot=bindparam("next"),
        updated_at=bindparam("at"),
    )
)
_UNBIND = (
    update(_T)
    .where(_T.c.pk == bindparam("trigger"))
    .values(version_pk=None, generation=bindparam("generation"), next_slot=None, updated_at=bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class Bound:
    """A trigger of a channel as it stands: the `version` that it starts (None: the one in service has no such node)
    and the generation at which that was so decided; a webhook's `token`; a schedule's times, and why it never fires
    (`problem`)."""

    node: str
    kind: str
    title: str
    channel: str
    version: str | None
    generation: int
    token: str | None
    cron: str
    timezone: str
    problem: str
    next_slot: str | None
    last: dict[str, Any] | None

    @property
    def state(self) -> str:
        """``bound``, ``unbound``, or ``broken``: it is bound, and can never fire."""
        return "unbound" if self.version is None else "broken" if self.problem else "bound"

    def public(self, gateway: str) -> dict[str, Any]:
        """Its JSON form; webhooks are called at the address `gateway`."""
        return {
            "node": self.node,
            "kind": self.kind,
            "title": self.title,
            "channel": self.channel,
            "state": self.state,
            "version": self.version,
            "generation": self.generation,
            "url": f"{gateway}{path_of(self.token)}" if self.token else None,
            "cron": self.cron or None,
            "timezone": self.timezone or None,
            "problem": self.problem or None,
            "next": self.next_slot,
            "last": self.last,
        }


def path_of(token: str) -> str:
    """The path at which the gateway takes a webhook, as Dify's."""
    return f"/triggers/webhook/{token}"


def lookup_name(token: str) -> str:
    """What a webhook's `token` is looked up by, where app keys are too."""
    return f"{_LOOKUP}{token}"


def carry(bound: Schedule | None, slot: str | None, wanted: Schedule, now: str) -> str | None:
    """The next slot of a schedule after a move at `now`, which had `slot` to come by the times `bound`.

    The same times keep it, so that no move skips or doubles it. A slot whose time has come is kept whatever the new
    times are: it is the new version's to run. Other times start from now."""
    if wanted.problem:
        return None
    if slot is not None and bound is not None and (slot <= now or _same(bound, wanted)):
        return slot
    coming = wanted.next(parse_time(now))
    return utc_text(coming) if coming else None


def rebind(tx: Tx, workflow: Workflow, channel: Channel, to: Version, generation: int) -> None:
    """Bind the triggers of `to`, which `channel` now points to at `generation`, and unbind those it does not have.

    Belongs into the transaction of the move. A webhook that was known keeps its address."""
    if workflow.target != ENGINE or channel.name == channels.SHADOW:
        return
    known = {(row.node, row.kind): row for row in tx.connection.execute(_OF_CHANNEL, {"channel": channel.pk})}
    for trigger in triggers(versions.document_of(tx, to, whole=True)):
        if trigger.kind != "plugin":
            _bind(tx, channel, known.pop((trigger.node, trigger.kind), None), trigger, to, generation)
    for row in known.values():
        if row.version_pk is not None:
            if row.next_slot is not None and row.next_slot <= tx.now:
                why = f"its time came, and then {to.id} came into service, which has no such trigger"
                slots.pass_over(tx, row.pk, row.next_slot, generation, why)
            tx.connection.execute(_UNBIND, {"trigger": row.pk, "generation": generation, "at": tx.now})


def _bind(tx: Tx, channel: Channel, known: Row[Any] | None, trigger: Trigger, to: Version, generation: int) -> None:
    wanted = trigger.schedule or Schedule("", "")
    bound = Schedule(known.cron, known.timezone) if known is not None and known.version_pk is not None else None
    slot = known.next_slot if known is not None else None
    values = {
        "title": trigger.title,
        "cron": wanted.cron,
        "timezone": wanted.timezone,
        "problem": wanted.problem,
        "generation": generation,
    }
    coming = carry(bound, slot, wanted, tx.now) if trigger.kind == "schedule" else None
    if known is not None:
        if coming is None and slot is not None and slot <= tx.now:
            why = f"its time came, and then {to.id} came into service: {wanted.problem}"
            slots.pass_over(tx, known.pk, slot, generation, why)
        tx.connection.execute(_SET, {**values, "trigger": known.pk, "version": to.pk, "next": coming, "at": tx.now})
        return
    token = random_id("", _TOKEN_LENGTH) if trigger.kind == "webhook" else None
    tx.connection.execute(
        _ADD,
        {
            **values,
            "channel_pk": channel.pk,
            "node": trigger.node,
            "kind": trigger.kind,
            "version_pk": to.pk,
            "hash": tx.ring.lookup(lookup_name(token)) if token else None,
            "sealed": tx.ring.seal(token, _place(channel.pk, trigger.node)) if token else None,
            "next_slot": coming,
            "updated_at": tx.now,
        },
    )


def of_workflow(tx: Tx, workflow: Workflow) -> list[Bound]:
    """The triggers of all channels of `workflow`, also those that are not bound now."""
    return list(_of_workflow(tx, workflow))


def of_channel(tx: Tx, workflow: Workflow, channel: str) -> list[Bound]:
    """The triggers of one channel."""
    return [bound for bound in _of_workflow(tx, workflow) if bound.channel == channel]


def _of_workflow(tx: Tx, workflow: Workflow) -> Iterator[Bound]:
    rows = tx.connection.execute(_OF_WORKFLOW, {"workflow": workflow.pk}).all()
    last = slots.last_of(tx, [row.pk for row in rows])
    for row in rows:
        yield Bound(
            node=row.node,
            kind=row.kind,
            title=row.title,
            channel=row.channel,
            version=row.version,
            generation=row.generation,
            token=tx.ring.unseal(row.sealed, _place(row.channel_pk, row.node)) if row.sealed else None,
            cron=row.cron,
            timezone=row.timezone,
            problem=row.problem,
            next_slot=row.next_slot,
            last=last.get(row.pk),
        )


def _place(channel_pk: int, node: str) -> str:
    return f"trigger/{channel_pk}/{node}"


def _same(one: Schedule, other: Schedule) -> bool:
    return (one.cron, one.timezone) == (other.cron, other.timezone)
