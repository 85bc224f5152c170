"""Which checkpoints have reached which place, and the sending of those that have not.

Whoever takes a place's row by compare-and-set sends to it, so that of two servers one does. The row says before when
nobody tries it again: while somebody may be sending, and after a failure for a longer and longer while. Every failure
is told by `doctor` until the place takes one."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from lastgood.access.log import tree
from lastgood.access.log.destinations import Delivery, Destination, named
from lastgood.db import tables as t
from lastgood.db.store import Store
from lastgood.db.tx import Tx, parse_time, utc_now, utc_text
from lastgood.errors import LastgoodError

_LEASE = timedelta(minutes=2)  # longer than any place may take: Git has five commands
_LONGEST_WAIT = timedelta(minutes=10)
_E = t.audit_export
_FIND = select(_E).where(_E.c.destination == bindparam("wanted"))
_TAKE = (
    update(_E)
    .where(_E.c.destination == bindparam("wanted"), _E.c.at == bindparam("seen"))
    .values(at=bindparam("until"))
)
_DONE = (
    update(_E)
    .where(_E.c.destination == bindparam("wanted"))
    .values(
        size=bindparam("reached"),
        at=bindparam("now"),
        done_at=bindparam("now"),
        failures=0,
        failing_since=None,
        problem="",
    )
)


@dataclass(frozen=True, slots=True)
class State:
    """How far a place is: it has the checkpoint of `size` rows since `done_at`; `failures` attempts in a row came to
    nothing since then, the last with `problem`."""

    destination: str
    size: int = 0
    done_at: str | None = None
    failures: int = 0
    failing_since: str | None = None
    problem: str = ""

    def as_data(self) -> dict[str, Any]:
        """Its JSON form."""
        return asdict(self)


def states(tx: Tx) -> list[State]:
    """How far each place is that the store knows."""
    rows = tx.connection.execute(select(_E).order_by(_E.c.destination)).all()
    return [
        State(row.destination, row.size, row.done_at, row.failures, row.failing_since, row.problem) for row in rows
    ]


def send_all(store: Store) -> list[State]:
    """Send the newest checkpoint to every place that the settings name and that lacks it; gives those that were
    tried."""
    places = named(store.settings.audit)
    if not places:
        return []
    with store.read() as tx:
        head = tree.newest(tx)
        reached = {state.destination: state.size for state in states(tx)}
    if head is None:
        return []
    tried = []
    for place in places:
        if reached.get(place.name, -1) >= head.size:
            continue
        if store.write(lambda tx, one=place: _take(tx, one, head.size)):  # type: ignore[misc]  # mypy: a lambda's default
            tried.append(_send(store, place, Delivery(head.note, head.at), head.size))
    return tried


def _take(tx: Tx, place: Destination, size: int) -> bool:
    row = tx.connection.execute(_FIND, {"wanted": place.name}).first()
    until = _from_now(tx, _LEASE)
    if row is None:
        tx.connection.execute(insert(_E), {"destination": place.name, "size": -1, "at": until})
        return True
    if row.size >= size or tx.now < row.at <= _from_now(tx, _LONGEST_WAIT):  # later: the clock was set back
        return False
    return tx.connection.execute(_TAKE, {"wanted": place.name, "seen": row.at, "until": until}).rowcount == 1


def _from_now(tx: Tx, time: timedelta) -> str:
    return utc_text(parse_time(tx.now) + time)


def _send(store: Store, place: Destination, delivery: Delivery, size: int) -> State:
    try:
        place.send(delivery)
        problem = ""
    except LastgoodError as error:
        problem = str(error)
    except Exception as error:  # a place must not end the thread that signs
        problem = f"this should not happen ({type(error).__name__})"
    return store.write(lambda tx: _note(tx, place.name, size, problem))


def _note(tx: Tx, destination: str, size: int, problem: str) -> State:
    if not problem:
        tx.connection.execute(_DONE, {"wanted": destination, "reached": size, "now": utc_now()})
    else:
        row = tx.connection.execute(_FIND, {"wanted": destination}).one()
        failures = row.failures + 1
        again = _from_now(tx, min(_LONGEST_WAIT, timedelta(seconds=2 ** min(failures, 20))))
        since = row.failing_since or tx.now
        values = {"failures": failures, "problem": problem, "failing_since": since, "at": again}
        tx.connection.execute(update(_E).where(_E.c.destination == destination).values(**values))
    return next(one for one in states(tx) if one.destination == destination)
