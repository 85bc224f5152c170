"""How much a move may harm a service: one small table.

| criticality | breaking, directly | breaking, further off | changed, directly | changed, further off |
|---|---|---|---|---|
| low      | medium   | low      | low    | low    |
| medium   | high     | medium   | low    | low    |
| high     | critical | high     | medium | low    |
| critical | critical | critical | high   | medium |

One step higher where the service makes at least `BUSY` requests a day, one lower where it made none for seven days;
neither where nobody counted them. A change that is the same workflow is low, whatever else; one that nobody can know
counts as breaking. What the workflow itself calls has no contract with it: a break of callers counts there as a
change."""

from collections.abc import Iterable
from typing import Final, Literal

from lastgood.catalogue import Criticality

Risk = Literal["low", "medium", "high", "critical"]
Effect = Literal["breaking", "changed", "same", "unknown"]

RISKS: Final[tuple[Risk, ...]] = ("low", "medium", "high", "critical")
BUSY: Final = 100
_TABLE: Final[dict[Criticality, tuple[Risk, Risk, Risk, Risk]]] = {
    "low": ("medium", "low", "low", "low"),
    "medium": ("high", "medium", "low", "low"),
    "high": ("critical", "high", "medium", "low"),
    "critical": ("critical", "critical", "high", "medium"),
}


def risk_of(
    criticality: Criticality, effect: Effect, *, steps: int, calls: bool, day: int | None, week: int | None
) -> Risk:
    """The risk for a service that a change with `effect` reaches over `steps` (1: directly). `calls` says whether the
    service calls the workflow, or is called by it. `day` and `week` are its requests of the last 24 hours and of the
    last 7 days, None where they were not counted."""
    if effect == "same":
        return "low"
    breaking = effect == "unknown" or (effect == "breaking" and calls)
    found = _TABLE[criticality][(0 if breaking else 2) + (steps > 1)]
    return RISKS[min(max(RISKS.index(found) + traffic(day, week), 0), len(RISKS) - 1)]


def traffic(day: int | None, week: int | None) -> int:
    """What the number of requests adds to a risk: 1 where they are many, -1 where there were none, else 0."""
    if day is not None and day >= BUSY:
        return 1
    return -1 if week == 0 else 0


def worst(risks: Iterable[Risk]) -> Risk:
    """The highest of `risks`, low for none."""
    return max(risks, key=RISKS.index, default="low")
