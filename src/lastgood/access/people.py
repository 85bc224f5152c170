"""People: who signs in, with a password kept here or by an identity provider. What they may do is told by grants to
their name."""

import unicodedata
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from lastgood.access import admins, sessions
from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import InvalidRequest, NameTaken, UnknownPerson

_P = t.person
_LONGEST = 255
# A colon parts kinds from names in subjects; `local` is who works on the data directory; the others are no segments.
_TAKEN = frozenset({"local", ".", ".."})
_COLUMNS = (
    *(_P.c.pk, _P.c.name, _P.c.display, _P.c.email, _P.c.password, _P.c.issuer, _P.c.issuer_subject),
    *(_P.c.disabled_at, _P.c.created_at, _P.c.created_by, _P.c.seen_at),
)
_FIND = select(*_COLUMNS).where(_P.c.workspace_pk == bindparam("workspace"), _P.c.name == bindparam("name"))
_BY_ISSUER = select(*_COLUMNS).where(_P.c.issuer == bindparam("issuer"), _P.c.issuer_subject == bindparam("subject"))
_LIST = (
    select(*_COLUMNS)
    .where(_P.c.workspace_pk == bindparam("workspace"), _P.c.name > bindparam("after"))
    .order_by(_P.c.name)
    .limit(bindparam("limit"))
)
_INSERT = insert(_P).returning(_P.c.pk)
_CHANGE = update(_P).where(_P.c.pk == bindparam("row"))


@dataclass(frozen=True, slots=True)
class Person:
    """A person as stored. `password` is a hash, and shown to nobody."""

    pk: int
    name: str
    display: str
    email: str
    password: str | None
    issuer: str | None
    issuer_subject: str | None
    disabled_at: str | None
    created_at: str
    created_by: str
    seen_at: str | None

    def public(self) -> dict[str, Any]:
        """What the API tells of them: how they sign in, and nothing of the password."""
        hidden = ("pk", "password", "issuer_subject")
        shown = {name: getattr(self, name) for name in self.__slots__ if name not in hidden}
        return {**shown, "has_password": self.password is not None}


def check_name(name: str) -> str:
    """`name` in its one written form (NFC) if it can name a person, else `InvalidRequest`."""
    name = unicodedata.normalize("NFC", name)
    reason = ""
    if not 1 <= len(name) <= _LONGEST:
        reason = f"a name has 1 to {_LONGEST} characters"
    elif not name.isprintable() or name != name.strip():
        reason = "a name has no control characters, and no spaces around it"
    elif any(c in ":/*?" for c in name):
        reason = "a name has no colon, no slash, and nothing that makes it a pattern (* or ?)"
    elif name in _TAKEN:
        reason = f"{name!r} means something else here"
    if reason:
        raise InvalidRequest(where="name", reason=reason)
    return name


def find(tx: Tx, name: str) -> Person:
    """The person `name`. Raises `UnknownPerson`."""
    found = look_up(tx, name)
    if found is None:
        raise UnknownPerson(person=name)
    return found


def look_up(tx: Tx, name: str) -> Person | None:
    """The person `name`, however it is written; None when there is none."""
    asked = {"workspace": tx.workspace, "name": unicodedata.normalize("NFC", name)}
    row = tx.connection.execute(_FIND, asked).first()
    return Person(**row._mapping) if row is not None else None


def listing(tx: Tx, *, after: str = "", limit: int = 500) -> list[Person]:
    """People by name, from behind `after` on."""
    rows = tx.connection.execute(_LIST, {"workspace": tx.workspace, "after": after, "limit": limit})
    return [Person(**row._mapping) for row in rows]


def create(
    tx: Tx, who: Principal, name: str, *, password: str | None = None, display: str = "", email: str = ""
) -> Person:
    """A new person; `password` is the hash that `passwords.hashed` gave. Raises `InvalidRequest`, `NameTaken`."""
    return _create(tx, who, name, password=password, display=display, email=email)


def from_provider(
    tx: Tx, who: Principal, *, issuer: str, subject: str, name: str, display: str = "", email: str = ""
) -> Person:
    """The person that the provider `issuer` knows as `subject`, made at the first sign-in under `name`.

    Whoever has that name already is somebody else, whatever the provider says: `NameTaken`. Raises
    `InvalidRequest` for a name that no person may have."""
    row = tx.connection.execute(_BY_ISSUER, {"issuer": issuer, "subject": subject}).first()
    if row is not None:
        return Person(**row._mapping)
    return _create(tx, who, name, display=display, email=email, issuer=issuer, issuer_subject=subject)


def set_password(tx: Tx, who: Principal, person: Person, password: str) -> None:
    """Give `person` another password (its hash). Their sessions end."""
    _change(tx, person, password=password)
    sessions.end_all(tx, person.pk)
    audit.append(tx, who, "person:password", f"person/{person.name}")


def keep_hash(tx: Tx, person: Person, password: str) -> None:
    """Keep the same password under a newer hash."""
    _change(tx, person, password=password)


def set_disabled(tx: Tx, who: Principal, person: Person, disabled: bool) -> Person:
    """Shut `person` out, or let them in again. Shut out, their sessions end at once. Raises `LastAdmin` where nobody
    could come in as an admin any more."""
    before = admins.exist(tx)
    if (person.disabled_at is not None) != disabled:
        _change(tx, person, disabled_at=tx.now if disabled else None)
        audit.append(tx, who, "person:disable" if disabled else "person:enable", f"person/{person.name}")
    if disabled:
        sessions.end_all(tx, person.pk)
        admins.leave_one(tx, who, person.name, before)
    return find(tx, person.name)


def seen(tx: Tx, person: Person) -> None:
    """Note that `person` signed in now."""
    _change(tx, person, seen_at=tx.now)


def _create(tx: Tx, who: Principal, name: str, **values: Any) -> Person:
    name = check_name(name)
    if look_up(tx, name) is not None:
        raise NameTaken(name=name, kind="person")
    row = {"workspace_pk": tx.workspace, "name": name, "created_at": tx.now, "created_by": who.name, **values}
    tx.connection.execute(_INSERT, row)
    audit.append(tx, who, "person:create", f"person/{name}", issuer=values.get("issuer"))
    return find(tx, name)


def _change(tx: Tx, person: Person, **values: Any) -> None:
    tx.connection.execute(_CHANGE.values(**values), {"row": person.pk})
