"""What changed nodes touch outside their workflow, and what those touch that hang on changed ones."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.documents import corpus, edge, graph, node
from lastgood import dsl
from lastgood.dsl import Document
from lastgood.dsl.compare import compare
from lastgood.release.impact.touched import KINDS, Touched, touched


def web(node_id: str, url: str, **more: Any) -> dict[str, Any]:
    return node(node_id, "http-request", title=node_id, method="post", url=url, **more)


def code(node_id: str, says: str = "x", **variables: list[str]) -> dict[str, Any]:
    given = [{"variable": name, "value_selector": selector} for name, selector in variables.items()]
    outputs = {"out": {"type": "string"}}
    return node(node_id, "code", title=node_id, code=says, code_language="python3", variables=given, outputs=outputs)


def llm(node_id: str, model: str = "small", says: str = "hello") -> dict[str, Any]:
    prompt = [{"role": "user", "text": says}]
    return node(node_id, "llm", title=node_id, model={"provider": "acme", "name": model}, prompt_template=prompt)


def env(name: str, value: str, kind: str = "string") -> dict[str, Any]:
    return {"id": name, "name": name, "value": value, "value_type": kind}


def chain(*nodes: dict[str, Any], **workflow: Any) -> Document:
    """start → the nodes, one after the other."""
    parts = [node("start", "start", variables=[]), *nodes]
    edges = [edge(a["id"], b["id"]) for a, b in pairwise(parts)]
    return graph(*parts, *edges, **workflow)


def seen(old: Document | None, new: Document | None, secrets: frozenset[str] = frozenset()) -> list[str]:
    difference = compare(old, new, secrets_changed=secrets) if old is not None and new is not None else None
    return [told(one) for one in touched(old, new, difference)]


def told(one: Touched) -> str:
    return f"{one.kind} {one.name} [{','.join(one.nodes)}] {one.how} {one.side}"


DB = "postgresql+psycopg://app:p%40ss/w:rd@db.internal:5432/orders?x=1"

BODY = {"type": "raw-text", "data": [{"type": "text", "value": "{{#d.out#}}"}]}

CASES: dict[str, tuple[Document | None, Document | None, list[str]]] = {
    "nothing changed": (chain(web("a", "https://x.test/1")), chain(web("a", "https://x.test/1")), []),
    "a changed request": (
        chain(web("a", "https://x.test/1")),
        chain(web("a", "https://x.test/2")),
        ["host x.test [a] changed both"],
    ),
    "another host": (
        chain(web("a", "https://x.test/1")),
        chain(web("a", "https://y.test:8443/1")),
        ["host x.test [a] changed before", "host y.test:8443 [a] changed after"],
    ),
    "a request that is gone": (
        chain(web("a", "https://x.test"), code("c")),
        chain(code("c")),
        ["host x.test [a] changed before"],
    ),
    "a request beside the change": (
        chain(code("c", "1"), web("a", "https://x.test")),
        chain(code("c", "2"), web("a", "https://x.test")),
        [],
    ),
    "a request that is given what changed": (
        chain(code("c", "1"), web("a", "https://x.test/{{#c.out#}}")),
        chain(code("c", "2"), web("a", "https://x.test/{{#c.out#}}")),
        ["host x.test [a] fed both"],
    ),
    "over a node between": (
        chain(code("c", "1"), code("d", v=["c", "out"]), web("a", "https://x.test/", body=BODY)),
        chain(code("c", "2"), code("d", v=["c", "out"]), web("a", "https://x.test/", body=BODY)),
        ["host x.test [a] fed both"],
    ),
    "changed in one, fed in the other": (
        chain(code("c", "1"), web("a", "https://x.test/{{#c.out#}}"), web("b", "https://x.test/")),
        chain(code("c", "2"), web("a", "https://x.test/{{#c.out#}}"), web("b", "https://x.test/9")),
        ["host x.test [b] changed both"],
    ),
    "another model": (
        chain(llm("m", "small")),
        chain(llm("m", "large")),
        ["model large of acme [m] changed after", "model small of acme [m] changed before"],
    ),
    "another prompt": (
        chain(llm("m"), llm("n", "other")),
        chain(llm("m", says="good day"), llm("n", "other")),
        ["model small of acme [m] changed both"],
    ),
    "a knowledge base": (
        chain(node("k", "knowledge-retrieval", title="Look", dataset_ids=["kb-1"], retrieval_mode="multiple")),
        chain(
            node("k", "knowledge-retrieval", title="Look", dataset_ids=["kb-1", "kb-2"], retrieval_mode="multiple")
        ),
        ["knowledge base kb-1 [Look] changed both", "knowledge base kb-2 [Look] changed after"],
    ),
    "a tool": (
        chain(
            node("t", "tool", title="T", provider_type="api", provider_id="p", provider_name="shop", tool_name="x")
        ),
        chain(
            node("t", "tool", title="T", provider_type="api", provider_id="p", provider_name="shop", tool_name="y")
        ),
        ["tool x of shop [T] changed before", "tool y of shop [T] changed after"],
    ),
    "a trigger": (
        graph(node("w", "trigger-webhook", title="Hook", method="get")),
        graph(node("w", "trigger-webhook", title="Hook", method="post")),
        ["trigger Hook [Hook] changed both"],
    ),
    "databases, queues and caches by their addresses": (
        chain(code("c", "1")),
        chain(code("c", f'a = "{DB}"\nb = "amqps://mq.internal/v"\nc = "REDIS://Cache.Internal:6379/0"')),
        [
            "queue mq.internal [c] changed after",
            "cache cache.internal:6379 [c] changed after",
            "database db.internal:5432 [c] changed after",
        ],
    ),
    "an address in a variable that a node reads": (
        chain(code("c", v=["env", "BUS"]), environment_variables=[env("BUS", "kafka://bus.internal:9092")]),
        chain(code("c", v=["env", "BUS"]), environment_variables=[env("BUS", "kafka://bus2.internal:9092")]),
        ["queue bus.internal:9092 [c] changed before", "queue bus2.internal:9092 [c] changed after"],
    ),
    "a host in a variable": (
        chain(web("a", "{{#env.URL#}}/v1"), environment_variables=[env("URL", "https://x.test")]),
        chain(web("a", "{{#env.URL#}}/v1"), environment_variables=[env("URL", "https://y.test")]),
        ["host x.test [a] changed before", "host y.test [a] changed after"],
    ),
    "a variable that nobody reads": (
        chain(web("a", "https://x.test"), environment_variables=[env("V", "redis://one")]),
        chain(web("a", "https://x.test"), environment_variables=[env("V", "redis://two")]),
        [],
    ),
    "a node with another id": (
        chain(web("a", "https://x.test/1"), web("b", "https://y.test")),
        chain({**web("a", "https://x.test/1"), "id": "a9"}, web("b", "https://y.test")),
        ["host x.test [a] changed both"],
    ),
    "all of a first version": (
        None,
        chain(web("a", "https://x.test"), llm("m")),
        ["host x.test [a] changed after", "model small of acme [m] changed after"],
    ),
    "all of a last one": (chain(web("a", "https://x.test")), None, ["host x.test [a] changed before"]),
    "nothing at all": (None, None, []),
}


@pytest.mark.parametrize("name", CASES)
def test_what_changed_nodes_touch(name: str) -> None:
    old, new, expected = CASES[name]
    assert seen(old, new) == expected


def test_a_branch_decides_over_all_that_comes_after() -> None:
    def document(limit: str) -> Document:
        case = {"case_id": "yes", "conditions": [{"comparison_operator": ">", "value": limit, "id": "1"}]}
        return graph(
            node("s", "start", variables=[]),
            node("i", "if-else", cases=[case]),
            code("c"),
            web("a", "https://x.test"),
            web("b", "https://y.test"),
            edge("s", "b"),
            edge("b", "i"),
            edge("i", "c", sourceHandle="yes"),
            edge("c", "a"),
        )

    assert seen(document("1"), document("2")) == ["host x.test [a] fed both"]


def test_a_request_that_is_reached_another_way_counts_as_changed() -> None:
    nodes = [node("s", "start", variables=[]), code("c"), web("a", "https://x.test")]
    old = graph(*nodes, edge("s", "c"), edge("c", "a"))
    new = graph(*nodes, edge("s", "c"), edge("s", "a"))
    assert seen(old, new) == ["host x.test [a] changed both"]


def test_what_is_written_to_a_chats_variable_reaches_its_readers() -> None:
    def document(says: str) -> Document:
        items = [{"variable_selector": ["conversation", "v"], "input_type": "variable", "value": ["c", "out"]}]
        return chain(
            web("a", "https://x.test/{{#conversation.v#}}"),
            code("c", says),
            node("w", "assigner", version="2", items=items),
            conversation_variables=[{"id": "1", "name": "v", "value": "", "value_type": "string"}],
            mode="advanced-chat",
        )

    assert seen(document("1"), document("2")) == ["host x.test [a] fed both"]


def test_a_secret_counts_by_its_name_alone() -> None:
    document = chain(
        web("a", "https://x.test", headers="Authorization: {{#env.KEY#}}"),
        web("b", "https://y.test"),
        environment_variables=[env("KEY", "", "secret")],
    )
    assert seen(document, document, frozenset({"KEY"})) == ["host x.test [a] changed both"]


def test_an_app_without_a_graph() -> None:
    def document(model: str) -> Document:
        datasets = {"datasets": {"datasets": [{"dataset": {"id": "kb-1", "enabled": True}}]}}
        config = {"model": {"provider": "acme", "name": model}, "dataset_configs": datasets}
        return Document({"app": {"mode": "chat", "name": "x"}, "kind": "app", "model_config": config})

    assert seen(document("small"), document("large")) == [
        "model large of acme [] changed after",
        "model small of acme [] changed before",
        "knowledge base kb-1 [] changed both",
    ]
    assert seen(document("small"), document("small")) == []


def test_where_nobody_knows_what_changes_all_is_told_as_such() -> None:
    found = touched(chain(web("a", "https://x.test")), None, None, certain=False)
    assert [told(one) for one in found] == ["host x.test [a] any before"]


def test_a_title_that_is_a_key_is_not_told() -> None:
    document = chain({**web("a", "https://x.test"), "data": {**web("a", "https://x.test")["data"], "title": KEY}})
    assert seen(None, document) == ["host x.test [(hidden)] changed after"]


KEY = "sk-" + "ant-" + "a1B2" * 8
PASSWORD = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\"'<>"), min_size=4)


@given(PASSWORD)
def test_no_part_of_a_password_is_told(password: str) -> None:
    secret = f"~{password}~"
    document = chain(code("c", f"url = 'mysql://app:{secret}@db.internal:3306/x'"))
    found = touched(None, document, None)
    assert [(one.kind, one.name) for one in found] == [("database", "db.internal:3306")]


def test_real_documents_can_all_be_told() -> None:
    before: Document | None = None
    for file in corpus():
        document = dsl.parse(file.read_bytes(), source=file.name)
        assert touched(document, document, compare(document, document)) == ()
        whole = touched(None, document, None)
        assert all(one.name and one.kind in KINDS and one.side == "after" for one in whole), file.name
        names = {(one.kind, one.name) for one in whole}
        if before is not None:
            found = touched(before, document, compare(before, document))
            assert {(one.kind, one.name) for one in found if one.side == "after"} <= names, file.name
        before = document
