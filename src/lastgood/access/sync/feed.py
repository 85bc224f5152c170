"""Every change of a grant, in order: the number of a change is its place in the feed. Whoever has read up to a number
goes on from there; whoever has nothing yet takes the snapshot, or a compacted topic from its start."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import bindparam, func, select

from lastgood.db import tables as t
from lastgood.db.tx import Tx

SOURCE: Final = "/lastgood/access"  # of our CloudEvents
GRANTED, REVOKED = "lastgood.access.granted", "lastgood.access.revoked"

_G = t.grant
_COLUMNS = tuple(
    _G.c[name]
    for name in ("subject", "role", "resource", "source", "present", "expires_at", "revision", "changed_at")
)
_HERE = (_G.c.workspace_pk == bindparam("workspace"), _G.c.role != "", _G.c.resource != "")
_LATER = (*_HERE, _G.c.revision > bindparam("after"))
_AFTER = select(*_COLUMNS).where(*_LATER).order_by(_G.c.revision)
_WAITING = select(func.count()).select_from(_G).where(*_LATER)
_PRESENT = select(*_COLUMNS).where(*_HERE, _G.c.present).order_by(_G.c.pk)
_HEAD = select(t.access.c.revision)


@dataclass(frozen=True, slots=True)
class Change:
    """A grant as it stands since change `sequence`."""

    subject: str
    role: str
    resource: str
    source: str
    present: bool
    expires_at: str | None
    sequence: int
    at: str

    @property
    def key(self) -> str:
        """What a compacted topic knows it by: ``subject|role|resource|source``; ``|`` and ``%`` in them as in
        URLs."""
        return "|".join(
            part.replace("%", "%25").replace("|", "%7C")
            for part in (self.subject, self.role, self.resource, self.source)
        )

    def public(self) -> dict[str, Any]:
        """Its JSON form, in the HTTP feed and in the topic."""
        return {
            "sequence": self.sequence,
            "subject": self.subject,
            "role": self.role,
            "resource": self.resource,
            "source": self.source,
            "present": self.present,
            "expires_at": self.expires_at,
            "at": self.at,
        }

    def record(self) -> tuple[bytes, bytes | None, list[tuple[str, bytes]]]:
        """Key, value and headers in a compacted topic: a binary CloudEvent, without data (a tombstone) when it was
        taken away."""
        attributes: Mapping[str, str] = {
            "sequence": str(self.sequence),
            "ce_specversion": "1.0",
            "ce_id": str(self.sequence),
            "ce_source": SOURCE,
            "ce_type": GRANTED if self.present else REVOKED,
            "ce_time": self.at,
        }
        headers = [(name, value.encode()) for name, value in attributes.items()]
        if not self.present:
            return self.key.encode(), None, headers
        return self.key.encode(), orjson.dumps(self.public()), [*headers, ("content-type", b"application/json")]


def head(tx: Tx) -> int:
    """The number of the newest change; of roles too, so that not every number is a grant's."""
    found: int = tx.connection.execute(_HEAD).scalar_one()
    return found


def changes(tx: Tx, after: int, limit: int) -> list[Change]:
    """At most `limit` grants that changed after change `after`, the oldest change first, each as it stands now."""
    rows = tx.connection.execute(_AFTER.limit(limit), {"workspace": tx.workspace, "after": after})
    return [_change(row) for row in rows]


def waiting(tx: Tx, after: int) -> int:
    """How many grants changed after change `after`."""
    found: int = tx.connection.execute(_WAITING, {"workspace": tx.workspace, "after": after}).scalar_one()
    return found


def snapshot(tx: Tx) -> Iterator[Change]:
    """Every grant there is, the expired ones too. `head` in the same transaction says from where on the feed adds to
    it."""
    for row in tx.connection.execute(_PRESENT, {"workspace": tx.workspace}):
        yield _change(row)


def lines(some: list[Change]) -> bytes:
    """As JSON lines."""
    return b"".join(orjson.dumps(one.public()) + b"\n" for one in some)


def _change(row: Any) -> Change:
    return Change(
        row.subject, row.role, row.resource, row.source, row.present, row.expires_at, row.revision, row.changed_at
    )
