"""What a version needs on its target and around it: facts, and what is said of them."""

from dataclasses import replace

import pytest

from dsl.documents import node
from lastgood.dsl import Document
from lastgood.release.preflight.facts import (
    Inventory,
    Service,
    Target,
)

from .small import DIFY, EMBEDDED, facts, flow, told, tool, verdicts

LLM = node("think", "llm", model={"provider": "langgenius/openai/openai", "name": "gpt-4o", "mode": "chat"})
ASK = node("ask", "knowledge-retrieval", dataset_ids=["0b5c2f6e-0000-4000-8000-000000000001"])
SEARCH = tool("builtin", provider_id="langgenius/tavily/tavily", provider_name="tavily", tool_name="search")


KNOWN = Target(
    "dify",
    embedded=False,
    inventory=Inventory(
        {"models": frozenset({"gpt-4o of langgenius/openai/openai"}), "tools": frozenset({"x of y"})}
    ),
)


@pytest.mark.parametrize(
    ("check", "to", "now", "target", "verdict", "says"),
    [
        ("plugins", flow(), flow(), DIFY, "pass", "needs no plugins"),
        ("plugins", flow(LLM), flow(LLM), DIFY, "pass", "needs every plugin of v-20261101-01 too"),
        ("plugins", flow(LLM), flow(), DIFY, "warn", "“langgenius/openai”, and v-20261102-01"),
        ("plugins", flow(), flow(LLM), DIFY, "pass", "needs no plugins"),
        ("plugins", flow(LLM), flow(), EMBEDDED, "pass", "1 plugin; the embedded engine does without them"),
        ("models", flow(LLM), flow(), DIFY, "warn", "look whether dify still has it"),
        ("models", flow(LLM), flow(), EMBEDDED, "warn", "“gpt-4o of langgenius/openai/openai”"),
        ("models", flow(LLM), flow(), KNOWN, "pass", "dify has 1 model"),
        ("tools", flow(SEARCH), flow(), KNOWN, "refuse", "does not have the tool “search of tavily”"),
        ("knowledge-bases", flow(ASK), flow(), DIFY, "warn", "0b5c2f6e-0000-4000-8000-000000000001"),
        ("knowledge-bases", flow(ASK), flow(ASK), DIFY, "pass", "every knowledge base"),
        ("knowledge-bases", flow(ASK), flow(), EMBEDDED, "refuse", "does not have the knowledge base"),
        ("tools", flow(SEARCH), flow(), DIFY, "warn", "“search of tavily”"),
        ("tools", flow(SEARCH), flow(), EMBEDDED, "refuse", "“search of tavily”"),
        ("tools", flow(tool("workflow")), flow(), DIFY, "pass", "needs no tools"),
    ],
)
def test_the_needs(check: str, to: Document, now: Document, target: Target, verdict: str, says: str) -> None:
    given = facts(to, now, target=target)
    assert verdicts(check, given) == verdict
    assert says in told(check, given)


def test_what_is_needed_when_nothing_is_in_service() -> None:
    given = replace(facts(flow(LLM)), now=None, pointed=None)
    assert verdicts("models", given) == "warn"
    assert "What dify has is not known" in told("models", given)


def _with(version: str) -> Document:
    pinned = f"langgenius/openai:{version}@abc"
    value = {"marketplace_plugin_unique_identifier": pinned, "version": None}
    return Document({**flow(LLM).data, "dependencies": [{"type": "marketplace", "value": value}]})


@pytest.mark.parametrize(
    ("to", "now", "verdict"),
    [("0.1.0", "0.1.0", "pass"), ("0.1.0", "0.2.0", "pass warn")],
)
def test_the_versions_of_plugins(to: str, now: str, verdict: str) -> None:
    given = facts(_with(to), _with(now))
    assert verdicts("plugins", given) == verdict
    assert ("langgenius/openai 0.1.0 (in service: 0.2.0)" in told("plugins", given)) == (to != now)


@pytest.mark.parametrize(
    ("range_", "version", "asked", "verdict", "says"),
    [
        (">=7,<8", "7.2.4", True, "pass", "answers with version 7.2.4, within >=7,<8"),
        (">=7,<8", "7.2.4", False, "pass", "is declared with version 7.2.4"),
        (">=7,<8", "8.0", True, "refuse", "outside >=7,<8"),
        (">=7,<8", "", True, "warn", "is unknown: no route. It must be >=7,<8."),
        ("", "7", True, "pass", "no range is declared"),
        ("seven", "7", True, "warn", "not PEP 440"),
        (">=8", "8.0.36-0ubuntu0.22.04.1", True, "pass", "version 8.0.36"),
        (">=16", "16.2 (Debian 16.2-1)", True, "pass", "version 16.2"),
        (">=10,<11", "10.11.6-MariaDB-1:10.11.6", True, "pass", "version 10.11.6"),
        (">=17", "17rc1", True, "refuse", "17rc1"),
        (">=16", "17rc1", True, "pass", "17rc1"),
        (">=7", "who knows", True, "warn", "which is no version"),
    ],
)
def test_middleware(range_: str, version: str, asked: bool, verdict: str, says: str) -> None:
    service = Service("cache", range_, version, "" if version else "no route", asked)
    given = facts(services=(service,))
    assert verdicts("middleware", given) == verdict
    assert says in told("middleware", given)


def test_each_piece_of_middleware_is_told_apart() -> None:
    services = (Service("cache", ">=7", "7"), Service("queue", ">=3", "2"))
    assert verdicts("middleware", facts(services=services)) == "pass refuse"
    assert "No middleware is declared for greet" in told("middleware", facts(services=()))
