"""How every source and feed stands, for people, for metrics and for the checklist after a move."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, func, select

from lastgood.access import roles
from lastgood.access.sync import dead, feed, sources
from lastgood.catalogue import GrantSource
from lastgood.db import tables as t
from lastgood.db.tx import Tx
from lastgood.settings import Settings

FEED_ROW: Final = ">"  # before the name of a feed, where its state is kept

_G = t.grant
_HELD = (
    select(_G.c.source, _G.c.role, func.count())
    .where(_G.c.workspace_pk == bindparam("workspace"), _G.c.present)
    .group_by(_G.c.source, _G.c.role)
)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a source stands. `lag`: events that are known to wait; None where that is not known or makes no sense.
    `problem`: why it cannot be read, else why its last list was doubted. `unknown`: roles that it grants and that
    there are not, which allow nothing until somebody makes them. `comparable`: there is a list of it to compare
    with."""

    name: str
    kind: str
    grants: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    dead: int = 0
    lag: int | None = None
    lost: int = 0
    read_at: str | None = None
    full_at: str | None = None
    incremental_at: str | None = None
    last: Mapping[str, Any] | None = None
    problem: str = ""
    reader: str | None = None
    unknown: tuple[str, ...] = ()
    comparable: bool = True

    @property
    def in_step(self) -> bool | None:
        """Whether the last check found nothing that still differs; None without one."""
        return None if self.last is None else bool(self.last["in_step"])

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "name": self.name,
            "kind": self.kind,
            "grants": self.grants,
            "counts": dict(self.counts),
            "dead": self.dead,
            "lag": self.lag,
            "lost": self.lost,
            "read_at": self.read_at,
            "full_at": self.full_at,
            "incremental_at": self.incremental_at,
            "in_step": self.in_step,
            "last": self.last,
            "problem": self.problem,
            "reader": self.reader,
            "unknown_roles": list(self.unknown),
            "comparable": self.comparable,
        }


def standings(tx: Tx, settings: Settings) -> list[Standing]:
    """Every source that the settings declare, by name."""
    known = {one.name: one for one in sources.listing(tx)}
    buried = dead.counts(tx)
    held: dict[str, Counter[str]] = {}
    for source, role, number in tx.connection.execute(_HELD, {"workspace": tx.workspace}):
        held.setdefault(source, Counter())[role] = number
    known_roles = {role.name for role in roles.listing(tx)}
    return [
        _standing(name, setting, known.get(name), held.get(name, Counter()), buried.get(name, 0), known_roles)
        for name, setting in sorted(settings.grants.items())
    ]


def feeds(tx: Tx, settings: Settings) -> list[dict[str, Any]]:
    """Every feed that the settings declare: how far its topic is written, and what waits."""
    known = {one.name: one for one in sources.listing(tx) if one.kind == sources.FEED}
    head = feed.head(tx)
    told = []
    for name, setting in sorted(settings.feeds.items()):
        found = known.get(FEED_ROW + name)
        position = found.position if found and found.position.get("topic") == setting.topic else {}
        at = int(position.get("sequence", 0))
        told.append(
            {
                "name": name,
                "topic": setting.topic,
                "sequence": at,
                "head": head,
                "waiting": feed.waiting(tx, at),
                "problem": found.problem if found else "",
                "written_at": found.read_at if found else None,
            }
        )
    return told


def _standing(
    name: str,
    setting: GrantSource,
    found: sources.Source | None,
    held: Counter[str],
    buried: int,
    known_roles: set[str],
) -> Standing:
    grants, unknown = held.total(), tuple(sorted(held.keys() - known_roles))
    comparable = setting.has_list
    if found is None or found.kind != setting.kind:
        return Standing(name, setting.kind, grants, dead=buried, unknown=unknown, comparable=comparable)
    return Standing(
        name,
        setting.kind,
        grants,
        found.position.get("counts", {}),
        buried,
        found.result.get("lag"),
        int(found.result.get("lost", 0)),
        found.read_at,
        found.full_at,
        found.incremental_at,
        found.result.get("last"),
        found.problem or (found.result.get("last") or {}).get("problem", ""),
        found.owner,
        unknown,
        comparable,
    )
