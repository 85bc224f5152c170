"""What is refused, as which error, and that the message says where."""

import sys
from collections.abc import Callable

import pytest

from lastgood.dsl import Limits, parse
from lastgood.errors import (
    DocumentTooLarge,
    DuplicateKey,
    InvalidDocument,
    InvalidValue,
    NotADocument,
    NotJson,
    NotYaml,
    UnsafeYaml,
)

LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))
STAIRS = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 150))
LONG = "a: &a " + "x" * 1_000_000 + "\nb: [" + ", ".join(["*a"] * 100) + "]\n"
NODES = "app: {mode: workflow}\nworkflow:\n  graph:\n    nodes:\n" + "    - {id: a}\n" * 10_001
BLOCK = "\n".join(" " * level + "a:" for level in range(200))
TWICE = "line {}: the key {!r} stands twice in one mapping (first on line {})"

CASES = [
    # nothing, or not one mapping
    ("empty", b"", NotADocument, "it is empty"),
    ("only a comment", b"# later\n", NotADocument, "it is empty"),
    ("text", b"hello\n", NotADocument, "it is text, not a mapping"),
    ("a list", b"- a\n- b\n", NotADocument, "it is a list, not a mapping"),
    ("null", b"null", NotADocument, "it is `null`, not a mapping"),
    ("several documents", b"a: 1\n---\nb: 2\n", NotADocument, "line 2"),
    # not text
    ("UTF-16", "app: {}".encode("utf-16"), NotYaml, "line 1, column 1: this is not YAML (it is UTF-16"),
    ("not UTF-8", b"app:\n  name: \xe9\n", NotYaml, "line 2, column 9"),
    ("not UTF-8 behind a mark", b"\xef\xbb\xbfapp:\n  name: \xe9\n", NotYaml, "line 2, column 9"),
    ("a NUL byte", b"app:\n  name: a\0b\n", NotYaml, "line 2, column 10"),
    ("half a surrogate pair", "app: \ud83d", NotYaml, "line 1, column 6"),
    ("a control character", "app:\n  name: \x01\n", NotYaml, "line 2, column 9"),
    # not YAML
    ("an open list", "app: [1, 2\n", NotYaml, "line 2"),
    ("a tab", "app:\n\tname: x\n", NotYaml, "line 2, column 1"),
    ("an unknown alias", "app:\n  name: *x\n", NotYaml, "line 2, column 9"),
    ("an anchor twice", "a: &x 1\nb: &x 2\n", NotYaml, "line 2, column 4"),
    ("an unknown directive", "%FOO\n---\na: 1\n", NotYaml, "line 1"),
    # tags and aliases
    ("a Python tag", "a: 1\nb: !!python/object/apply:os.system [ls]\n", UnsafeYaml, "line 2: the tag !!python/"),
    ("a Python tag on a scalar", "a: !!python/name:os.system\n", UnsafeYaml, "line 1: the tag !!python/name"),
    ("a Python tag on a mapping", "a: !!python/dict {b: 1}\n", UnsafeYaml, "line 1: the tag !!python/dict"),
    ("a tag of one's own", "a: 1\nb: !vault x\n", UnsafeYaml, "line 2: the tag !vault"),
    ("bytes", "a: !!binary aGk=\n", UnsafeYaml, "line 1: the tag !!binary"),
    ("a set", "a: !!set {x, y}\n", UnsafeYaml, "line 1: the tag !!set"),
    ("a tag that does not fit", "a: !!int x\n", UnsafeYaml, "line 1: the tag !!int"),
    ("an alias in its own list", "a: 1\nb: &x [*x]\n", UnsafeYaml, "line 2: the alias *x is part of itself"),
    ("an alias in its own mapping", "b: &x {y: *x}\n", UnsafeYaml, "line 1: the alias *x"),
    # keys
    ("a key twice", "app: 1\nb: 2\napp: 3\n", DuplicateKey, TWICE.format(3, "app", 1)),
    ("a key twice on a line", "a: {x: 1, y: 2, x: 3}\n", DuplicateKey, "line 1: the key 'x'"),
    ("a number and its text", '1: a\n"1": b\n', DuplicateKey, "line 2: the key '1'"),
    ("two merges", "a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n", DuplicateKey, "line 4: the key '<<'"),
    ("a mapping as a key", "a: 1\n? {b: 1}\n: 2\n", InvalidValue, "line 2: a mapping or list is used as a key"),
    ("a merge of text", "a:\n  <<: x\n", InvalidValue, "line 2: `<<` merges mappings only"),
    ("a merge of texts", "a:\n  <<: [x]\n", InvalidValue, "line 2: `<<` merges mappings only"),
    # numbers
    ("not a number", "a: 1\nb: .nan\n", InvalidValue, "line 2: not-a-number"),
    ("infinity", "a: 1\nb: -.inf\n", InvalidValue, "line 2: not-a-number"),
    ("too large a float", "a: 1.0e+999\n", InvalidValue, "line 1: not-a-number"),
    ("65 bits", f"a: {2**64}\n", InvalidValue, "line 1: the number has more than 64 bits"),
    ("65 bits, negative", f"a: {-(2**63) - 1}\n", InvalidValue, "line 1: the number has more than 64 bits"),
    ("a million digits", "a: " + "7" * 1_000_000, InvalidValue, "line 1"),
    ("a million hexadecimal digits", "a: 0x" + "f" * 1_000_000, InvalidValue, "line 1"),
    ("a million parts of base sixty", "a: 1" + ":1" * 500_000, InvalidValue, "line 1"),
    ("a float of base sixty, too large", "a: " + "1:1" * 1_000 + ".5", InvalidValue, "line 1"),
    # size
    ("50 MB of bytes", b"a" * (50 * 2**20), DocumentTooLarge, "the size is 52,428,800 bytes"),
    ("18 MB of text", "é" * (9 * 2**20), DocumentTooLarge, "the size is 18,874,368 bytes"),
    ("10,001 nodes", NODES, DocumentTooLarge, "the number of nodes (workflow.graph.nodes) is 10,001"),
    ("200 levels in block style", BLOCK, DocumentTooLarge, "line 101"),
    ("200 levels of lists", "a: " + "[" * 200 + "]" * 200, DocumentTooLarge, "line 1 is 101 levels"),
    ("200 levels of mappings", "{a: " * 200 + "1" + "}" * 200, DocumentTooLarge, "line 1 is 101 levels"),
    ("a million open brackets", "[" * 1_000_000, DocumentTooLarge, "line 1 is 101 levels"),
    ("a million dashes", "- " * 1_000_000, DocumentTooLarge, "line 1 is 101 levels"),
    ("billion laughs", LAUGHS, DocumentTooLarge, "the number of values (up to line"),
    ("a text repeated", LONG, DocumentTooLarge, "the size with its aliases written out (up to line 2)"),
    ("levels by aliases", STAIRS, DocumentTooLarge, "line 100 is 101 levels"),
    ("20,000 aliases", "a: &a 1\nb: [" + "*a, " * 20_000 + "]", DocumentTooLarge, "aliases (up to line 2)"),
    ("a million directives", "#\n" + "%TAG !a! x\n" * 900_000 + "--- a", UnsafeYaml, "line 2: there are too many"),
    # JSON
    ("JSON cut short", '{"app": {\n"mode": ', NotJson, "line 2"),
    ("JSON of quotes", '{"a":' + '"\\' * 4_000_000, NotJson, "line 1"),
    ("JSON with more behind it", '{"app": {}}\n{}', NotJson, "line 2, column 1"),
    ("JSON with NaN", '{"app":\n NaN}', NotJson, "line 2, column 2"),
    ("JSON beyond a float", '{"app":\n 1e999}', NotJson, "line 2, column 2"),
    ("JSON with half a surrogate pair", '{"app": "\\ud83d"}', NotJson, "line 1"),
    ("JSON with a key twice", '{"app": {"a": 1,\n"b": [{"a": 2}],\n"a": 3}}', DuplicateKey, TWICE.format(3, "a", 1)),
    ("JSON with a key twice, escaped", '{"a": 1,\n "\\u0061": 2}', DuplicateKey, "line 2: the key 'a'"),
    ("JSON with 65 bits", f'{{"a":\n {2**64}}}', InvalidValue, "line 2: the number has more than 64 bits"),
    ("JSON with -65 bits", f'{{"a":\n {-(2**63) - 1}}}', InvalidValue, "line 2: the number has more than 64 bits"),
    ("JSON of 200 levels", '{"a":\n' + "[" * 200 + "]" * 200 + "}", DocumentTooLarge, "line 2 is 101 levels"),
    ("JSON of a million levels", '{"a":\n' + "[" * 1_000_000, DocumentTooLarge, "line 2 is 1,025 levels"),
    ("JSON with a million values", '{"a": [' + "1," * 1_000_001 + "1]}", DocumentTooLarge, "the number of values"),
    # shapes
    ("no app, no workflow", "a: 1\nb: 2\n", NotADocument, "it has neither `app` nor `workflow` (it has `a`, `b`)"),
    ("a workflow that is a list", "workflow: []\n", NotADocument, "`workflow` is a list, not a mapping"),
    ("nodes that are a mapping", "workflow: {graph: {nodes: {}}}\n", NotADocument, "graph.nodes` is a mapping"),
    ("features that are text", "workflow: {graph: {}, features: x}\n", NotADocument, "`workflow.features` is text"),
    ("a workflow without a graph", "app: {mode: workflow}\n", NotADocument, "`workflow.graph` is missing"),
    ("a chatflow without a graph", "app: {mode: advanced-chat}\n", NotADocument, "mode is advanced-chat"),
    ("an app that was never published", '{"id": null, "graph": null}', NotADocument, "its `graph` is null"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "error", "says"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_refused(data: bytes | str, error: type[InvalidDocument], says: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        parse(data, source="flow.yml")
    assert type(caught.value) is error
    message = str(caught.value)
    assert message.startswith("flow.yml")
    assert says in message
    assert len(message) < 500


@pytest.mark.parametrize("data", ["[" * 100_000, "- " * 100_000, "{a: " * 100_000, '{"a":' * 100_000])
def test_depth_is_refused_without_recursion(data: str) -> None:
    """Also with next to no stack left."""

    def deeper(levels: int, then: Callable[[], object]) -> object:
        return then() if levels == 0 else deeper(levels - 1, then)

    frames = 0
    frame = sys._getframe()
    while frame.f_back is not None:
        frames, frame = frames + 1, frame.f_back
    room = sys.getrecursionlimit() - frames - 40
    with pytest.raises(DocumentTooLarge, match="depth of nesting"):
        deeper(room, lambda: parse(data))


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (Limits(bytes=150), "size"),
        (Limits(nodes=2), "number of nodes"),
        (Limits(depth=4), "depth of nesting"),
        (Limits(values=20), "number of values"),
    ],
)
@pytest.mark.parametrize("form", ["yaml", "json"])
def test_limits_can_be_set(limits: Limits, what: str, form: str) -> None:
    text = {
        "yaml": "app: {mode: workflow}\nworkflow:\n  graph:\n    nodes: ["
        + "{id: a, data: {type: start}}, " * 5
        + "]\n",
        "json": '{"app": {"mode": "workflow"}, "workflow": {"graph": {"nodes": ['
        + ", ".join(['{"id": "a", "data": {"type": "start"}}'] * 5)
        + "]}}}",
    }[form]
    assert len(parse(text).nodes) == 5
    with pytest.raises(DocumentTooLarge, match=what):
        parse(text, limits=limits)


@pytest.mark.parametrize("number", ["98765432109876543210987", "1.7e+400", "9" * 5000])
def test_a_refusal_does_not_show_the_value(number: str) -> None:
    text = f"workflow:\n  environment_variables:\n  - {{value_type: secret, name: KEY, value: {number}}}\n"
    as_json = f'{{"workflow": {{"environment_variables": [{{"value": {number}}}]}}}}'
    for data in (text.replace("1.7e+400", "1.7e+4000"), as_json):
        with pytest.raises(InvalidDocument) as caught:
            parse(data)
        assert number[:12] not in str(caught.value)
