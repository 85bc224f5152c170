"""What a server's own logs tell of the runs of a version, and when that proves it.

Thin data proves nothing, and failures alone condemn nothing: a version is proven by enough finished runs whose share
of failures is small even at the upper end of what the sample allows. Who condemns is a guard or a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.history import versions
from lastgood.history.apps import App
from lastgood.history.versions import Version

KIND = "served"
_Z = 1.959963985  # the normal distribution's, for 95 %
_TOTAL = select(
    func.coalesce(func.sum(t.served.c.runs), 0).label("runs"),
    func.coalesce(func.sum(t.served.c.failed), 0).label("failed"),
    func.coalesce(func.sum(t.served.c.seconds), 0.0).label("seconds"),
    func.coalesce(func.max(t.served.c.slowest), 0.0).label("slowest"),
    func.min(t.served.c.first_at).label("first_at"),
    func.max(t.served.c.last_at).label("last_at"),
).where(t.served.c.version_pk == bindparam("version"))
_BY_ORIGIN = (
    select(t.served.c.origin, func.sum(t.served.c.runs).label("runs"), func.sum(t.served.c.failed).label("failed"))
    .where(t.served.c.version_pk == bindparam("version"))
    .group_by(t.served.c.origin)
    .order_by(t.served.c.origin)
)


@dataclass(frozen=True, slots=True)
class Runs:
    """Finished runs of one version from one origin (``service-api``, ``web-app``, ``webhook``, …): how many, how many
    of them failed, their seconds together and the slowest; first and last as stored time."""

    runs: int
    failed: int
    seconds: float
    slowest: float
    first_at: str
    last_at: str

    def plus(self, other: "Runs") -> "Runs":
        """Both together."""
        return Runs(
            self.runs + other.runs,
            self.failed + other.failed,
            self.seconds + other.seconds,
            max(self.slowest, other.slowest),
            min(self.first_at, other.first_at),
            max(self.last_at, other.last_at),
        )

    @property
    def share(self) -> float:
        """The share that failed, 0 to 1."""
        return self.failed / self.runs if self.runs else 0.0

    @property
    def bound(self) -> float:
        """The largest share of failures that the sample allows for (Wilson, 95 %); 1 without a run."""
        return upper(self.failed, self.runs)

    def sentence(self) -> str:
        """``served 412 requests, 0.5 % failed (at most 1.8 %, 95 %)``"""
        return (
            f"served {self.runs:,} requests, {100 * self.share:.1f} % failed "
            f"(at most {100 * self.bound:.1f} %, 95 % sure)"
        )


def upper(failed: int, runs: int) -> float:
    """The upper bound of Wilson's 95 % interval for `failed` of `runs`: 0 of 30 gives 0.114, 2 of 412 gives 0.018."""
    if runs <= 0:
        return 1.0
    share, square = failed / runs, _Z * _Z
    middle = share + square / (2 * runs)
    spread = _Z * sqrt(share * (1 - share) / runs + square / (4 * runs * runs))
    return min(1.0, (middle + spread) / (1 + square / runs))


def add(tx: Tx, app: App, version_pk: int, origin: str, runs: Runs) -> None:
    """Count `runs` of a version. That each run is counted once is the caller's part."""
    row = {
        "app_pk": app.pk,
        "version_pk": version_pk,
        "origin": origin[:24],
        "runs": runs.runs,
        "failed": runs.failed,
        "seconds": runs.seconds,
        "slowest": runs.slowest,
        "first_at": runs.first_at,
        "last_at": runs.last_at,
    }
    added = (pg_insert if tx.postgres else sqlite_insert)(t.served).values(**row)
    greatest, least = (func.greatest, func.least) if tx.postgres else (func.max, func.min)
    new, old = added.excluded, t.served.c
    tx.connection.execute(
        added.on_conflict_do_update(
            index_elements=[old.app_pk, old.version_pk, old.origin],
            set_={
                "runs": old.runs + new.runs,
                "failed": old.failed + new.failed,
                "seconds": old.seconds + new.seconds,
                "slowest": greatest(old.slowest, new.slowest),
                "first_at": least(old.first_at, new.first_at),
                "last_at": greatest(old.last_at, new.last_at),
            },
        )
    )


def total(tx: Tx, version: Version) -> Runs | None:
    """All that is known of the runs of `version`; None without any."""
    row = tx.connection.execute(_TOTAL, {"version": version.pk}).one()
    return Runs(int(row.runs), int(row.failed), *row[2:]) if row.runs else None


def by_origin(tx: Tx, version: Version) -> Mapping[str, tuple[int, int]]:
    """Runs and failed ones of `version`, by what started them."""
    rows = tx.connection.execute(_BY_ORIGIN, {"version": version.pk})
    return {row.origin: (int(row.runs), int(row.failed)) for row in rows}


def prove(tx: Tx, who: Principal, version: Version, *, least: int, failures: float) -> Version | None:
    """Make `version` stable where it is a candidate with at least `least` finished runs and surely no larger share of
    failures than `failures`, and give it; None where it stays as it is."""
    found = total(tx, version)
    if version.state != "candidate" or found is None or found.runs < least or found.bound > failures:
        return None
    detail: dict[str, Any] = {
        "runs": found.runs,
        "failed": found.failed,
        "bound": round(found.bound, 4),
        "slowest_seconds": round(found.slowest, 3),
        "since": found.first_at,
        "until": found.last_at,
        "origins": {origin: runs for origin, (runs, _) in by_origin(tx, version).items()},
    }
    reason = f"{found.sentence()} by Dify's own logs"
    return versions.set_state(tx, who, version, "stable", kind=KIND, reason=reason, detail=detail)
