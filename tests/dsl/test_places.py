"""Where in a text the parts of a document stand."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given

from dsl.compare.test_properties import DOCUMENTS
from dsl.documents import corpus
from lastgood.dsl import Document, Limits, parse, to_yaml
from lastgood.dsl.places import parse_with_places
from lastgood.errors import DocumentTooLarge, InvalidDocument, UnsafeYaml

EXPORT = """\
# a comment
kind: app
app: {mode: workflow,
  name: x}

workflow:
  environment_variables: []
  graph:
    edges: []
    nodes:
    - &base
      id: a
      data:
        type: start
        "title": Start
    - id: b
      data: {type: code, title: C,
             outputs: {out: {type: string}}}
    - id: c
      data:
        <<: &shared {type: end, title: E}
        code: |
          first
          second
        outputs:
        - one
        - - two
    - *base
"""
ROW = """{
  "id": "1",
  "graph": {
    "edges": [],
    "nodes": [
      {"id": "a",
       "data": {"type": "start",
                "title": "say \\"{[:,]}\\" \\ud83d\\ude00"}},
      {"id": "b"}
    ]
  }
}
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", 2),
        ("app", 3),
        ("app.mode", 3),
        ("app.name", 4),
        ("workflow", 6),
        ("workflow.environment_variables", 7),
        ("workflow.environment_variables[0]", 7),
        ("workflow.graph.nodes", 10),
        ("workflow.graph.nodes[0]", 11),
        ("workflow.graph.nodes[0].id", 12),
        ("workflow.graph.nodes[0].data.title", 15),
        ("workflow.graph.nodes[0].data.desc", 13),
        ("workflow.graph.nodes[1].data.outputs.out.type", 18),
        ("workflow.graph.nodes[2].data.code", 22),
        ("workflow.graph.nodes[2].data.outputs[0]", 26),
        ("workflow.graph.nodes[2].data.outputs[1][0]", 27),
        ("workflow.graph.nodes[2].data.type", 20),
        ("workflow.graph.nodes[3].data.title", 28),
        ("workflow.graph.nodes[4].data", 10),
        ("no.such[3].path", 2),
    ],
)
def test_lines_of_yaml(path: str, line: int) -> None:
    assert parse_with_places(EXPORT)[1].line(path) == line


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("workflow.graph.edges", 4),
        ("workflow.graph.nodes[0]", 6),
        ("workflow.graph.nodes[0].data.type", 7),
        ("workflow.graph.nodes[0].data.title", 8),
        ("workflow.graph.nodes[1].id", 9),
        ("app.mode", 1),
    ],
)
def test_lines_of_a_workflow_as_the_api_gives_it(path: str, line: int) -> None:
    assert parse_with_places(ROW)[1].line(path) == line


def test_lines_of_a_document_in_an_answer() -> None:
    inner = {"app": {"mode": "workflow"}, "workflow": {"graph": {"nodes": [{"id": "a"}], "edges": []}}}
    text = json.dumps({"id": "v-1", "document": inner}, indent=1)
    places = parse_with_places(text)[1]
    at = text.splitlines().index('      "id": "a"') + 1
    assert places.line("workflow.graph.nodes[0].id") == at


def test_aliases_are_not_written_out() -> None:
    limits = Limits(aliases=50)
    bomb = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 20)]
    text = "\n".join([*bomb, "app: {mode: workflow}", "workflow: {graph: {nodes: [], edges: []}}"])
    with pytest.raises(DocumentTooLarge):
        parse_with_places(text, limits=limits)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("app: !!python/object/apply:os.system ['true']", UnsafeYaml),
        ("app: &a {b: *a}", UnsafeYaml),
        ("app: {mode: workflow", InvalidDocument),
        ("[" * 200, InvalidDocument),
        ('{"app": ' + "[" * 200 + "]" * 200 + "}", DocumentTooLarge),
    ],
)
def test_what_parse_refuses_has_no_places(text: str, error: type[InvalidDocument]) -> None:
    with pytest.raises(error):
        parse_with_places(text)


@given(DOCUMENTS)
def test_everything_stands_where_its_key_does(document: Document) -> None:
    sound = {"app": {"mode": "workflow"}, "workflow": {"graph": {"nodes": [], "edges": []}}, "more": document.data}
    for text in (to_yaml(Document(sound)), json.dumps(sound, indent=1, ensure_ascii=False)):
        stand(text)


def test_everything_of_real_documents_stands_where_its_key_does() -> None:
    for file in corpus():
        text = file.read_text(encoding="utf-8-sig")
        if not re.search(r"(?m)^ *(?:- )*[\w-]+: [&*]\w", text):
            stand(text)


def stand(text: str) -> None:
    """Every key of the document that `text` is must be in the line that it is said to be in."""
    document, places = parse_with_places(text)
    assert document == parse(text)
    rows = re.split("\r\n|[\n\r\x85\u2028\u2029]" if not text.startswith("{") else "\n", text)
    for path, key in _keys(document.data, ""):
        line = places.line(path)
        assert 1 <= line <= len(rows)
        if key.isidentifier() and key.isascii():
            assert key in rows[line - 1], path


def _keys(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The paths of everything that stands under keys which a path can name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if re.fullmatch(r"[^.\[\]]+", key):
                at = f"{path}.{key}" if path else key
                yield at, key
                yield from _keys(inner, at)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _keys(inner, f"{path}[{index}]")
