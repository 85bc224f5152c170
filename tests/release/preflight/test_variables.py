"""Secrets, environment variables and the variables of open conversations: facts, and what is said of them."""

from collections.abc import Iterable

import pytest

from dsl.documents import node
from lastgood.dsl import Document
from lastgood.release.preflight.facts import (
    Conversations,
    Side,
    Target,
    Unknown,
)

from .small import DIFY, EMBEDDED, NEW, OLD, facts, flow, side, told, variable, verdicts

KEY = variable("API_KEY", "secret")
READS = node("call", "http-request", method="get", url="https://x.test", headers="key:{{#env.API_KEY#}}")
SECRET = flow(READS, environment_variables=[KEY])


@pytest.mark.parametrize(
    ("to", "target", "changed", "verdict", "says"),
    [
        (side(SECRET, OLD), DIFY, (), "pass", "the same as in service"),
        (side(flow(), OLD), DIFY, (), "pass", "v-20261101-01 has no secrets"),
        (
            side(flow(READS, environment_variables=[KEY]), OLD, held=frozenset()),
            EMBEDDED,
            (),
            "refuse",
            "no value here",
        ),
        (side(SECRET, OLD, held=frozenset()), DIFY, (), "warn", "dify keeps of it"),
        (side(flow(environment_variables=[KEY]), OLD, held=frozenset()), EMBEDDED, (), "warn", "no node"),
        (
            side(flow(READS, environment_variables=[KEY]), OLD),
            EMBEDDED,
            ("API_KEY",),
            "warn",
            "its older value comes back",
        ),
        (side(flow(), OLD), EMBEDDED, ("LATER",), "pass pass", "“LATER” came later"),
    ],
)
def test_secrets(to: Side, target: Target, changed: Iterable[str], verdict: str, says: str) -> None:
    now = side(flow(READS, environment_variables=[KEY]), NEW)
    given = facts(to, now, target=target, secrets_changed=frozenset(changed))
    assert verdicts("secrets", given) == verdict
    assert says in told("secrets", given)


def test_a_secret_that_only_the_older_version_has() -> None:
    given = facts(side(flow(READS, environment_variables=[KEY]), OLD), flow(), secrets_changed=frozenset({"API_KEY"}))
    assert verdicts("secrets", given) == "warn"
    assert "holds no value of the secret “API_KEY”" in told("secrets", given)


USES = node("call", "http-request", method="get", url="{{#env.BASE#}}/x")


@pytest.mark.parametrize(
    ("to", "now", "verdict", "says"),
    [
        ({}, {}, "pass", "no environment variables, like"),
        ({"A": "1"}, {"A": "1"}, "pass", "the same environment variables"),
        ({"A": "old-value"}, {"A": "new-value"}, "warn", "changed: “A”"),
        ({"A": "1"}, {"B": "1"}, "warn", "only in service: “B”; only in v-20261101-01: “A”"),
    ],
)
def test_environment_variables(to: dict[str, str], now: dict[str, str], verdict: str, says: str) -> None:
    before, after = (
        flow(environment_variables=[variable(name, "string", value) for name, value in held.items()])
        for held in (to, now)
    )
    given = facts(before, after)
    assert verdicts("environment", given) == verdict
    assert says in told("environment", given)
    assert "-value" not in told("environment", given)


def test_an_environment_variable_that_is_not_there() -> None:
    assert verdicts("environment", facts(flow(USES), flow())) == "warn"
    assert "“BASE”, which v-20261101-01 does not have" in told("environment", facts(flow(USES), flow()))
    there = flow(USES, environment_variables=[variable("BASE", "string", "https://x.test")])
    assert verdicts("environment", facts(there, there)) == "pass"


def test_a_setting_that_is_switched_off_needs_no_variable() -> None:
    vision = {"enabled": False, "configs": {"variable_selector": ["env", "PICTURE"]}}
    off, on = (node("think", "llm", vision={**vision, "enabled": enabled}) for enabled in (False, True))
    assert verdicts("environment", facts(flow(off))) == "pass"
    assert "“PICTURE”" in told("environment", facts(flow(on)))


def chat(**variables: str) -> Document:
    return flow(mode="advanced-chat", conversation_variables=[variable(n, kind) for n, kind in variables.items()])


@pytest.mark.parametrize(
    ("to", "target", "held", "verdict", "says"),
    [
        (flow(), EMBEDDED, Conversations(0), "pass", "is no chatflow"),
        (chat(a="string"), EMBEDDED, Conversations(0), "pass", "No conversation of greet is open"),
        (chat(a="string"), EMBEDDED, Conversations(5, {("a", "string"): 5}), "pass", "all 5 open conversations."),
        (chat(a="string"), EMBEDDED, Conversations(5, {}), "pass", "“a” begins with its default"),
        (
            chat(a="number"),
            EMBEDDED,
            Conversations(5, {("a", "string"): 3}),
            "warn",
            "3 of 5 open conversations hold “a” as string, and v-20261101-01 declares it as number",
        ),
        (
            chat(),
            EMBEDDED,
            Conversations(5, {("a", "string"): 1}),
            "warn",
            "1 of 5 open conversations holds “a”, which v-20261101-01 does not declare",
        ),
        (chat(a="integer"), EMBEDDED, Conversations(1, {("a", "number"): 1}), "pass", "takes the variables"),
        (chat(a="string"), EMBEDDED, Unknown("no store"), "warn", "says nothing: no store"),
        (chat(a="string"), DIFY, Conversations(0), "warn", "keeps its conversations"),
    ],
)
def test_open_conversations(
    to: Document, target: Target, held: Conversations | Unknown, verdict: str, says: str
) -> None:
    now: Side | Document = side(Unknown("odd"), NEW) if target == DIFY else to
    given = facts(to, now, target=target, conversations=held)
    assert verdicts("conversations", given) == verdict
    assert says in told("conversations", given)


@pytest.mark.parametrize(
    ("to", "now", "verdict"),
    [
        (chat(a="string"), chat(a="string"), "pass"),
        (chat(a="string"), chat(a="number"), "warn"),
        (chat(), chat(a="number"), "warn"),
        (flow(), chat(a="number"), "warn"),
    ],
)
def test_conversations_that_dify_keeps(to: Document, now: Document, verdict: str) -> None:
    assert verdicts("conversations", facts(to, now)) == verdict
