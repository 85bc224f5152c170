"""What is known of a version that speaks for it: who proved it and when, how long it served, and how well."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.exc import DBAPIError

from lastgood.db import tables as t
from lastgood.db.tx import Tx, parse_time
from lastgood.errors import LastgoodError
from lastgood.history import served
from lastgood.history.calls import Usage, usage
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow
from lastgood.release import moves
from lastgood.release.means import Means

_CAME, _LEFT = t.move.alias("came"), t.move.alias("left_by")
# Each time that a channel came to the version, and when it left.
_STAYS = (
    select(_CAME.c.at, _LEFT.c.at.label("until"))
    .outerjoin_from(
        _CAME, _LEFT, (_LEFT.c.channel_pk == _CAME.c.channel_pk) & (_LEFT.c.generation == _CAME.c.generation + 1)
    )
    .where(_CAME.c.to_pk == bindparam("version"))
)
_SEEN = timedelta(days=30)
_SPANS = ((60, 1, "s"), (3600, 60, "min"), (48 * 3600, 3600, "h"), (float("inf"), 86400, "days"))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a version. `verified_at` (UTC text) and `verified_by` are None while nothing has proven it;
    `requests`, `error_rate` (0 to 1) and `p95_ms` are what the gateway recorded, or else Dify's own logs tell
    (without `p95_ms`), None where nothing is;
    `baked_seconds` is how long channels pointed to it."""

    verified_at: str | None
    verified_by: str | None
    how: str
    requests: int | None
    error_rate: float | None
    p95_ms: float | None
    baked_seconds: float

    def as_data(self) -> dict[str, Any]:
        """Its JSON form."""
        return asdict(self)

    def sentence(self) -> str:
        """``smoke requests passed on 2026-11-24 03:12 UTC, by alice; 1,204 requests, 0.1 % errors; live for 26 h``"""
        said = self.how
        if self.verified_at:
            said += f" on {self.verified_at[:16].replace('T', ' ')} UTC, by {self.verified_by}"
        if self.requests:
            said += f"; {self.requests:,} requests, {100 * (self.error_rate or 0):.1f} % errors"
        if self.baked_seconds >= 1:
            said += f"; live for {_span(self.baked_seconds)}"
        return said


def of(means: Means, tx: Tx, workflow: Workflow, version: Version) -> Evidence:
    """All that speaks for `version`."""
    how, at, by = moves.proven(tx, version) or ("nothing has proven it", None, None)
    baked = 0.0
    for row in tx.connection.execute(_STAYS, {"version": version.pk}):
        stay = parse_time(row.until or tx.now) - parse_time(row.at)
        baked += max(0.0, stay.total_seconds())  # clocks jump
    used = _usage(means, workflow, version)
    if used is None or not used.requests:
        logged = served.total(tx, version)  # what did not come through the gateway
        if logged is None:
            return Evidence(at, by, how, None, None, None, baked)
        return Evidence(at, by, how, logged.runs, logged.share, None, baked)
    return Evidence(at, by, how, used.requests, used.error_rate, used.p95_ms, baked)


def _usage(means: Means, workflow: Workflow, version: Version) -> Usage | None:
    """What the gateway recorded of the version; None where that cannot be read, which hinders no rollback."""
    try:
        runs = means.runs()
        if runs is None:
            return None
        with runs.connect() as connection:
            return usage(connection, workflow.id, version.id, since=datetime.now(UTC) - _SEEN)
    except (DBAPIError, LastgoodError):
        return None


def _span(seconds: float) -> str:
    limit = next(one for one in _SPANS if seconds < one[0])
    return f"{seconds / limit[1]:.0f} {limit[2]}"
