"""What is under way: runs, paused runs and conversations by version, and whether each can go on."""

import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from lastgood.db import runs as r
from lastgood.errors import InvalidId, LastgoodError, UnknownVersion
from lastgood.history import versions
from lastgood.release.checks.case import Case, Checked
from lastgood.targets import engine

_UNDER_WAY = ("running", "paused")
_GOOD = frozenset({*_UNDER_WAY, "succeeded", "partial-succeeded"})
_GRACE_SECONDS = 60.0
_RECORDED = 1000
_RUNS = (
    select(r.run.c.version_id, r.run.c.status, func.count())
    .where(
        r.run.c.workflow_id == bindparam("workflow"),
        r.run.c.status.in_(_UNDER_WAY),
        (r.run.c.status != "running") | (r.run.c.created_at >= bindparam("since")),
    )
    .group_by(r.run.c.version_id, r.run.c.status)
)
_IDS = (
    select(r.run.c.id)
    .where(
        r.run.c.workflow_id == bindparam("workflow"),
        r.run.c.status.in_(_UNDER_WAY),
        r.run.c.created_at >= bindparam("since"),
    )
    .order_by(r.run.c.pk.desc())
    .limit(_RECORDED)
)
_ENDS = (
    select(r.run.c.status, func.count())
    .where(r.run.c.id.in_(bindparam("ids", expanding=True)))
    .group_by(r.run.c.status)
)
_LAST = (
    select(func.max(r.message.c.pk).label("pk"))
    .join(r.conversation, r.message.c.conversation_id == r.conversation.c.id)
    .where(r.conversation.c.workflow_id == bindparam("workflow"))
    .group_by(r.message.c.conversation_id)
    .subquery()
)
# A conversation stands on the version that gave its last answer; runs are forgotten sooner than conversations.
_CONVERSATIONS = (
    select(r.run.c.version_id, func.count())
    .join_from(_LAST, r.message, r.message.c.pk == _LAST.c.pk)
    .join(r.run, r.run.c.id == r.message.c.run_id)
    .group_by(r.run.c.version_id)
)


def check(case: Case) -> Iterator[Checked]:
    """One item for each version that something is under way on, one where nothing is."""
    expected = "what is under way can go on: its version is kept and can be read"
    runs = case.means.runs()
    if runs is None or case.workflow.target != engine.NAME:
        found = (
            "there is no store of runs here" if runs is None else f"{case.workflow.target} keeps its runs to itself"
        )
        yield Checked("instances", "skipped", expected, found)
        return
    with runs.connect() as connection:
        under_way = _under_way(case, connection)
        before = list(_ends(case, connection))
    for version in sorted(under_way):
        problem = _problem(case, version)
        listed = ", ".join(f"{number} {what}" for what, number in sorted(under_way[version].items()))
        found = f"{listed}; {problem}" if problem else listed
        yield Checked("instances", "fail" if problem else "pass", expected, found, subject=version)
    if not under_way:
        yield Checked("instances", "pass", expected, "nothing is under way")
    yield from before


def record(case: Case) -> dict[str, Any]:
    """The ids of the runs that are under way, the newest first."""
    runs = case.means.runs()
    if runs is None:
        return {}
    with runs.connect() as connection:
        return {"runs": list(connection.execute(_IDS, _now(case)).scalars())}


def _now(case: Case) -> dict[str, Any]:
    # A run that an engine did not live to end is recorded as running for ever.
    since = time.time() - case.means.settings.run_timeout - _GRACE_SECONDS
    return {"workflow": case.workflow.id, "since": since}


def _under_way(case: Case, connection: Connection) -> dict[str, dict[str, int]]:
    """How many of what there are, by version."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for version, status, number in connection.execute(_RUNS, _now(case)):
        found[version][f"{status} run{'s' * (number != 1)}"] = number
    for version, number in connection.execute(_CONVERSATIONS, {"workflow": case.workflow.id}):
        found[version][f"conversation{'s' * (number != 1)}"] = number
    return found


def _ends(case: Case, connection: Connection) -> Iterator[Checked]:
    """What became of the runs that were under way before the move. Told only: a run may fail of its own."""
    ids = case.baseline.get("instances", {}).get("runs") or []
    if not ids:
        return
    found: dict[str, int] = {str(status): int(number) for status, number in connection.execute(_ENDS, {"ids": ids})}
    lost = len(ids) - sum(found.values())
    told = [f"{number} {status}" for status, number in sorted(found.items())]
    told += [f"{lost} no longer recorded"] if lost else []
    good = all(status in _GOOD for status in found)
    yield Checked(
        "instances",
        "unknown" if lost else "pass" if good else "fail",
        "what ran before the move goes on or ended well",
        f"of {len(ids)}: {', '.join(told)}",
        subject="before the move",
        required=False,
    )


def _problem(case: Case, version: str) -> str:
    """Why what runs on `version` cannot go on, empty where it can."""
    try:
        with case.means.store.read() as tx:
            versions.document_of(tx, versions.find(tx, version, case.workflow))
    except (UnknownVersion, InvalidId):
        return "this version is not kept"
    except LastgoodError as error:
        return str(error)
    return ""
