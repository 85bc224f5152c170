"""Signing in with a password, and how often that may fail.

Failures are counted by the name that is tried and by the address that tries. The first five of a name (twenty of an
address, behind which many may sit) cost nothing; each further one makes the next wait twice as long:

    failures of a name   5     6     7     8    …   12 and more
    seconds to wait      30    60    120   240  …   3600

A day without a failure forgets them. A name that nobody has is treated like any other, in what is said and in the
work that is done; a try is counted before the password is looked at, so many at once get no further than one after
another."""

import ipaddress
import math
import unicodedata
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lastgood.access import passwords, people, sessions
from lastgood.access.people import Person
from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx, parse_time, utc_text
from lastgood.errors import SignInRefused, TooManySignIns

FREE = {"name": 5, "address": 20}
_FIRST_WAIT, _LONGEST_WAIT = 30, 3600
_FORGET_HOURS = 24
_LONGEST_KEY = 300

_S = t.sign_in
_FIND = select(_S.c.failures, _S.c.last_at, _S.c.locked_until).where(_S.c.key == bindparam("key")).with_for_update()
_ENSURE = {
    "postgresql": postgresql.insert(_S).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(_S).on_conflict_do_nothing(),
}
_COUNTED = update(_S).where(_S.c.key == bindparam("key_"))
_FORGIVE = delete(_S).where(_S.c.key == bindparam("key_"))
_LESS = (
    update(_S)
    .where(_S.c.key == bindparam("key_"), _S.c.failures > 0)
    .values(failures=_S.c.failures - 1, locked_until=None)
)
_TIDY = delete(_S).where(_S.c.last_at < bindparam("before"))


def wait_seconds(failures: int, free: int) -> int:
    """How long the next try has to wait after so many failures, of which `free` cost nothing."""
    return 0 if failures < free else int(min(_FIRST_WAIT * 2 ** min(failures - free, 32), _LONGEST_WAIT))


def sign_in(store: Store, name: str, password: str, asker: Principal, *, seconds: float, former: str = "") -> str:
    """Begin a session of at most `seconds` for who knows the password of `name`; gives the session's value. The
    session `former`, which the client had until now, ends. `asker` has the address and the request.

    Raises `SignInRefused`, `TooManySignIns`, `Unavailable`."""
    person = _proven(store, unicodedata.normalize("NFC", name), password, asker, "session:create")
    return store.write(lambda tx: begin(tx, person, named(person.name, asker), seconds=seconds, former=former))


def prove(store: Store, who: Principal, password: str) -> Person:
    """The person `who`, if they know their own password. Raises as `sign_in` does."""
    return _proven(store, who.name, password, who, "person:password")


def unchanged(tx: Tx, person: Person) -> Person:
    """The `person` who has proven who they are, as they stand now. Raises `SignInRefused` for who was shut out, or
    has another password since."""
    found = people.find(tx, person.name)
    if found.disabled_at is not None or found.password != person.password:
        raise SignInRefused()
    return found


def _proven(store: Store, name: str, password: str, asker: Principal, action: str) -> Person:
    """The person `name`, whose password this is. What fails is counted and audited."""
    keys = (_key("name", name), _key("address", _network(asker.address)))
    person, wait = store.write(lambda tx: (people.look_up(tx, name), _count(tx, keys)))
    if wait:
        raise TooManySignIns(seconds=wait)
    good = passwords.matches(person.password if person else None, password)
    if person is None or not good or person.disabled_at is not None:
        # What is typed in the place of a name may be a password: it is kept of people whom we know.
        who = named(person.name if person else "unknown", asker)
        reason = "disabled" if person and good else "the password is wrong" if person else "nobody has this name"
        store.write(lambda tx: audit.append(tx, who, action, "session", result="denied", reason=reason))
        raise SignInRefused()
    known = person
    renewed = passwords.hashed(password) if passwords.is_old(known.password or "") else None

    def work(tx: Tx) -> Person:
        unchanged(tx, known)
        tx.connection.execute(_FORGIVE, {"key_": keys[0]})
        tx.connection.execute(_LESS, {"key_": keys[1]})
        if renewed:
            people.keep_hash(tx, known, renewed)
        return people.find(tx, known.name)

    return store.write(work)


def begin(
    tx: Tx,
    person: Person,
    who: Principal,
    *,
    seconds: float,
    roles: frozenset[str] = frozenset(),
    former: str = "",
) -> str:
    """The session of a `person` who has proven who they are; gives its value. Raises as `unchanged` does."""
    unchanged(tx, person)
    if former:
        sessions.end(tx, former)
    people.seen(tx, person)
    audit.append(tx, who, "session:create", "session", roles=sorted(roles) or None)
    return sessions.begin(tx, person.pk, address=who.address, seconds=seconds, roles=roles)


def first_time(tx: Tx, what: str) -> bool:
    """Whether `what`, which counts once, is seen for the first time within a day."""
    return _ensure(tx, _key("once", what))


def tidy(tx: Tx) -> None:
    """Forget failures of more than a day ago."""
    tx.connection.execute(_TIDY, {"before": _ago(tx)})


def _count(tx: Tx, keys: tuple[str, str]) -> int:
    """Count one try by both keys, unless one of them has to wait: then the seconds that it does."""
    found = {}
    for key in sorted(keys):  # in one order, so that two transactions never wait for each other
        _ensure(tx, key)  # a row that is there can be locked: tries at once count one after another
        row = tx.connection.execute(_FIND, {"key": key}).one()
        if row.locked_until is not None and row.locked_until > tx.now:
            left = parse_time(row.locked_until) - parse_time(tx.now)
            return max(1, math.ceil(left.total_seconds()))
        found[key] = 1 + (row.failures if row.last_at >= _ago(tx) else 0)
    for key, failures in found.items():
        wait = wait_seconds(failures, FREE[key.partition("/")[0]])
        until = utc_text(parse_time(tx.now) + timedelta(seconds=wait)) if wait else None
        values = {"failures": failures, "last_at": tx.now, "locked_until": until}
        tx.connection.execute(_COUNTED.values(**values), {"key_": key})
    return 0


def _ensure(tx: Tx, key: str) -> bool:
    row = {"key": key, "failures": 0, "last_at": tx.now, "locked_until": None}
    return tx.connection.execute(_ENSURE[tx.connection.dialect.name], row).rowcount == 1


def _key(kind: str, value: str) -> str:
    return f"{kind}/{value}"[:_LONGEST_KEY]


def _network(address: str) -> str:
    """What counts as one address: of IPv6 the 64 bits that one customer has at least."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False).network_address)


def named(name: str, asker: Principal) -> Principal:
    """The person `name`, with the request of `asker`."""
    return replace(asker, name=name, kind="person", roles=frozenset())


def _ago(tx: Tx) -> str:
    return utc_text(parse_time(tx.now) - timedelta(hours=_FORGET_HOURS))
