"""Values on their way out, and the secrets that are kept from it."""

import json
from collections.abc import Iterator

import pytest
from graphon.file import File, FileTransferMethod, FileType
from graphon.variables.factory import build_segment
from hypothesis import given
from hypothesis import strategies as st

from lastgood.dsl.mask import Mask
from lastgood.targets.engine.values import plain
from lastgood.targets.engine.variables import conversation, environment, typed

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_stays_what_it_is(value: object) -> None:
    assert plain(value) == value


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *texts(item))


@given(JSON, TEXT.filter(lambda text: len(text) >= 4 and "*" not in text))
def test_a_secret_is_nowhere_left(value: object, secret: str) -> None:
    mask = Mask([secret])
    for form in (secret, json.dumps(secret)[1:-1]):
        shown = plain({"a": value, "b": f"x{form}y", form: [form]}, mask)
        assert not [text for text in texts(shown) if form in text]


def test_segments_and_files_become_plain() -> None:
    file = File(
        file_type=FileType.IMAGE, transfer_method=FileTransferMethod.REMOTE_URL, remote_url="http://x.example/a.png"
    )
    shown = plain({"n": build_segment(5), "list": build_segment(["a"]), "file": file, "set": {1}, "bytes": b"12"})
    assert (shown["n"], shown["list"], shown["set"], shown["bytes"]) == (5, ["a"], [1], "<2 bytes>")
    assert shown["file"]["url"] == shown["file"]["remote_url"] == "http://x.example/a.png"
    json.dumps(shown)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("string", None, ""),
        ("string", 5, "5"),
        ("number", "", 0),
        ("number", "2.5", 2.5),
        ("number", "3", 3),
        ("number", "1e3", 1000.0),
        ("integer", "7", 7),
        ("boolean", None, False),
        ("object", "", {}),
        ("object", {"a": 1}, {"a": 1}),
        ("array[string]", None, []),
        ("array[object]", [{"a": 1}], [{"a": 1}]),
        ("something-new", "x", "x"),
    ],
)
def test_a_variable_has_its_type_also_when_it_is_empty(kind: str, value: object, expected: object) -> None:
    assert typed(kind, value).value == expected
    assert conversation({"name": "v", "value_type": kind, "value": value}).segment.value == expected


def test_a_secret_variable_is_one_to_graphon_too() -> None:
    made = environment({"name": "KEY", "value_type": "secret", "value": "hunter2hunter2"})
    assert made.value == "hunter2hunter2"
    assert "hunter2hunter2" not in made.log
