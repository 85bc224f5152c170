"""What belongs to an app on a Dify server and is in no version of it: its keys, webhooks, triggers, tool, MCP server,
site and switches. What may be shown is kept as it is, what may not is sealed; changes are told. Of a webhook the
address before is kept, sealed too: its callers must be told where to go."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sqlalchemy import bindparam, insert, select, update

from lastgood.db import audit, envelope
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.history.apps import App

Kind = Literal["api-key", "trigger", "webhook", "tool", "mcp", "site", "switches"]
KINDS: Final[tuple[Kind, ...]] = ("api-key", "trigger", "webhook", "tool", "mcp", "site", "switches")
Change = Literal["new", "changed", "gone"]

_OF_APP = (
    select(t.integration)
    .where(t.integration.c.app_pk == bindparam("app"))
    .order_by(t.integration.c.kind, t.integration.c.name)
)
_OF_KIND = _OF_APP.where(t.integration.c.kind == bindparam("kind"))
_ADD = insert(t.integration)


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing as it is now: what may be shown of it (JSON values), and what may not (empty: nothing)."""

    state: Mapping[str, Any]
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Part:
    """One thing as it was last seen. `fingerprint` tells whether it is the same, its secret included."""

    pk: int
    kind: Kind
    name: str
    state: Mapping[str, Any]
    fingerprint: str
    seen_at: str
    changed_at: str
    gone_at: str | None
    sealed: bytes | None = field(repr=False)

    def public(self) -> dict[str, Any]:
        """Its JSON form, without what is sealed."""
        return {
            "kind": self.kind,
            "name": self.name,
            "state": dict(self.state),
            "fingerprint": self.fingerprint[:12],
            "changed_at": self.changed_at,
            "seen_at": self.seen_at,
            "gone_at": self.gone_at,
        }


@dataclass(frozen=True, slots=True)
class Former:
    """What was sealed of a thing before it changed, and when the change was noticed (stored time)."""

    secret: str = field(repr=False)
    until: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A change that was told: of which thing, and the names of what differs in it (``secret`` for the sealed
    part)."""

    kind: Kind
    name: str
    change: Change
    fields: tuple[str, ...] = ()


def observe(
    tx: Tx, who: Principal, app: App, kind: Kind, seen: Mapping[str, Seen], *, first: bool = False
) -> list[Changed]:
    """Keep what `app` has of `kind` now, by name, and give what changed since. Each change is audited and emitted as
    ``integration.changed``; with `first` (nothing was ever read of the app) nothing is told."""
    held = {part.name: part for part in listing(tx, app, kind)}
    changes = []
    for name, one in seen.items():
        known = held.get(name)
        fingerprint = tx.ring.fingerprint(json.dumps([dict(one.state), one.secret], sort_keys=True))
        if known is not None and known.fingerprint == fingerprint and known.gone_at is None:
            continue
        before = _before(tx, app, known, one) if known is not None else None
        values = {
            "state": json.dumps(dict(one.state), sort_keys=True, ensure_ascii=False),
            "sealed": _sealed(tx, _place(app, kind, name), one.secret, before),
            "fingerprint": fingerprint,
            "seen_at": tx.now,
            "changed_at": tx.now,
            "gone_at": None,
        }
        if known is None:
            tx.connection.execute(_ADD, {"app_pk": app.pk, "kind": kind, "name": name, **values})
        else:
            tx.connection.execute(update(t.integration).where(t.integration.c.pk == known.pk).values(**values))
        fields = _differing(tx, app, known, one) if known is not None and known.gone_at is None else ()
        changes.append(Changed(kind, name, "changed" if fields else "new", fields))
    for name, known in held.items():
        if name not in seen and known.gone_at is None:
            gone = {"gone_at": tx.now, "changed_at": tx.now}
            tx.connection.execute(update(t.integration).where(t.integration.c.pk == known.pk).values(**gone))
            changes.append(Changed(kind, name, "gone"))
    if not first:
        for change in changes:
            _tell(tx, who, app, change)
    return changes


def listing(tx: Tx, app: App, kind: Kind | None = None) -> list[Part]:
    """What is kept of `app`, by kind and name."""
    where: dict[str, Any] = {"app": app.pk}
    rows = tx.connection.execute(_OF_KIND, where | {"kind": kind}) if kind else tx.connection.execute(_OF_APP, where)
    return [_part(row) for row in rows]


def secret_of(tx: Tx, app: App, part: Part) -> str:
    """What is sealed of `part` (a webhook's URL, the code of a site or an MCP server), opened; empty where nothing
    is. Raises `Unsealable`."""
    return str(_opened(tx, app, part).get("now", ""))


def former_of(tx: Tx, app: App, part: Part) -> Former | None:
    """What was sealed of `part` before it last changed, opened; None where it never did. Raises `Unsealable`."""
    found = _opened(tx, app, part)
    return Former(found["before"], found["until"]) if found.get("before") else None


def _opened(tx: Tx, app: App, part: Part) -> dict[str, Any]:
    if part.sealed is None:
        return {}
    found: dict[str, Any] = json.loads(envelope.unseal(tx, part.sealed, _place(app, part.kind, part.name)))
    return found


def _before(tx: Tx, app: App, known: Part, now: Seen) -> Former | None:
    """What `now` takes the place of. A webhook that was gone and is back has had an address all the same."""
    if known.kind != "webhook":
        return None
    was = secret_of(tx, app, known)
    if not was or was == now.secret:
        return former_of(tx, app, known)
    return Former(was, known.gone_at or tx.now)


def _sealed(tx: Tx, place: str, secret: str, before: Former | None) -> bytes | None:
    if not secret and before is None:
        return None
    former = {"before": before.secret, "until": before.until} if before else {}
    return envelope.seal(tx, json.dumps({"now": secret, **former}), place)


def _differing(tx: Tx, app: App, known: Part, now: Seen) -> tuple[str, ...]:
    keys = known.state.keys() | now.state.keys()
    found = {key for key in keys if known.state.get(key) != now.state.get(key)}
    if secret_of(tx, app, known) != now.secret:
        found.add("secret")
    return tuple(sorted(found)) or ("state",)


def _tell(tx: Tx, who: Principal, app: App, change: Changed) -> None:
    facts: dict[str, Any] = {
        "integration": change.kind,
        "name": change.name,
        "change": change.change,
        "fields": list(change.fields),
    }
    resource = f"workflow/{app.workflow_id}/channel/{app.channel}"
    audit.append(tx, who, "integration:changed", resource, server=app.target, app=app.app_id, **facts)
    payload = {"server": app.target, "app": app.app_id, "channel": app.channel, **facts}
    audit.emit(tx, "integration.changed", app.workflow_id, payload)


def _place(app: App, kind: str, name: str) -> str:
    return f"app/{app.app_id}/{kind}/{name}"


def _part(row: Any) -> Part:
    return Part(
        pk=row.pk,
        kind=row.kind,
        name=row.name,
        state=json.loads(row.state),
        fingerprint=row.fingerprint,
        seen_at=row.seen_at,
        changed_at=row.changed_at,
        gone_at=row.gone_at,
        sealed=None if row.sealed is None else bytes(row.sealed),
    )
