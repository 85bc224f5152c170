"""An open transaction, which every function that changes state takes and none commits."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection

if TYPE_CHECKING:
    from lastgood.db.ring import KeyRing


@dataclass(slots=True)
class Tx:
    """One transaction on the main store.

    `now` is its time (UTC text, microseconds), the same for all it writes. `revision` is the routing revision that
    it made, 0 while it made none. `local_role` is the role of whoever works on the data directory itself."""

    connection: Connection
    ring: "KeyRing"
    workspace: int
    now: str
    revision: int = 0
    local_role: str = "admin"

    @property
    def postgres(self) -> bool:
        """Whether this runs on PostgreSQL (else SQLite)."""
        return self.connection.dialect.name == "postgresql"


def utc_now() -> str:
    """The present as stored text: ``2026-11-23T19:10:41.123456Z``."""
    return utc_text(datetime.now(UTC))


def utc_text(at: datetime) -> str:
    """`at` (aware) as stored text."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """The aware time of stored text (also other ISO 8601). Raises `ValueError`."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
