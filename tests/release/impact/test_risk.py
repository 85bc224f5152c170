"""How much a move may harm a service: the table, case by case, and what must hold of every case."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.catalogue import Criticality
from lastgood.release.impact.risk import BUSY, RISKS, Effect, Risk, risk_of, traffic, worst

SOME = {"day": BUSY - 1, "week": BUSY}

# criticality, effect, steps → the risk for a service that calls, with some requests.
TABLE: list[tuple[Criticality, Effect, int, Risk]] = [
    ("low", "breaking", 1, "medium"),
    ("low", "breaking", 2, "low"),
    ("low", "changed", 1, "low"),
    ("low", "changed", 2, "low"),
    ("medium", "breaking", 1, "high"),
    ("medium", "breaking", 2, "medium"),
    ("medium", "changed", 1, "low"),
    ("medium", "changed", 2, "low"),
    ("high", "breaking", 1, "critical"),
    ("high", "breaking", 2, "high"),
    ("high", "breaking", 7, "high"),
    ("high", "changed", 1, "medium"),
    ("high", "changed", 2, "low"),
    ("critical", "breaking", 1, "critical"),
    ("critical", "breaking", 2, "critical"),
    ("critical", "changed", 1, "high"),
    ("critical", "changed", 2, "medium"),
    ("critical", "same", 1, "low"),
    ("low", "unknown", 1, "medium"),
    ("medium", "unknown", 1, "high"),
    ("high", "unknown", 2, "high"),
]


@pytest.mark.parametrize(("criticality", "effect", "steps", "expected"), TABLE)
def test_the_table(criticality: Criticality, effect: Effect, steps: int, expected: Risk) -> None:
    assert risk_of(criticality, effect, steps=steps, calls=True, **SOME) == expected


@pytest.mark.parametrize(
    ("day", "week", "adds"),
    [
        (None, None, 0),
        (0, 0, -1),
        (0, 1, 0),
        (BUSY - 1, 10 * BUSY, 0),
        (BUSY, BUSY, 1),
        (50 * BUSY, 50 * BUSY, 1),
    ],
)
def test_requests_move_it_by_one_step(day: int | None, week: int | None, adds: int) -> None:
    assert traffic(day, week) == adds
    found = risk_of("high", "breaking", steps=2, calls=True, day=day, week=week)
    assert found == RISKS[RISKS.index("high") + adds]


def test_the_scale_has_ends() -> None:
    assert risk_of("low", "changed", steps=1, calls=True, day=0, week=0) == "low"
    assert risk_of("critical", "breaking", steps=1, calls=True, day=BUSY, week=BUSY) == "critical"


def test_what_the_workflow_calls_has_no_contract_to_break() -> None:
    breaking, changed = (risk_of("high", effect, steps=1, calls=False, **SOME) for effect in ("breaking", "changed"))
    assert breaking == changed == "medium"
    assert risk_of("high", "unknown", steps=1, calls=False, **SOME) == "critical"


def test_the_worst_of_none_is_low() -> None:
    assert worst(()) == "low"
    assert worst(("medium", "critical", "low")) == "critical"


criticalities = st.sampled_from(get_args(Criticality))
counts = st.one_of(
    st.just((None, None)),
    st.integers(0, 3 * BUSY).flatmap(lambda day: st.tuples(st.just(day), st.integers(day, 999))),
)


@given(criticalities, criticalities, st.sampled_from(get_args(Effect)), st.integers(1, 5), st.booleans(), counts)
def test_more_critical_is_never_less_risky(
    one: Criticality, other: Criticality, effect: Effect, steps: int, calls: bool, requests: tuple[Any, Any]
) -> None:
    low, high = sorted((one, other), key=get_args(Criticality).index)
    day, week = requests
    risks = [risk_of(c, effect, steps=steps, calls=calls, day=day, week=week) for c in (low, high)]
    assert RISKS.index(risks[0]) <= RISKS.index(risks[1])


@given(criticalities, st.integers(1, 5), st.booleans(), counts)
def test_nearer_is_never_less_risky_and_breaking_neither(
    criticality: Criticality, steps: int, calls: bool, requests: tuple[Any, Any]
) -> None:
    day, week = requests

    def of(effect: Effect, steps: int) -> int:
        return RISKS.index(risk_of(criticality, effect, steps=steps, calls=calls, day=day, week=week))

    for effect in get_args(Effect):
        assert of(effect, steps + 1) <= of(effect, steps)
    assert of("same", steps) <= of("changed", steps) <= of("breaking", steps) <= of("unknown", steps)
