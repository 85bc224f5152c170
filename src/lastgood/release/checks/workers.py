"""Whether every gateway worker has applied the move, and every listener has acknowledged it."""

import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import bindparam, select

from lastgood.db import process
from lastgood.db import tables as t
from lastgood.release.checks.case import Case, Checked, Verdict

_POLL_SECONDS = 0.02
_REVISION = select(t.channel.c.revision).where(
    t.channel.c.workflow_pk == bindparam("workflow"), t.channel.c.name == bindparam("name")
)
_OUTCOMES: dict[str, Verdict] = {"acknowledged": "pass", "skipped": "skipped"}


def check(case: Case) -> Iterator[Checked]:
    """The gateway workers, then each listener that the operation told."""
    yield _every_request_reads(case) if not case.means.store.postgres else _applied(case)
    for told in case.told:
        elapsed = float(told.get("elapsed_ms") or 0.0)
        outcome, detail = str(told.get("outcome")), str(told.get("detail") or "")
        yield Checked(
            "workers",
            _OUTCOMES.get(outcome, "fail"),
            "the listener acknowledges the move",
            f"{outcome}: {detail}" if detail else outcome,
            elapsed,
            f"listener {told.get('name')}",
            required=bool(told.get("required", True)),
        )


def seconds(case: Case) -> float:
    """How long all of it may take."""
    return case.means.settings.lease_seconds + 5


def _every_request_reads(case: Case) -> Checked:
    expected = "every gateway worker serves what the channel points to"
    return Checked("workers", "pass", expected, "on SQLite each request reads the channel itself", subject="gateway")


def _applied(case: Case) -> Checked:
    """On PostgreSQL a worker says what it has applied. One that lags is given as long as its lease may run."""
    began = time.monotonic()
    while True:
        with case.means.store.read() as tx:
            place = {"workflow": case.workflow.pk, "name": case.channel}
            revision = int(tx.connection.execute(_REVISION, place).scalar() or 0)
            rows = [row for row in process.listing(tx) if row["role"] == "gateway"]
        live = [row for row in rows if row["live"]]
        behind = [row for row in live if _of(row) < revision]
        if not behind or time.monotonic() - began > case.means.settings.lease_seconds:
            break
        time.sleep(_POLL_SECONDS)
    expected = f"every gateway worker has applied revision {revision}"
    elapsed = (time.monotonic() - began) * 1000
    # What a worker does that cannot hear of moves is its own setting; who serves on may serve the old version.
    deaf = [row for row in rows if not row["live"] and row["on_store_loss"] == "serve" and _of(row) < revision]

    def answer(verdict: Verdict, found: str) -> Checked:
        return Checked("workers", verdict, expected, found, elapsed, "gateway")

    if behind:
        return answer("fail", ", ".join(f"{row['id']} is at revision {row['applied']}" for row in behind))
    if deaf:
        names = ", ".join(str(row["id"]) for row in deaf)
        return answer("unknown", f"not heard of lately, and may serve the old version: {names}")
    if not live:
        expected_one = case.means.facts.get("gateway")
        return answer("fail" if expected_one else "skipped", "no gateway worker is running")
    return answer("pass", ", ".join(f"{row['id']} is at revision {row['applied']}" for row in live))


def _of(row: dict[str, Any]) -> int:
    return int(row["applied"])
