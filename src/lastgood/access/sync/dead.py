"""Events that could not be taken in: kept as they came, with the reason, until a person drops them or has them tried
again. One that is taken in later counts from its own stamp, as if it had never waited."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, insert, select, update

from lastgood.access.sync import events
from lastgood.access.sync.events import Around, Rules
from lastgood.access.sync.intake import Intake, Outcome
from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import MalformedEvent

_MOST_SHOWN: Final = 500

_D = t.dead_event
_HERE = _D.c.workspace_pk == bindparam("workspace")
_FIND = select(_D.c.pk).where(_HERE, _D.c.source == bindparam("of"), _D.c.place == bindparam("at_place"))
_INSERT = insert(_D)
_LIST = select(_D).where(_HERE).order_by(_D.c.pk.desc())
_COUNT = select(_D.c.source, func.count()).where(_HERE).group_by(_D.c.source)
_REASON = update(_D).where(_D.c.pk == bindparam("row"))


@dataclass(frozen=True, slots=True)
class Dead:
    """An event that was not taken in. `place` says where it stood (``partition/offset``, or the id of a push and its
    number in it), `number` is the second half of its stamp. `body` None: it had no data."""

    pk: int
    source: str
    place: str
    number: int
    at: str
    reason: str
    body: bytes | None = field(repr=False)
    around: Around = field(repr=False)

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        body = None if self.body is None else self.body[:_MOST_SHOWN].decode(errors="replace")
        key = None if self.around.key is None else self.around.key[:_MOST_SHOWN].decode(errors="replace")
        told = {"id": self.pk, "source": self.source, "place": self.place, "at": self.at}
        return {**told, "reason": self.reason, "key": key, "body": body}


def keep(tx: Tx, source: str, place: str, number: int, body: bytes | None, around: Around, reason: str) -> None:
    """Keep an event that cannot be taken in; one that is kept already stays as it is."""
    given = {"workspace": tx.workspace, "of": source, "at_place": place}
    if tx.connection.execute(_FIND, given).first() is not None:
        return
    key = None if around.key is None else base64.b64encode(around.key[: events.MOST_BYTES]).decode()
    kept = {
        "number": number,
        "key": key,
        "headers": dict(around.headers),
        "at_ms": around.at_ms,
        "no_data": body is None,
    }
    row = {
        "workspace_pk": tx.workspace,
        "source": source,
        "place": place,
        "at": tx.now,
        # One byte more than is read, so that what was too large stays so.
        "body": (body or b"")[: events.MOST_BYTES + 1],
        "around": json.dumps(kept),
        "reason": reason,
    }
    tx.connection.execute(_INSERT, row)


def listing(tx: Tx, source: str | None = None, *, limit: int = 100, ids: Sequence[int] | None = None) -> list[Dead]:
    """The newest dead events, of `source`, or those with `ids`."""
    ask = _LIST.limit(limit)
    if source is not None:
        ask = ask.where(_D.c.source == source)
    if ids is not None:
        ask = ask.where(_D.c.pk.in_(ids))
    return [_dead(row) for row in tx.connection.execute(ask, {"workspace": tx.workspace})]


def counts(tx: Tx) -> dict[str, int]:
    """How many there are, by source."""
    return {row[0]: row[1] for row in tx.connection.execute(_COUNT, {"workspace": tx.workspace})}


def reasons(tx: Tx, source: str) -> list[Dead]:
    """What might explain a difference: the newest dead events of `source`."""
    return listing(tx, source, limit=1000)


def retry(tx: Tx, who: Principal, some: Sequence[Dead], rules: Rules) -> dict[int, Outcome | str]:
    """Try dead events of one source again, by `rules`. Gives by id what came of each: an outcome, or the reason why
    it stays."""
    told: dict[int, Outcome | str] = {}
    read = []
    for one in some:
        try:
            event = events.read(one.body, rules, one.around)
        except MalformedEvent as error:
            told[one.pk] = str(error)
            if str(error) != one.reason:
                tx.connection.execute(_REASON.values(reason=str(error)), {"row": one.pk})
        else:
            read.append((one, ((event.at, one.number), event)))
    if read:
        outcomes = Intake(tx, who, read[0][0].source).take([stamped for _, stamped in read])
        told |= {one.pk: outcome for (one, _), outcome in zip(read, outcomes, strict=True)}
        _delete(tx, [one.pk for one, _ in read])
    return told


def drop(tx: Tx, who: Principal, some: Sequence[Dead]) -> int:
    """Forget dead events. Says how many."""
    for one in some:
        audit.append(tx, who, "access:drop-event", f"access/{one.source}", place=one.place, reason=one.reason)
    return _delete(tx, [one.pk for one in some])


def _delete(tx: Tx, ids: Sequence[int]) -> int:
    return tx.connection.execute(delete(_D).where(_D.c.pk.in_(ids))).rowcount if ids else 0


def _dead(row: Any) -> Dead:
    kept = json.loads(row.around)
    key = None if kept.get("key") is None else base64.b64decode(kept["key"])
    around = Around(key, kept.get("headers", {}), kept.get("at_ms"))
    body = None if kept.get("no_data") else bytes(row.body)
    return Dead(row.pk, row.source, row.place, kept.get("number", 0), row.at, row.reason, body, around)
