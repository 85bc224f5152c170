"""The impact of moves in its forms: data, YAML, Markdown."""

import json
from dataclasses import replace
from typing import Any

import yaml

from lastgood.release.impact import Impact, Part
from lastgood.release.impact.dependants import Dependant, Tool
from lastgood.release.impact.impact import merged, tool_note
from lastgood.release.impact.reached import Caller, Edge
from lastgood.release.impact.touched import Touched
from lastgood.release.plan import Service

ORDERS = Service("order service", "user authentication", "high", "It calls sign-in.", "Ada")
GATEWAY = Service("API gateway", "user authentication", "high", "It depends on it.", "Bob")
PAYMENT = Service("payment gateway", "payment configuration", "critical", "It calls sign-in.", "Ada")
WEB = Caller(
    "sign-in",
    "live",
    "key-1",
    "web",
    "shop/1.2",
    120,
    800,
    "2026-11-24T03:00:00.000000Z",
    services=("order service",),
)
PART = Part(
    workflow="sign-in",
    channel="live",
    from_version="v-20261124-02",
    to_version="v-20261124-01",
    effect="breaking",
    sentence="It breaks callers: Output “x” is gone.",
    why="Output “x” is gone.",
    counted=True,
    callers=(WEB, replace(WEB, user_agent="", day=0, week=0, last_at=None, pinned=("v-20261101-01",))),
    dependants=(Dependant("wf-t", "top", 2, ("report", "top")),),
    touched=(Touched("host", "x.test", ("Ask",)), Touched("model", "gpt of openai", ("Say",), "fed", "before")),
    notes=("A note.",),
)


def whole(*services: Service, parts: tuple[Part, ...] = (PART,)) -> Impact:
    return merged(parts, services or (ORDERS, GATEWAY, PAYMENT), [Edge("web", "calls", "sign-in")] * 2)


def test_the_highest_risk_comes_first_by_service_and_by_module() -> None:
    found = whole()
    assert [one.name for one in found.services] == ["payment gateway", "API gateway", "order service"]
    assert [(one.module, one.services, one.risk, one.responsible) for one in found.modules] == [
        ("payment configuration", ("payment gateway",), "critical", ("Ada",)),
        ("user authentication", ("API gateway", "order service"), "high", ("Bob", "Ada")),
    ]
    assert [one.reason for one in found.modules] == ["It calls sign-in.", "API gateway: It depends on it."]
    assert found.risk == "critical"
    assert merged((PART,), (), ()).risk == "low"


def test_of_one_service_the_worst_way_counts() -> None:
    low, high = replace(ORDERS, risk="low", reason="far"), replace(ORDERS, risk="critical", reason="near")
    for order in ((low, ORDERS, high), (high, ORDERS, low)):
        assert [one.reason for one in whole(*order).services] == ["near"]
    assert whole(ORDERS, replace(ORDERS, reason="another of the same risk")).services == (ORDERS,)


def test_as_data_is_json_and_the_same_as_yaml() -> None:
    found = whole()
    data = found.as_data()
    assert json.loads(json.dumps(data)) == data
    assert yaml.safe_load(found.yaml()) == data
    assert data["services_affected"] == ["payment gateway", "API gateway", "order service"]
    assert data["graph"] == [{"from": "web", "relation": "calls", "to": "sign-in"}]
    assert data["services"][0] == {
        "name": "payment gateway",
        "module": "payment configuration",
        "risk": "critical",
        "reason": "It calls sign-in.",
        "responsible": "Ada",
    }
    move: dict[str, Any] = data["moves"][0]
    assert (move["from"], move["to"], move["effect"]) == ("v-20261124-02", "v-20261124-01", "breaking")
    assert [(one["requests_24h"], one["requests_7d"]) for one in move["callers"]] == [(120, 800), (0, 0)]
    assert move["dependants"][0]["through"] == ["report", "top"]
    assert [one["how"] for one in move["touches"]] == ["changed", "fed"]


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split(" | ")] for line in text.splitlines() if line.startswith("| ")]


def test_the_table_is_the_one_that_people_know() -> None:
    text = whole().markdown()
    assert text.startswith("- live of sign-in: v-20261124-02 → v-20261124-01. It breaks callers: Output “x” is gone.")
    assert "| module | affected services | risk | reason | responsible |" in text
    assert (
        "| user authentication | API gateway, order service | high | API gateway: It depends on it. | Bob, Ada |"
        in text
    )
    assert "| web | shop/1.2 | sign-in | 120 | 800 | 2026-11-24T03:00:00.000000Z | order service |" in text
    assert "| web (asks for v-20261101-01 itself) | - | sign-in | 0 | 0 | - | order service |" in text
    assert "| top | 2 | top → report |" in text
    assert "| model | gpt of openai | Say | fed by a changed node | before | - |" in text
    assert text.endswith("- A note.\n")


def test_several_moves_are_told_apart() -> None:
    text = whole(parts=(PART, replace(PART, workflow="sign-out"))).markdown()
    assert "### sign-in\n" in text and "### sign-out\n" in text


def test_nothing_affected_is_a_sentence() -> None:
    assert "No service is known to be affected." in merged((PART,), (), ()).markdown()


def test_what_clients_say_of_themselves_marks_nothing_up() -> None:
    agent = "x | y\n| # <img src=x onerror=1> [a](javascript:1) `c` *b* _i_ ~~s~~ \\| \x1b[2J"
    text = whole(parts=(replace(PART, callers=(replace(WEB, user_agent=agent),)),)).markdown()
    line = next(line for line in text.splitlines() if line.startswith("| web "))
    assert "\x1b" not in text and "<img" not in text.replace("\\<", "")
    bare = line.replace("\\\\", "")
    cells = [part for part in bare.replace("\\|", "").split("|") if part.strip()]
    assert len(cells) == 7
    assert all(bare[at - 1] == "\\" for at, c in enumerate(bare) if c in "`*_[]<>#~")


def test_a_tool_that_no_workflow_is_called_after_is_named() -> None:
    assert tool_note("report", Tool("uuid", "Tax", "tax")) == (
        "report uses the workflow tool “Tax”, which no workflow kept here is called after."
    )
    assert "“uuid”" in tool_note("report", Tool("uuid", "", ""))
