"""Documents of which graphon knows only a part: the rest is asked about all the same."""

from typing import Any

import pytest

from dsl.documents import edge, graph, node
from lastgood.dsl import Document
from lastgood.dsl.canonical import content_digest
from lastgood.release.preflight.gathering import ask_engine
from lastgood.release.preflight.standin import standin

from .small import flow, tool

KNOWN = ("start", "end", "template-transform", "code", "if-else")


def test_a_document_that_is_known_whole_stays_as_it_is() -> None:
    document = flow()
    assert standin(document, KNOWN) == (document.data, frozenset())


def test_what_is_not_known_is_replaced_and_the_document_is_not_changed() -> None:
    document = flow(tool("builtin"), node("js", "code", code_language="javascript", code="x", outputs={}))
    before = str(document.data)
    plain, replaced = standin(document, KNOWN)
    assert replaced == {"tool", "code in javascript"}
    types = [one["data"]["type"] for one in plain["workflow"]["graph"]["nodes"]]
    assert types == ["start", "template-transform", "template-transform", "end"]
    assert str(document.data) == before


def test_triggers_make_one_start() -> None:
    document = graph(
        node("hook", "trigger-webhook"),
        node("mail", "trigger-plugin"),
        node("file", "trigger-plugin"),
        node("done", "end", outputs=[]),
        edge("hook", "done"),
        edge("mail", "done"),
        edge("file", "done"),
    )
    engine = ask_engine(document, content_digest(document))
    assert engine.broken == ()
    assert engine.unseen == {"trigger-plugin"}


TEMPLATE = node("say", "template-transform", template="x", variables=[])
FAILS = tool("builtin", error_strategy="fail-branch")


@pytest.mark.parametrize(
    ("document", "foreign", "broken", "unseen"),
    [
        (flow(TEMPLATE), False, "", set()),
        (flow(TEMPLATE, tool("builtin")), True, "", {"tool"}),
        (flow(node("new", "teleport")), True, "", {"teleport"}),
        (flow(node("say", "template-transform", template=5, variables=[])), False, "not well formed", set()),
        (flow(tool("builtin"), node("say", "template-transform", variables=3)), True, "not well formed", {"tool"}),
        (graph(node("done", "end", outputs=[])), False, "0 start nodes", set()),
        (
            graph(
                node("a", "start"),
                FAILS,
                edge("a", "use"),
                edge("use", "e", sourceHandle="fail-branch"),
                node("e", "end", outputs=[]),
            ),
            True,
            "",
            {"tool"},
        ),
    ],
)
def test_what_graphon_says(document: Document, foreign: bool, broken: str, unseen: set[str]) -> None:
    engine = ask_engine(document, content_digest(document))
    assert bool(engine.foreign) == foreign
    assert bool(engine.broken) == bool(broken)
    assert broken in "; ".join(engine.broken)
    assert engine.unseen == unseen


def test_an_app_without_a_graph_is_foreign_to_it() -> None:
    data: dict[str, Any] = {"app": {"mode": "chat"}, "version": "0.6.0", "model_config": {}}
    assert ask_engine(Document(data), "").foreign
