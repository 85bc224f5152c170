"""The services that a move reaches: each with its risk, the reason in one sentence, and who answers for it."""

from collections.abc import Mapping
from typing import Final

from lastgood.catalogue import Service as Declared
from lastgood.release.impact.reached import Reach
from lastgood.release.impact.risk import BUSY, Effect, risk_of, traffic
from lastgood.release.plan import Service

NOBODY: Final = "nobody declared"


def service_of(way: Reach, effect: Effect, why: str, catalogue: Mapping[str, Declared]) -> Service:
    """The service that a way leads to, as a move with `effect` finds it; `why` says what breaks callers. One that the
    `catalogue` does not know counts as of medium criticality."""
    declared = catalogue.get(way.service)
    criticality = declared.criticality if declared else "medium"
    weight = f"its criticality is {criticality}" if declared else "the catalogue does not know it"
    reason = f"It {way.how}{_distance(way)}; {_requests(way)}; {_meaning(effect, why, way)}; {weight}."
    risk = risk_of(criticality, effect, steps=way.steps, calls=way.calls, day=way.day, week=way.week)
    return Service(way.service, way.module, risk, reason, (declared.owner if declared else "") or NOBODY)


def _distance(way: Reach) -> str:
    return "" if way.steps == 1 else f" ({way.steps} steps away)"


def _requests(way: Reach) -> str:
    """How busy it is, in words that the next request does not change: a plan is held against them."""
    if way.day is None or way.week is None:
        return "its requests are not counted"
    if not way.week:
        return "it made no request in 7 days" if way.calls else "there was no request in 7 days"
    return f"{'at least' if traffic(way.day, way.week) > 0 else 'fewer than'} {BUSY} requests in 24 h"


def _meaning(effect: Effect, why: str, way: Reach) -> str:
    if effect == "same":
        return "both versions do the same"
    if effect == "unknown":
        return "what changes is not known"
    if not way.calls:
        return "what it is sent may be another"
    return f"callers break ({why.rstrip('.')})" if effect == "breaking" else "callers need not change"
