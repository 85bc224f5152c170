"""Each check as a table of cases: facts, and what is said of them."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from dsl.documents import corpus, edge, graph, node
from lastgood import dsl
from lastgood.dsl import Document
from lastgood.errors import LastgoodError
from lastgood.release.preflight.examination import CHECKS, judge
from lastgood.release.preflight.facts import (
    Answer,
    Conversations,
    Engine,
    Evidence,
    Facts,
    Inventory,
    Service,
    Side,
    Target,
    Unknown,
)

from .small import DIFY, EMBEDDED, NEW, OLD, facts, flow, found, side, told, tool, variable, verdicts

LLM = node("think", "llm", model={"provider": "langgenius/openai/openai", "name": "gpt-4o", "mode": "chat"})
ASK = node("ask", "knowledge-retrieval", dataset_ids=["0b5c2f6e-0000-4000-8000-000000000001"])
SEARCH = tool("builtin", provider_id="langgenius/tavily/tavily", provider_name="tavily", tool_name="search")


@pytest.mark.parametrize(
    ("state", "force", "pointed", "verdict", "says"),
    [
        ("stable", False, NEW, "pass", "is stable (smoke requests passed)"),
        ("candidate", False, NEW, "warn", "is not proven; named by you"),
        ("failed", False, NEW, "refuse", "rollback:force"),
        ("failed", True, NEW, "warn", "gone to by force"),
        ("stable", False, OLD, "refuse", "points to v-20261101-01 already"),
        ("stable", True, OLD, "refuse", "Name another version"),
        ("stable", False, None, "pass", "is stable"),
    ],
)
def test_the_state(state: str, force: bool, pointed: str | None, verdict: str, says: str) -> None:
    to = side(flow(), OLD, state=state, why="smoke requests passed")
    given = facts(to, force=force, pointed=pointed)
    assert verdicts("state", given) == verdict
    assert says in told("state", given)


@pytest.mark.parametrize(
    ("to", "now", "verdict", "says"),
    [
        (side(flow(), OLD), side(flow(), NEW), "pass", "can be read."),
        (side(flow(), OLD, archived=True), side(flow(), NEW), "pass", "from the archive"),
        (side(Unknown("it differs"), OLD, damaged=True), side(flow(), NEW), "refuse", "damaged: it differs"),
        (side(Unknown("odd"), OLD), side(flow(), NEW), "warn", "says nothing: odd"),
        (side(flow(), OLD), side(Unknown("odd"), NEW), "warn pass", "nothing can be compared"),
    ],
)
def test_the_content(to: Side, now: Side, verdict: str, says: str) -> None:
    assert verdicts("content", facts(to, now)) == verdict
    assert says in told("content", facts(to, now))


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


HOOK = graph(node("hook", "trigger-webhook"), node("done", "end", outputs=[]), edge("hook", "done"))


@pytest.mark.parametrize(
    ("to", "now", "target", "engine", "verdict", "says"),
    [
        (flow(), flow(), DIFY, Engine(), "pass", "is one that Dify has"),
        (flow(node("new", "teleport")), flow(), DIFY, Engine(), "warn", "“teleport”, which Dify is not known"),
        (flow(node("new", "teleport")), None, DIFY, Engine(), "pass", "is one that Dify has"),
        (HOOK, flow(), DIFY, Engine(), "warn", "“trigger-webhook (Dify 1.10)”"),
        (HOOK, HOOK, DIFY, Engine(), "pass", "is one that Dify has"),
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


@pytest.mark.parametrize(
    ("kept", "verdict", "says"),
    [
        (Evidence(), "pass", "No evidence is kept"),
        (
            Evidence({"smoke": 3, "mark": 1}),
            "pass",
            "stays with them, whatever v-20261101-01 can read of it: 1 mark, 3 smoke",
        ),
        (Evidence(smokes={"s1": ({"text": "string"}, frozenset({"said"}))}), "pass", ""),
        (
            Evidence(smokes={"s1": ({}, frozenset({"vat"}))}),
            "pass warn",
            "it looks at “vat”, which v-20261101-01 does not",
        ),
        (Evidence(smokes={"s1": ({"text": "object"}, frozenset())}), "pass warn", "must be a string"),
        (Unknown("odd"), "warn", "odd"),
    ],
)
def test_evidence(kept: Evidence | Unknown, verdict: str, says: str) -> None:
    given = facts(flow(outputs=("said",)), evidence=kept)
    assert verdicts("evidence", given) == verdict
    assert says in told("evidence", given)


def test_every_check_says_something_and_where() -> None:
    findings = judge(facts())
    assert {one.check for one in findings} == set(CHECKS)
    assert {one.subject.split()[0] for one in findings} == {"greet/live"}
    assert {one.verdict for one in findings} == {"pass"}


def test_no_check_says_nothing_of_a_version_that_cannot_be_read() -> None:
    unread = side(Unknown("odd"), OLD)
    for target in (DIFY, EMBEDDED):
        given = facts(unread, target=target, engine=Unknown("odd"), calls=Unknown("odd"))
        silent = {"state", "middleware", "workflow-tools"}  # they do not go by the content
        assert {name for name in CHECKS if verdicts(name, given).split()[-1] == "pass"} == silent


def _fails(given: Facts) -> Iterable[Answer]:
    yield Answer("pass", "So far so good.")
    raise KeyError("a value that nobody may see")


def _silent(given: Facts) -> Iterable[Answer]:
    return ()


@pytest.mark.parametrize(("check", "words"), [(_fails, "(KeyError)"), (_silent, "it gave no answer")])
def test_a_check_that_fails_of_itself_warns(check: Any, words: str) -> None:
    findings = judge(facts(), {"mine": check, "state": CHECKS["state"]})
    assert findings[-1].check == "state"
    warned = [one for one in findings if one.verdict == "warn"]
    assert [one.check for one in warned] == ["mine"]
    assert words in warned[0].sentence
    assert "nobody may see" not in warned[0].sentence


def test_what_is_told_stands_on_one_line() -> None:
    given = facts(engine=Engine(broken=("one\nline",)))
    assert found("engine", given)[0][1].count("\n") == 0


def test_real_documents_are_judged_by_every_check() -> None:
    judged = 0
    for path in corpus():
        try:
            document = dsl.parse(path.read_bytes())
        except LastgoodError:
            continue
        findings = judge(facts(document, target=DIFY))
        assert not [one for one in findings if one.subject.endswith("unknown")], path.name
        judged += 1
    assert judged > 100
