"""Channels and the move: the one way a channel's pointer changes.

`move` is one compare-and-set on the channel's generation; the move's record, the audit row, the outgoing event and
the routing revision are in the same transaction, so that all of it is visible at the commit, or none."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import String, and_, bindparam, exists, func, insert, literal, or_, select, update

from lastgood.db import audit, routing
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import ChannelMoved, StillApplying, UnknownChannel
from lastgood.history import versions
from lastgood.history.states import Standing, choose_last_good
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow
from lastgood.ids import check_channel

LIVE = "live"
SHADOW = "rehearsal"  # where rollbacks are rehearsed: nobody is served by it, and nothing starts its versions
Kind = Literal["publish", "rollback", "undo", "promote", "adopt", "heal"]

_FROM, _TO = t.version.alias("moved_from"), t.version.alias("moved_to")
_FIND = (
    select(
        t.channel.c.pk,
        t.channel.c.name,
        t.channel.c.generation,
        t.channel.c.applying,
        t.channel.c.updated_at,
        t.channel.c.version_pk,
        t.version.c.id.label("version"),
    )
    .outerjoin_from(t.channel, t.version, t.channel.c.version_pk == t.version.c.pk)
    .where(t.channel.c.workflow_pk == bindparam("workflow"))
)
_BY_NAME = _FIND.where(t.channel.c.name == bindparam("name"))
_ALL = _FIND.order_by(t.channel.c.pk)
_ADD = insert(t.channel)
_SET = (
    update(t.channel)
    .where(
        t.channel.c.pk == bindparam("channel"),
        t.channel.c.generation == bindparam("expected"),
        or_(t.channel.c.applying.is_(None), t.channel.c.applying == bindparam("by_operation", type_=String)),
    )
    .values(
        applying=None,
        version_pk=bindparam("to"),
        generation=t.channel.c.generation + 1,
        revision=bindparam("at_revision"),
        updated_at=bindparam("at"),
    )
)
_RECORD = insert(t.move)
_MOVES = (
    select(
        t.move.c.pk,
        t.workflow.c.id.label("workflow_id"),
        t.workflow.c.slug,
        t.channel.c.name.label("channel"),
        _FROM.c.id.label("from_id"),
        _TO.c.id.label("to_id"),
        t.move.c.generation,
        t.move.c.kind,
        t.move.c.actor,
        t.move.c.reason,
        t.move.c.operation,
        t.move.c.at,
    )
    .join_from(t.move, t.channel, t.move.c.channel_pk == t.channel.c.pk)
    .join(t.workflow, t.move.c.workflow_pk == t.workflow.c.pk)
    .join(_TO, t.move.c.to_pk == _TO.c.pk)
    .outerjoin(_FROM, t.move.c.from_pk == _FROM.c.pk)
    .order_by(t.move.c.pk.desc())
    .limit(bindparam("limit"))
)
_LAST_MOVE = _MOVES.where(t.move.c.channel_pk == bindparam("channel"))
_LOG = _MOVES.where(t.move.c.workflow_pk == bindparam("workflow"), t.move.c.pk < bindparam("before"))
_SINCE = _MOVES.where(t.move.c.at >= bindparam("since"))
_NEWEST = (2**63) - 1

# The stable versions of a workflow as ways back for one channel. The numbers of moves order what happened; times do
# not, because clocks jump, and a version that a rollback left must not look proven since.
_PROVEN = (
    select(func.coalesce(func.max(t.evidence.c.after_move), 0))
    .where(t.evidence.c.version_pk == t.version.c.pk, t.evidence.c.verdict == "stable")
    .scalar_subquery()
)
_LEFT = (
    select(func.coalesce(func.max(t.move.c.pk), 0))
    .where(
        t.move.c.channel_pk == bindparam("channel"),
        t.move.c.from_pk == t.version.c.pk,
        t.move.c.kind == "rollback",
    )
    .scalar_subquery()
)
_SERVED = exists(literal(1)).where(
    and_(t.move.c.channel_pk == bindparam("channel"), t.move.c.to_pk == t.version.c.pk)
)
_STABLE = (
    select(t.version.c.pk, _PROVEN.label("proven"), _LEFT.label("left"), _SERVED.label("served"))
    .where(t.version.c.workflow_pk == bindparam("workflow"), t.version.c.state == "stable")
    .order_by(t.version.c.pk.desc())
    .limit(100)
)


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as it stands: where it points, and its generation (0 before the first move)."""

    pk: int
    name: str
    generation: int
    applying: str | None
    updated_at: str
    version_pk: int | None
    version: str | None

    @property
    def etag(self) -> str:
        """The generation as an HTTP entity tag."""
        return f'"{self.generation}"'

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "name": self.name,
            "version": self.version,
            "generation": self.generation,
            "applying": self.applying,
            "updated_at": self.updated_at,
        }


