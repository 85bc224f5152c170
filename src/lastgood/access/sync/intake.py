"""Events become grants: each is applied, changes nothing, or comes too late, by its stamp and not by when it arrives.

A revoke of more than one grant, and an update, leave a mark: a row that is never a grant, because its role or its
resource is ``''``, which stands for all. It says from when on grants count, so an earlier event that arrives later
loses."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sqlalchemy import bindparam, insert, select, update

from lastgood.access import grants
from lastgood.access.grants import Grant, Stamp
from lastgood.access.sync.events import EVERYTHING, Event, Had
from lastgood.db import audit
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
_INSERT = insert(_G)
_STAMP = ("event_at", "event_place")
_ONE = update(_G).where(_G.c.pk == bindparam("row"))
_RESTAMP = _ONE.values({name: bindparam(name) for name in _STAMP})
_CHANGE = _ONE.values(
    {name: bindparam(name) for name in (*_STAMP, "present", "revision", "changed_at", "changed_by")}
)
_ACTION: Final = {True: "access:grant", False: "access:revoke"}


@dataclass(slots=True)
class Row:
    """A grant as it stands: whether it is there, and the stamp of the event that said so."""

    present: bool
    stamp: Stamp
    pk: int | None = None
    changed: bool = False  # it came, or it went


@dataclass(slots=True)
class Intake:
    """Takes events of `source` in, in a transaction that holds the source's row (`sources.hold`). What it has looked
    up it keeps up to date itself, and writes each row once."""

    tx: Tx
    who: Principal
    source: str
    _users: dict[str, dict[Key, Row]] = field(default_factory=dict)
    _touched: dict[tuple[str, Key], Row] = field(default_factory=dict)

    def take(self, stamped: Sequence[tuple[Stamp, Event]]) -> list[Outcome]:
        """Take events in, and say of each what came of it."""
        self.load({event.user for _, event in stamped})
        outcomes = [self._one(stamp, event) for stamp, event in stamped]
        self._write()
        return outcomes

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
        self._write()
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
        """From when on a grant counts."""
        return mark_of(self._users[user], role, resource)

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
        row = self._users[user].setdefault(key, Row(False, NEVER))
        if row.stamp > stamp:
            return "late"
        changed = row.present != present
        if changed:
            grant = {"role": key[0], "on": key[1], "source": self.source}
            audit.append(self.tx, self.who, _ACTION[present], f"access/{user}", **grant)
        if changed or row.stamp != stamp:
            row.present, row.stamp, row.changed = present, stamp, row.changed or changed
            self._touched[user, key] = row
        return "applied" if changed else "same"

    def _set_mark(self, stamp: Stamp, user: str, what: Key) -> None:
        row = self._users[user].setdefault(what, Row(False, NEVER))
        if row.stamp != stamp:
            row.stamp = stamp
            self._touched[user, what] = row

    def _write(self) -> None:
        """Write the rows that were touched, each as it stands now."""
        new, moved, changed = [], [], []
        number = sum(row.changed for row in self._touched.values())
        revision = grants.next_revision(self.tx, number) - number if number else 0
        by = {"changed_at": self.tx.now, "changed_by": self.who.name}
        for (user, key), row in self._touched.items():
            values: dict[str, Any] = {"event_at": row.stamp[0], "event_place": row.stamp[1]}
            if row.changed:
                revision += 1
            if row.pk is None:
                # Revision 0: a mark, or what never was there, is no change that anybody is told of.
                grant = Grant(user, *key, self.source)
                state: dict[str, Any] = {
                    "present": row.present,
                    "revision": revision if row.changed else 0,
                    "bucket": grant.bucket,
                }
                where: dict[str, Any] = {"workspace_pk": self.tx.workspace, "source": self.source, "subject": user}
                new.append({**where, "role": key[0], "resource": key[1], **values, **state, **by})
            elif row.changed:
                state = {"present": row.present, "revision": revision, **by}
                changed.append({"row": row.pk, **values, **state})
            else:
                moved.append({"row": row.pk, **values})
        for statement, rows in ((_INSERT, new), (_CHANGE, changed), (_RESTAMP, moved)):
            if rows:
                self.tx.connection.execute(statement, rows)
        # A row that was inserted has a key that is not known here.
        self._users = {}
        self._touched = {}


def mark_of(rows: Mapping[Key, Row], role: str, resource: str) -> Stamp:
    """From when on a grant of a user counts who has `rows`: the newest revoke of more than that grant, or update."""
    marks = (rows.get(key) for key in ((EVERYTHING, EVERYTHING), (role, EVERYTHING), (EVERYTHING, resource)))
    return max((mark.stamp for mark in marks if mark is not None), default=NEVER)


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
