"""Events become grants: each is applied, changes nothing, or comes too late, by its stamp and not by when it arrives.

A revoke of more than one grant, and an update, leave a mark: a row that is never a grant, because its role or its
resource is ``''``, which stands for all. It says from when on grants count, so an earlier event that arrives later
loses."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sqlalchemy import bindparam, insert, select, update

from lastgood.access import grants
from lastgood.access.grants import Grant, Stamp
from lastgood.access.sync.events import EVERYTHING, Event, Had
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx

type Outcome = Literal["applied", "same", "late"]
type Key = tuple[str, str]  # role, resource

NEVER: Final[Stamp] = (-1, -1)

_G = t.grant
_COLUMNS = (_G.c.pk, _G.c.subject, _G.c.role, _G.c.resource, _G.c.present, _G.c.event_at, _G.c.event_place)
_ROWS = select(*_COLUMNS).where(_G.c.workspace_pk == bindparam("workspace"), _G.c.source == bindparam("source"))
_OF_USERS = _ROWS.where(_G.c.subject.in_(bindparam("users", expanding=True)))
_MARK = insert(_G)
_MARK_AGAIN = update(_G).where(_G.c.pk == bindparam("row"))


@dataclass(slots=True)
class Row:
    """A grant as it stands: whether it is there, and the stamp of the event that said so."""

    present: bool
    stamp: Stamp
    pk: int | None = None


@dataclass(slots=True)
class Intake:
    """Takes events of `source` in, in one transaction. What it has looked up it keeps up to date itself."""

    tx: Tx
    who: Principal
    source: str
    _users: dict[str, dict[Key, Row]] = field(default_factory=dict)

    def take(self, stamped: Sequence[tuple[Stamp, Event]]) -> list[Outcome]:
        """Take events in, and say of each what came of it."""
        self.load({event.user for _, event in stamped})
        return [self._one(stamp, event) for stamp, event in stamped]

    def replace(self, have: Iterable[Had], now: Iterable[Had], stamp: Stamp) -> Counter[Outcome]:
        """Make `now` of `have` (grants that the source has, of ours those that are compared with them), as far as
        nothing is newer than `stamp`."""
        gone, new = set(have) - set(now), set(now) - set(have)
        self.load({one[0] for one in gone | new})
        counts: Counter[Outcome] = Counter()
        for user, role, resource in sorted(gone):
            counts[self._put(user, (role, resource), False, stamp)] += 1
        for user, role, resource in sorted(new):
            late = stamp < self.mark(user, role, resource)
            counts["late" if late else self._put(user, (role, resource), True, stamp)] += 1
        return counts

    def load(self, users: Iterable[str]) -> None:
        """Look up the rows of `users`."""
        missing = [user for user in users if user not in self._users]
        for start in range(0, len(missing), 500):
            some = missing[start : start + 500]
            self._users |= {user: {} for user in some}
            given = {"workspace": self.tx.workspace, "source": self.source, "users": some}
            for row in self.tx.connection.execute(_OF_USERS, given):
                self._users[row.subject][row.role, row.resource] = _row(row)

    def mark(self, user: str, role: str, resource: str) -> Stamp:
        """From when on a grant counts: the newest revoke of more than that grant, or update."""
        rows = self._users[user]
        marks = (rows.get(key) for key in ((EVERYTHING, EVERYTHING), (role, EVERYTHING), (EVERYTHING, resource)))
        return max((mark.stamp for mark in marks if mark is not None), default=NEVER)

    def _one(self, stamp: Stamp, event: Event) -> Outcome:
        if event.action == "add":
            return self._set(stamp, event, True)
        if event.action == "update":
            cleared = self._clear(stamp, event.user, (EVERYTHING, EVERYTHING), but=(event.role, event.resource))
            return _both(cleared, self._set(stamp, event, True))
        if EVERYTHING in (event.role, event.resource):
            return self._clear(stamp, event.user, (event.role, event.resource))
        return self._set(stamp, event, False)

    def _set(self, stamp: Stamp, event: Event, present: bool) -> Outcome:
        if stamp < self.mark(event.user, event.role, event.resource):
            return "late"
        return self._put(event.user, (event.role, event.resource), present, stamp)

    def _clear(self, stamp: Stamp, user: str, what: Key, *, but: Key | None = None) -> Outcome:
        """Take away what `user` has of `what` (a role and a resource, or `EVERYTHING` for either) and is older than
        `stamp`."""
        if stamp < self.mark(user, *what):
            return "late"
        self._set_mark(stamp, user, what)
        outcome: Outcome = "same"
        for key, row in list(self._users[user].items()):
            meant = all(one in (EVERYTHING, other) for one, other in zip(what, key, strict=True))
            if meant and row.present and row.stamp < stamp and key != but:
                self._put(user, key, False, stamp)
                outcome = "applied"
        return outcome

    def _put(self, user: str, key: Key, present: bool, stamp: Stamp) -> Outcome:
        row = self._users[user].get(key)
        if row is not None and row.stamp > stamp:
            return "late"
        if row is not None and (row.present, row.stamp) == (present, stamp):
            return "same"
        grant = Grant(user, key[0], key[1], self.source)
        outcome = grants.put(self.tx, self.who, grant, present=present, stamp=stamp)
        self._users[user][key] = Row(present, stamp)
        return "applied" if outcome == "changed" else outcome

    def _set_mark(self, stamp: Stamp, user: str, what: Key) -> None:
        rows = self._users[user]
        mark = rows.get(what)
        values: dict[str, Any] = {"event_at": stamp[0], "event_place": stamp[1]}
        if mark is not None and mark.pk is not None:
            if mark.stamp != stamp:
                self.tx.connection.execute(_MARK_AGAIN.values(**values), {"row": mark.pk})
            mark.stamp = stamp
            return
        values |= {"workspace_pk": self.tx.workspace, "subject": user, "role": what[0], "resource": what[1]}
        # Revision 0: it is no change that anybody is told of.
        values |= {"source": self.source, "present": False, "bucket": 0, "revision": 0}
        made = self.tx.connection.execute(_MARK, {**values, "changed_at": self.tx.now, "changed_by": self.who.name})
        key = made.inserted_primary_key
        rows[what] = Row(False, stamp, None if key is None else int(key[0]))


def standing(tx: Tx, source: str) -> dict[str, dict[Key, Row]]:
    """Every row of `source`, by user: what is there, what was taken away, and the marks."""
    found: dict[str, dict[Key, Row]] = defaultdict(dict)
    for row in tx.connection.execute(_ROWS, {"workspace": tx.workspace, "source": source}):
        found[row.subject][row.role, row.resource] = _row(row)
    return found


def held(tx: Tx, source: str) -> set[Had]:
    """What `source` lets people have."""
    rows = tx.connection.execute(_ROWS.where(_G.c.present), {"workspace": tx.workspace, "source": source})
    return {(row.subject, row.role, row.resource) for row in rows}


def _row(row: Any) -> Row:
    return Row(row.present, (row.event_at, row.event_place), row.pk)


def _both(one: Outcome, other: Outcome) -> Outcome:
    """What came of an event with two effects."""
    if "applied" in (one, other):
        return "applied"
    return "late" if (one, other) == ("late", "late") else "same"
