"""What processes of different releases say to each other, and in which form.

A message or a stored thing has *forms*, the oldest of which every release reads. Each process announces in the
process table the names of the newer forms that it reads (its capabilities); a writer uses the newest form that all
who must read it can, else an older one. That spares an older release what it does not know, and is no lock: a process
may come between the question and the answer. So a reader ignores members that it does not know, gives missing ones
defaults, and takes a message in no known form as the news that something changed: it reads the truth again."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, String, bindparam, case, exists, literal, select

from lastgood.db import tables
from lastgood.db.clock import POSTGRES, now_ms
from lastgood.db.tx import Tx

LATE_MS = 60_000  # a process whose lease ended no longer ago may come back
ROUTE_CHANGE_2 = "route-change.2"
MANIFEST_1 = "manifest.1"
READS = ("routes", ROUTE_CHANGE_2, MANIFEST_1)  # what every process of this release can read

_P = tables.process


@dataclass(frozen=True, slots=True)
class RouteChange:
    """The news that routes changed: the routing revision, and the move that made it where a move did. The names are
    for people and logs; what is served is read from the store."""

    revision: int
    workflow: str = ""
    channel: str = ""
    generation: int = 0


_EXAMPLE = RouteChange(0)


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a route change. `capability` is what a process announces that reads it."""

    capability: str
    write: Callable[[RouteChange], str]


def _named(change: RouteChange) -> str:
    return json.dumps({"form": 2, **asdict(change)}, separators=(",", ":"))


# Newest first; the last is the bare revision, which every release reads.
ROUTE_CHANGE_FORMS = (Form(ROUTE_CHANGE_2, _named), Form("routes", lambda change: str(change.revision)))


def read_route_change(payload: str) -> RouteChange | None:
    """The route change that `payload` tells of, in any form that this release knows; None for any other text. A newer
    form is read as the newest known one when it has its members."""
    try:
        told: Any = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if isinstance(told, int) and not isinstance(told, bool):
        return RouteChange(told)
    if not isinstance(told, dict):
        return None
    known = {field.name: told[field.name] for field in fields(RouteChange) if field.name in told}
    wrong = any(type(value) is not type(getattr(_EXAMPLE, name)) for name, value in known.items())
    return None if wrong or "revision" not in known else RouteChange(**known)


def agreed(tx: Tx, capability: str, role: str | None = None) -> bool:
    """Whether every process of `role` (None: of any) that runs or may come back announced `capability`. True when
    there is none: what is stored then is read by this release or a later one.

    Ask before writing a form of a message or of a snapshot that an older release cannot read."""
    return bool(tx.connection.execute(select(_all_read(capability, role, now_ms(tx)))).scalar_one())


def newest_agreed(forms: Sequence[Form], role: str) -> ColumnElement[str]:
    """A PostgreSQL expression for the text of the newest of `forms` (newest first) that every process of `role`
    reads; `texts` gives its parameters."""
    *newer, oldest = (bindparam(f"form_{place}", type_=String) for place in range(len(forms)))
    readable = (_all_read(form.capability, role, POSTGRES) for form in forms)
    return case(*zip(readable, newer, strict=False), else_=oldest)


def texts(forms: Sequence[Form], change: RouteChange) -> dict[str, str]:
    """The parameters of `newest_agreed`: `change` written in each of `forms`."""
    return {f"form_{place}": form.write(change) for place, form in enumerate(forms)}


def _all_read(capability: str, role: str | None, now: ColumnElement[int] | int) -> ColumnElement[bool]:
    # The name is looked for in the text, in quotation marks: a later release may announce itself in another shape.
    lacks = ~_P.c.capabilities.contains(f'"{capability}"', autoescape=True)
    around = _P.c.lease_until_ms > (literal(now) if isinstance(now, int) else now) - LATE_MS
    wanted = [lacks, around] if role is None else [lacks, around, _P.c.role == role]
    return ~exists(select(_P.c.id).where(*wanted))
