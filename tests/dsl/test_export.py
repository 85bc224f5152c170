"""What is written is what is read again, here and in Dify."""

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.dsl import (
    Document,
    canonical,
    content_digest,
    export,
    parse,
    semantic_digest,
    to_json,
    to_yaml,
    yamltext,
)

from .documents import straight

TRICKY = [
    *["yes", "No", "on", "true", "null", "~", "", "12", "012", "0x1f", "1_000", "1:30", "1e5", "1.0", ".5", "-1"],
    *[".nan", "2024-01-02", "2024-01-02 03:04:05", "0.6", "=", "<<", "-", "- a", "a: b", "a:", "#x", "a #b", "? a"],
    *["...", "---", "--- a", "{a}", "[a]", "&a", "*a", "!a", "%a", "@a", "`a", "'", '"', "|", "> a", " a", "a "],
    *["  a\n b", "\n", "\n\n", " \n ", "a\nb\n", "a\r\nb", "\r", "\ta", "a\t", "\x00", "\x07", "\x7f", "\x85"],
    *["\u2028", "\ufeff", "\ufeffa", "🙂", "x" * 200 + " y" * 200, "{{#start.name#}}", "\\", "\\n"],
    "\ud7ff\ue000\U0010ffff",
]  # fmt: skip
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(TRICKY)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = st.recursive(
    LEAVES, lambda parts: st.lists(parts, max_size=4) | st.dictionaries(TEXTS, parts, max_size=4), max_leaves=12
)
ENVELOPES = st.builds(
    lambda extra, config, data: Document(
        {
            **extra,
            "app": {"mode": "workflow", "name": "x", "config": config},
            "workflow": {"graph": {"nodes": [{"id": "a", "data": data}], "edges": []}, "new": config},
        }
    ),
    st.dictionaries(st.sampled_from(["extra", "dependencies", "kind", "12", "yes", "é"]), VALUES),
    VALUES,
    st.dictionaries(TEXTS, VALUES, max_size=4),
)


@settings(max_examples=150, deadline=None)
@given(ENVELOPES)
def test_what_is_written_is_read_again(document: Document) -> None:
    text = to_yaml(document)
    for read in (parse(text), parse(text.encode()), parse(to_json(document))):
        assert canonical(read.data) == canonical(document.data)
        assert content_digest(read) == content_digest(document)
        assert semantic_digest(read) == semantic_digest(document)
    assert canonical(yaml.safe_load(text)) == canonical(document.data)  # as Dify reads it
    assert to_yaml(parse(text)) == text


@pytest.fixture(params=["libyaml", "PyYAML"])
def any_yaml(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both readers and writers, of which an installation has one."""
    if request.param == "PyYAML":
        monkeypatch.setattr(yamltext, "PARSER", yaml.SafeLoader)
        monkeypatch.setattr(export, "_DUMPER", export._dumper(yaml.SafeDumper))


@pytest.mark.usefixtures("any_yaml")
@pytest.mark.parametrize("text", TRICKY)
def test_texts_survive_as_values_and_keys(text: str) -> None:
    document = Document({"app": {"mode": "chat"}, "model_config": {text: [text, {"k": text}]}})
    assert yaml.safe_load(to_yaml(document)) == parse(to_yaml(document)).data == document.data


def test_the_file_looks_like_an_export_of_dify() -> None:
    document = straight(environment_variables=[{"name": "é", "value": "0.10", "value_type": "string"}])
    document.graph["nodes"][0]["data"]["desc"] = "word " * 60
    lines = to_yaml(document).splitlines()
    assert [line for line in lines if line[0] not in " -"] == ["app:", "kind: app", "version: 0.6.0", "workflow:"]
    assert "  - name: é" in lines
    assert "    value: '0.10'" in lines
    assert any("word " * 59 in line for line in lines)


@pytest.mark.parametrize("version", ["0.6", "0.1", "1", "0.6.0", "0.10"])
def test_the_version_is_read_as_text(version: str) -> None:
    document = Document({**straight().data, "version": version})
    assert yaml.safe_load(to_yaml(document))["version"] == version


def test_shared_parts_are_written_out() -> None:
    part: dict[str, Any] = {"x": [1]}
    text = to_yaml(Document({"app": {"mode": "chat"}, "a": part, "b": [part, part]}))
    assert "&" not in text
    assert "*" not in text


def test_writing_changes_nothing() -> None:
    document = straight(environment_variables=[{"name": "K", "value": "s", "value_type": "secret"}])
    before = copy.deepcopy(document)
    for write in (to_yaml, to_json, content_digest, semantic_digest):
        write(document)
    assert document == before
    assert list(document.data) == list(before.data)
