"""The format, the node types and the graph engine: facts, and what is said of them."""

from dataclasses import replace

import pytest

from dsl.documents import edge, graph, node
from lastgood.dsl import Document
from lastgood.release.preflight.facts import (
    Engine,
    Target,
    Unknown,
)

from .small import DIFY, EMBEDDED, facts, flow, told, tool, verdicts

SEARCH = tool("builtin", provider_id="langgenius/tavily/tavily", provider_name="tavily", tool_name="search")


@pytest.mark.parametrize(
    ("to", "now", "target", "verdict", "says"),
    [
        ("0.6.0", "0.6.0", DIFY, "pass", "without a question"),
        ("0.6.1", "0.6.0", DIFY, "warn", "newer format"),
        ("0.5.0", "0.6.0", DIFY, "warn", "takes the older one as it is"),
        ("0.6.0", "0.6.2", DIFY, "pass", "without a question"),
        ("0.6.0", "1.0.0", DIFY, "warn", "older major"),
        ("0.6.0", None, DIFY, "warn", "is not known"),
        (None, "0.6.0", DIFY, "pass", "states no format version"),
        ("six", "0.6.0", DIFY, "warn", "which is none"),
        ("0.1.0", "0.6.0", EMBEDDED, "pass", "the embedded engine reads"),
        ("0.9.0", "0.6.0", EMBEDDED, "warn", "the newest that this release has read is 0.7.0"),
    ],
)
def test_the_format(to: str | None, now: str | None, target: Target, verdict: str, says: str) -> None:
    given = facts(flow(version=to), flow(version=now), target=target)
    assert verdicts("dsl-version", given) == verdict
    assert says in told("dsl-version", given)


TELLS = replace(DIFY, types=frozenset({"start", "end", "llm", "jump"}))
HOOK = graph(node("hook", "trigger-webhook"), node("done", "end", outputs=[]), edge("hook", "done"))


@pytest.mark.parametrize(
    ("to", "now", "target", "engine", "verdict", "says"),
    [
        (flow(), flow(), DIFY, Engine(), "pass", "is one that Dify has"),
        (flow(node("new", "teleport")), flow(), DIFY, Engine(), "warn", "“teleport”, which Dify is not known"),
        (flow(node("new", "teleport")), None, DIFY, Engine(), "pass", "is one that Dify has"),
        (HOOK, flow(), DIFY, Engine(), "warn", "“trigger-webhook (Dify 1.10)”"),
        (HOOK, HOOK, DIFY, Engine(), "pass", "is one that Dify has"),
        (flow(), flow(), DIFY, Engine(), "pass", "as to dify, it cannot be asked for its own list."),
        (flow(), flow(), TELLS, Engine(), "pass", "dify says that it knows every node type of"),
        (flow(node("new", "teleport")), None, TELLS, Engine(), "pass", "says that it knows every"),
        (flow(node("new", "teleport")), flow(), TELLS, Engine(), "refuse", "does not know the node types “teleport”"),
        (flow(node("new", "jump")), flow(), TELLS, Engine(), "pass", "says that it knows every"),
        (HOOK, flow(), TELLS, Engine(), "warn", "does not list the node types “trigger-webhook”"),
        (flow(), flow(), EMBEDDED, Engine(), "pass", "knows every node"),
        (flow(), flow(), EMBEDDED, Engine(foreign=("a tool",)), "refuse", "cannot run v-20261101-01: a tool."),
        (flow(), flow(), EMBEDDED, Unknown("graphon is missing"), "warn", "says nothing: graphon is missing"),
    ],
)
def test_the_nodes(
    to: Document, now: Document | None, target: Target, engine: Engine | Unknown, verdict: str, says: str
) -> None:
    given = facts(to, now, target=target, engine=engine)
    assert verdicts("nodes", given) == verdict
    assert says in told("nodes", given)


def test_a_node_that_no_run_reaches_is_nobodys_concern() -> None:
    lonely = Document({**flow().data})
    lonely.data["workflow"]["graph"]["nodes"].append(node("alone", "teleport"))
    lonely.data["workflow"]["graph"]["nodes"].append(node("alone-too", "tool", **SEARCH["data"]))
    assert verdicts("nodes", facts(lonely, flow())) == "pass"
    assert verdicts("tools", facts(lonely, flow(), target=EMBEDDED)) == "pass"


PLAIN = Document({"app": {"mode": "chat"}, "version": "0.6.0", "model_config": {"model": {"name": "m"}}})
PIPELINE = Document({**flow().data, "rag_pipeline": {"name": "p"}})


@pytest.mark.parametrize(
    ("to", "target", "engine", "verdict", "says"),
    [
        (flow(), DIFY, Engine(), "pass", "Dify's graph engine loads v-20261101-01."),
        (flow(), DIFY, Engine(unseen=frozenset({"tool"})), "pass", "“tool” were not looked at"),
        (flow(), DIFY, Engine(broken=("no start",)), "warn", "does not load v-20261101-01: no start."),
        (flow(), EMBEDDED, Engine(broken=("no start",)), "refuse", "no start"),
        (flow(), DIFY, Engine(broken=tuple("abcdefg")), "warn", "e; and 2 more"),
        (flow(), DIFY, Unknown("graphon is missing"), "warn", "is not known: graphon is missing"),
        (PLAIN, DIFY, Unknown("graphon is missing"), "pass", "no graph to load"),
        (PLAIN, EMBEDDED, Engine(), "refuse", "a chat app, which the embedded engine does not run"),
        (PIPELINE, DIFY, Engine(), "warn", "is not asked about"),
    ],
)
def test_loading(to: Document, target: Target, engine: Engine | Unknown, verdict: str, says: str) -> None:
    given = facts(to, target=target, engine=engine)
    assert verdicts("engine", given) == verdict
    assert says in told("engine", given)