@dataclass(frozen=True, slots=True)
class Move:
    """One recorded change of a channel; `from_id` is None for its first."""

    pk: int
    workflow_id: str
    workflow: str
    channel: str
    from_id: str | None
    to_id: str
    generation: int
    kind: str
    actor: str
    reason: str
    operation: str | None
    at: str

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "number": self.pk,
            "workflow_id": self.workflow_id,
            "workflow": self.workflow,
            "channel": self.channel,
            "from": self.from_id,
            "to": self.to_id,
            "generation": self.generation,
            "kind": self.kind,
            "actor": self.actor,
            "reason": self.reason,
            "operation": self.operation,
            "at": self.at,
        }


def get(tx: Tx, workflow: Workflow, name: str = LIVE) -> Channel:
    """The channel `name` of `workflow`. Raises `UnknownChannel`."""
    row = tx.connection.execute(_BY_NAME, {"workflow": workflow.pk, "name": name}).first()
    if row is None:
        raise UnknownChannel(workflow=workflow.slug, channel=name)
    return Channel(*row)


def present(tx: Tx, workflow: Workflow, name: str = LIVE) -> Channel:
    """The channel `name` as it stands; one that is not there yet points to nothing, at generation 0 (its `pk` is 0).
    Raises `InvalidId`."""
    try:
        return get(tx, workflow, name)
    except UnknownChannel:
        return Channel(0, check_channel(name), 0, None, tx.now, None, None)


def ensure(tx: Tx, workflow: Workflow, name: str = LIVE) -> Channel:
    """The channel `name`, made pointing nowhere when there is none. Raises `InvalidId`."""
    try:
        return get(tx, workflow, name)
    except UnknownChannel:
        tx.connection.execute(
            _ADD,
            {
                "workflow_pk": workflow.pk,
                "name": check_channel(name),
                "version_pk": None,
                "generation": 0,
                "revision": routing.bump(tx),
                "applying": None,
                "updated_at": tx.now,
            },
        )
        return get(tx, workflow, name)


def listing(tx: Tx, workflow: Workflow) -> list[Channel]:
    """The channels of `workflow`, `live` first."""
    return [Channel(*row) for row in tx.connection.execute(_ALL, {"workflow": workflow.pk})]


def expect(tx: Tx, workflow: Workflow, channel: Channel, expected: int) -> None:
    """Raise `ChannelMoved` unless `channel` is at the generation `expected`: a stale caller hears first who came
    before. What happens between this and the move, the move itself finds."""
    if channel.generation != expected:
        raise _lost(tx, workflow, channel, expected)


