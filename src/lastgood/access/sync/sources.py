"""How far each source was read, what its last checks came to, and which process reads it: one row each.

Where a source was read to is changed by compare-and-set, in the transaction of what was read. So nothing is taken in
twice, and a process that was stopped for long and wakes changes nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, insert, or_, select, update

from lastgood.db import tables as t
from lastgood.db.clock import now_ms
from lastgood.db.tx import Tx
from lastgood.errors import SourceMoved, UnknownSource

FEED: Final = "feed"  # the kind of the rows that say how far a topic of ours was written
LEASE_MS: Final = 20_000
_LONGEST_PROBLEM = 1000

_S = t.grant_source
_COLUMNS = tuple(column for column in _S.c if column.name not in ("workspace_pk", "lease_until_ms"))
_ALL = select(*_COLUMNS).where(_S.c.workspace_pk == bindparam("workspace")).order_by(_S.c.name)
_FIND = _ALL.where(_S.c.name == bindparam("name"))
_HOLD = _FIND.with_for_update()
_INSERT = insert(_S)
_MOVE = update(_S).where(_S.c.pk == bindparam("row"), _S.c.position == bindparam("before"))
_ONE = update(_S).where(_S.c.pk == bindparam("row"))


@dataclass(frozen=True, slots=True)
class Source:
    """The state of a source. `position` is JSON by its kind; `stored` the text of it that changes are held
    against."""

    pk: int
    name: str
    kind: str
    position: Mapping[str, Any]
    stored: str = field(repr=False)
    read_at: str | None = None
    full_at: str | None = None
    incremental_at: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    sealed: bytes | None = field(default=None, repr=False)
    owner: str | None = None


def ensure(tx: Tx, name: str, kind: str) -> Source:
    """The source `name`, entered when it is new. One that was of another kind begins again."""
    found = _row(tx, name)
    if found is None:
        row = {"workspace_pk": tx.workspace, "name": name, "kind": kind, "position": "{}"}
        tx.connection.execute(_INSERT, row)
    elif found.kind != kind:
        values = {"kind": kind, "position": "{}", "problem": ""}
        tx.connection.execute(_ONE.values(**values), {"row": found.pk})
    else:
        return _source(found)
    return get(tx, name)


def get(tx: Tx, name: str) -> Source:
    """The source `name`. Raises `UnknownSource`."""
    found = _row(tx, name)
    if found is None:
        raise UnknownSource(source=name)
    return _source(found)


def hold(tx: Tx, name: str) -> Source:
    """The source `name`, which nobody else changes, nor its grants, before this transaction ends. Raises
    `UnknownSource`."""
    given = {"workspace": tx.workspace, "name": name}
    found = tx.connection.execute(_HOLD, given).first()
    if found is None:
        raise UnknownSource(source=name)
    return _source(found)


def listing(tx: Tx) -> list[Source]:
    """Every source that was ever read, by name; topics of ours among them, whose kind is `FEED`."""
    return [_source(row) for row in tx.connection.execute(_ALL, {"workspace": tx.workspace})]


def move(tx: Tx, source: Source, position: Mapping[str, Any], *, read: bool = True) -> None:
    """Set where `source` was read to. Raises `SourceMoved` where somebody else did since it was looked up."""
    values: dict[str, Any] = {"position": json.dumps(position, sort_keys=True)}
    if read:
        values["read_at"] = tx.now
    done = tx.connection.execute(_MOVE.values(**values), {"row": source.pk, "before": source.stored})
    if done.rowcount != 1:
        raise SourceMoved(source=source.name)


def note(tx: Tx, source: Source, **values: Any) -> None:
    """Write some of `full_at`, `incremental_at`, `result` (a mapping), `problem`, `sealed`."""
    if "result" in values:
        values["result"] = json.dumps(values["result"], sort_keys=True)
    if "problem" in values:
        values["problem"] = values["problem"][:_LONGEST_PROBLEM]
    tx.connection.execute(_ONE.values(**values), {"row": source.pk})


def take(tx: Tx, source: Source, owner: str) -> bool:
    """Hold `source` under a lease for `owner`, or hold it longer. False where another process holds it."""
    free = or_(_S.c.owner == owner, _S.c.lease_until_ms <= now_ms(tx))
    values = {"owner": owner, "lease_until_ms": now_ms(tx) + LEASE_MS}
    return tx.connection.execute(_ONE.where(free).values(**values), {"row": source.pk}).rowcount == 1


def let_go(tx: Tx, source: Source, owner: str) -> None:
    """Leave `source` to others."""
    values = {"owner": None, "lease_until_ms": 0}
    tx.connection.execute(_ONE.where(_S.c.owner == owner).values(**values), {"row": source.pk})


def counted(position: Mapping[str, Any], outcomes: Mapping[str, int]) -> dict[str, int]:
    """The counts of events by outcome in `position`, with `outcomes` added."""
    counts = dict(position.get("counts", {}))
    for outcome, number in outcomes.items():
        counts[outcome] = counts.get(outcome, 0) + number
    return counts


def _row(tx: Tx, name: str) -> Any:
    return tx.connection.execute(_FIND, {"workspace": tx.workspace, "name": name}).first()


def _source(row: Any) -> Source:
    return Source(
        row.pk,
        row.name,
        row.kind,
        json.loads(row.position),
        row.position,
        row.read_at,
        row.full_at,
        row.incremental_at,
        json.loads(row.result),
        row.problem,
        None if row.sealed is None else bytes(row.sealed),
        row.owner,
    )
