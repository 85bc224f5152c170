"""The slots of schedules: each is fired once, by one version, or passed over and said so.

A slot is claimed in one transaction, which reads the version in service under a lock that moves take too: a slot runs
what was in service when it was claimed. Who claimed it holds a lease while it runs; where that ends without a word,
the next one runs the same version again for the same slot."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import bindparam, delete, func, insert, select, update

from lastgood.db import tables as t
from lastgood.db.clock import now_ms
from lastgood.db.store import row_dict
from lastgood.db.tx import Tx, parse_time, utc_text
from lastgood.dsl.schedule import Schedule

LEASE_MS = 20_000
MOST_ATTEMPTS = 5
_KEPT = timedelta(days=30)
_LOOKS = 100
Ended = Literal["ran", "failed"]

_T, _F = t.trigger, t.trigger_fire
_DUE = (
    select(_T.c.pk)
    .join_from(_T, t.channel, _T.c.channel_pk == t.channel.c.pk)
    .where(
        _T.c.version_pk == t.channel.c.version_pk,
        _T.c.next_slot <= bindparam("now"),
        t.channel.c.name.in_(bindparam("channels", expanding=True)),
    )
    .order_by(_T.c.next_slot)
    .limit(_LOOKS)
)
_CHANNEL = select(_T.c.channel_pk).where(_T.c.pk == bindparam("trigger"))
_LOCK = (
    select(t.channel.c.version_pk, t.channel.c.generation)
    .where(t.channel.c.pk == bindparam("channel"))
    .with_for_update()
)
_TRIGGER = select(_T).where(_T.c.pk == bindparam("trigger"))
_KNOWN = select(_F.c.pk).where(_F.c.trigger_pk == bindparam("trigger"), _F.c.slot == bindparam("slot"))
_ADD = insert(_F)
_ADVANCE = update(_T).where(_T.c.pk == bindparam("trigger")).values(next_slot=bindparam("next"))
_FIRE = (
    select(
        _F.c.pk,
        t.workflow.c.id.label("workflow_id"),
        t.workflow.c.slug,
        t.channel.c.name.label("channel"),
        _T.c.node,
        _F.c.slot,
        t.version.c.id.label("version"),
        _F.c.generation,
        _F.c.attempts,
    )
    .join_from(_F, _T, _F.c.trigger_pk == _T.c.pk)
    .join(t.channel, _T.c.channel_pk == t.channel.c.pk)
    .join(t.workflow, t.channel.c.workflow_pk == t.workflow.c.pk)
    .join(t.version, _F.c.version_pk == t.version.c.pk)
    .where(_F.c.pk == bindparam("fire"))
)
_NEWEST = (
    select(func.max(_F.c.pk))
    .where(_F.c.trigger_pk.in_(bindparam("triggers", expanding=True)))
    .group_by(_F.c.trigger_pk)
)
_LAST = select(
    _F.c.trigger_pk,
    _F.c.slot,
    _F.c.state,
    _F.c.detail,
    _F.c.attempts,
    _F.c.generation,
    _F.c.ended_at,
    t.version.c.id.label("version"),
).outerjoin_from(_F, t.version, _F.c.version_pk == t.version.c.pk)


@dataclass(frozen=True, slots=True)
class Fire:
    """A slot that is this process's to run, on `version`, for the `attempts`-th time."""

    pk: int
    workflow_id: str
    slug: str
    channel: str
    node: str
    slot: str
    version: str
    generation: int
    attempts: int


def due(tx: Tx, channels: Sequence[str]) -> list[int]:
    """The triggers (their keys) of `channels` whose slot has come, the longest waiting first."""
    return list(tx.connection.execute(_DUE, {"now": tx.now, "channels": list(channels)}).scalars())


def choose(times: Schedule, slot: datetime, now: datetime, grace: timedelta) -> tuple[datetime | None, bool]:
    """Of the slots from `slot` to `now`: the one to run, None where the newest came more than `grace` ago; and
    whether others are passed over. One that comes late is run; of several, when nobody was there, only the newest."""
    chosen, several = (slot if now - slot <= grace else None), False
    for coming in times.slots(max(slot, now - grace - timedelta(minutes=1))):
        if coming > now:
            break
        if coming > slot and now - coming <= grace:
            several, chosen = True, coming
    return chosen, several