def move(
    tx: Tx,
    who: Principal,
    workflow: Workflow,
    channel: Channel,
    to: Version,
    *,
    expected: int,
    kind: Kind,
    reason: str = "",
    operation: str | None = None,
) -> int:
    """Point `channel` to `to` if its generation is still `expected`, and give the new generation.

    Whether `to` is a sensible target is the caller's question; this only moves, once, and records it. A channel that
    is held can only be moved by the `operation` that holds it, which then lets go of it. Raises `ChannelMoved` (who
    was first, where to and when) and `StillApplying`."""
    generation = expected + 1
    revision = routing.bump(tx, workflow=workflow.id, channel=channel.name, generation=generation)
    changed = tx.connection.execute(
        _SET,
        {
            "channel": channel.pk,
            "expected": expected,
            "to": to.pk,
            "at_revision": revision,
            "at": tx.now,
            "by_operation": operation,
        },
    ).rowcount
    if changed != 1:
        raise _lost(tx, workflow, channel, expected)
    tx.connection.execute(
        _RECORD,
        {
            "workflow_pk": workflow.pk,
            "channel_pk": channel.pk,
            "from_pk": channel.version_pk,
            "to_pk": to.pk,
            "generation": generation,
            "kind": kind,
            "actor": who.name,
            "reason": reason,
            "operation": operation,
            "at": tx.now,
        },
    )
    facts: dict[str, Any] = {"before": channel.version, "after": to.id, "generation": generation}
    resource = f"workflow/{workflow.id}/channel/{channel.name}"
    audit.append(tx, who, f"workflow:{kind}", resource, reason=reason, digest=to.digest, **facts)
    audit.emit(
        tx,
        "channel.moved",
        workflow.id,
        {**facts, "channel": channel.name, "kind": kind, "actor": who.name, "reason": reason},
    )
    return generation


def hold(tx: Tx, workflow: Workflow, channel: Channel, *, expected: int, operation: str) -> None:
    """Let nothing but `operation` move `channel` until it is moved or let go, if its generation is still `expected`.
    What holds it already may hold it again. Raises `ChannelMoved`, `StillApplying`."""
    where = (t.channel.c.pk == channel.pk, t.channel.c.generation == expected)
    free = or_(t.channel.c.applying.is_(None), t.channel.c.applying == operation)
    held = tx.connection.execute(update(t.channel).where(*where, free).values(applying=operation)).rowcount
    if held != 1:
        raise _lost(tx, workflow, channel, expected)


def let_go(tx: Tx, channel: Channel, operation: str) -> None:
    """Let others move `channel` again, where `operation` holds it."""
    held = (t.channel.c.pk == channel.pk, t.channel.c.applying == operation)
    tx.connection.execute(update(t.channel).where(*held).values(applying=None))


def _lost(tx: Tx, workflow: Workflow, channel: Channel, expected: int) -> Exception:
    """Why the compare-and-set did not match."""
    now = get(tx, workflow, channel.name)
    if now.applying is not None:
        return StillApplying(channel=now.name, workflow=workflow.slug, operation=now.applying)
    last = tx.connection.execute(_LAST_MOVE, {"channel": channel.pk, "limit": 1}).first()
    return ChannelMoved(
        channel=now.name,
        workflow=workflow.slug,
        generation=now.generation,
        expected=expected,
        actor=last.actor if last else "nobody",
        version=now.version or "nothing",
        at=now.updated_at,
        reason=(last.reason if last else "") or "no reason given",
    )


def moves(tx: Tx, workflow: Workflow, *, limit: int = 50, before: int | None = None) -> list[Move]:
    """The newest moves of all channels of `workflow`, newest first, before the move number `before` if given."""
    parameters = {"workflow": workflow.pk, "limit": limit, "before": before or _NEWEST}
    return [_move(row) for row in tx.connection.execute(_LOG, parameters)]


def moves_since(tx: Tx, since: str, *, limit: int = 500) -> list[Move]:
    """The moves of every workflow since the stored time `since`, newest first."""
    return [_move(row) for row in tx.connection.execute(_SINCE, {"since": since, "limit": limit})]


def last_good(tx: Tx, workflow: Workflow, channel: Channel) -> Version | None:
    """The version that a rollback of `channel` goes to when none is named (`states.choose_last_good`)."""
    rows = tx.connection.execute(_STABLE, {"workflow": workflow.pk, "channel": channel.pk})
    chosen = choose_last_good(channel.version_pk, [Standing(*row) for row in rows])
    return versions.by_pk(tx, chosen.order) if chosen else None


def _move(row: Any) -> Move:
    return Move(*row)