def claim(tx: Tx, trigger: int, owner: str, grace: timedelta) -> Fire | None:
    """Take the slot of `trigger` that has come, for the version in service, and set the next one. None where there is
    nothing to run (any more): another was first, it was passed over, or the trigger was unbound."""
    channel = tx.connection.execute(_CHANNEL, {"trigger": trigger}).scalar_one()
    live = tx.connection.execute(_LOCK, {"channel": channel}).one()  # no move from here to the commit
    row = tx.connection.execute(_TRIGGER, {"trigger": trigger}).one()
    if row.next_slot is None or row.next_slot > tx.now or row.version_pk is None or row.version_pk != live.version_pk:
        return None
    now, first = parse_time(tx.now), parse_time(row.next_slot)
    times = Schedule(row.cron, row.timezone, row.problem)
    coming = times.next(now)
    following = {"trigger": trigger, "next": utc_text(coming) if coming else None}
    tx.connection.execute(_ADVANCE, following)
    chosen, several = choose(times, first, now, grace)
    if several or chosen is None:
        until = f" until {utc_text(chosen)}" if chosen else ""
        why = f"nobody was there to run it when its time came; so with all others{until}"
        pass_over(tx, trigger, row.next_slot, live.generation, why)
    slot = utc_text(chosen) if chosen else ""
    # The clock may have been put back, and this slot fired already.
    if chosen is None or tx.connection.execute(_KNOWN, {"trigger": trigger, "slot": slot}).first() is not None:
        return None
    added = tx.connection.execute(
        _ADD,
        {
            "trigger_pk": trigger,
            "slot": slot,
            "version_pk": row.version_pk,
            "generation": live.generation,
            "state": "claimed",
            "detail": "",
            "attempts": 0,
            "owner": None,
            "lease_until_ms": 0,
            "at": tx.now,
            "ended_at": None,
        },
    )
    key = added.inserted_primary_key
    return take(tx, int(key[0]), owner) if key else None


def pass_over(tx: Tx, trigger: int, slot: str, generation: int, why: str) -> None:
    """Note that nothing was run for `slot`, and why; nothing where it is known already."""
    if tx.connection.execute(_KNOWN, {"trigger": trigger, "slot": slot}).first() is None:
        tx.connection.execute(
            _ADD,
            {
                "trigger_pk": trigger,
                "slot": slot,
                "version_pk": None,
                "generation": generation,
                "state": "skipped",
                "detail": why,
                "attempts": 0,
                "owner": None,
                "lease_until_ms": 0,
                "at": tx.now,
                "ended_at": tx.now,
            },
        )


def left(tx: Tx) -> list[int]:
    """Claimed slots (their keys) that nobody holds any more."""
    waiting = select(_F.c.pk).where(_F.c.state == "claimed", _F.c.lease_until_ms <= now_ms(tx)).limit(_LOOKS)
    return list(tx.connection.execute(waiting).scalars())


def take(tx: Tx, fire: int, owner: str) -> Fire | None:
    """Hold a claimed slot under a lease, to run it. None where another holds it, or it is over."""
    held = update(_F).where(_F.c.pk == fire, _F.c.state == "claimed", _F.c.lease_until_ms <= now_ms(tx))
    values = {"owner": owner, "lease_until_ms": now_ms(tx) + LEASE_MS, "attempts": _F.c.attempts + 1}
    if tx.connection.execute(held.values(**values)).rowcount != 1:
        return None
    return Fire(*tx.connection.execute(_FIRE, {"fire": fire}).one())


def renew(tx: Tx, fires: Sequence[int], owner: str) -> None:
    """Hold the slots that `owner` still runs for longer."""
    held = update(_F).where(_F.c.pk.in_(fires), _F.c.owner == owner, _F.c.state == "claimed")
    tx.connection.execute(held.values(lease_until_ms=now_ms(tx) + LEASE_MS))


def let_go(tx: Tx, fire: int, owner: str, why: str, *, wait_ms: int = 0) -> None:
    """Leave a slot that could not be run to whoever looks next, `wait_ms` from now."""
    held = update(_F).where(_F.c.pk == fire, _F.c.owner == owner, _F.c.state == "claimed")
    tx.connection.execute(held.values(owner=None, detail=why, lease_until_ms=now_ms(tx) + wait_ms))


def end(tx: Tx, fire: int, owner: str, state: Ended, detail: str) -> bool:
    """Note how a slot's run ended. False where another has taken it over since: then that one's word counts."""
    held = update(_F).where(_F.c.pk == fire, _F.c.owner == owner, _F.c.state == "claimed")
    values = {"state": state, "detail": detail, "ended_at": tx.now, "lease_until_ms": 0}
    return tx.connection.execute(held.values(**values)).rowcount == 1


def last_of(tx: Tx, triggers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """What became of the newest slot of each of `triggers`."""
    newest = list(tx.connection.execute(_NEWEST, {"triggers": list(triggers)}).scalars())
    rows = tx.connection.execute(_LAST.where(_F.c.pk.in_(newest)))
    return {row.trigger_pk: {k: v for k, v in row_dict(row).items() if k != "trigger_pk"} for row in rows}


def forget_old(tx: Tx) -> None:
    """Drop what slots of over 30 days ago came to."""
    old = utc_text(parse_time(tx.now) - _KEPT)
    tx.connection.execute(delete(_F).where(_F.c.slot < old, _F.c.state != "claimed"))
