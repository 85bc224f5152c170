"""Pinning a chat body: the upstream reads the version that the gateway says, whatever the client wrote."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.gateway.pin import Refused, is_json, pin_chat

JSON = "application/json"

PINNED: list[tuple[bytes, bytes]] = [
    (b"{}", b'{"workflow_id":"v-1"}'),
    (b"  \r\n\t{ }", b'  \r\n\t{"workflow_id":"v-1" }'),
    (b'{"a":1}', b'{"workflow_id":"v-1","a":1}'),
    (b'{"a":1,"a":2}', b'{"workflow_id":"v-1","a":1,"a":2}'),
    (b'{"n":123456789012345678901234567890}', b'{"workflow_id":"v-1","n":123456789012345678901234567890}'),
    (b'{"inputs":{"workflow_id":"x"}}', b'{"workflow_id":"v-1","inputs":{"workflow_id":"x"}}'),
    (b'{"workflow_id":"","a":1}', b'{"workflow_id":"v-1","a":1}'),
    (b'{"workflow_id":null}', b'{"workflow_id":"v-1"}'),
    (b'{"a":1,"workflow_id":"x","workflow_id":""}', b'{"a":1,"workflow_id":"v-1"}'),
]


@pytest.mark.parametrize(("body", "pinned"), PINNED)
def test_a_body_without_a_version_gets_the_channels(body: bytes, pinned: bytes) -> None:
    assert pin_chat(body, JSON, "v-1") == (pinned, None)


OWN: list[tuple[bytes, str]] = [
    (b'{"workflow_id":"own"}', "own"),
    (b'{"workflow_id":"first","workflow_id":"own"}', "own"),
    (b'{"workflow\\u005fid":"own"}', "own"),
    (b'{"workflow_id":"first","workflow\\u005fid":"own"}', "own"),
    (b'{"workflow_id":"","\\u0077orkflow_id":"own"}', "own"),
]


@pytest.mark.parametrize(("body", "own"), OWN)
def test_the_version_that_is_told_is_the_one_that_is_sent(body: bytes, own: str) -> None:
    sent, told = pin_chat(body, JSON, "v-1")
    assert told == own
    pairs: list[tuple[str, Any]] = json.loads(sent, object_pairs_hook=list)
    assert pairs == [("workflow_id", own)]  # once: no parser can take another


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["workflow_id", "query", "inputs", "workflow-id"]) | st.text(max_size=5), values)
)
def test_every_object_is_pinned_or_refused(message: dict[str, Any]) -> None:
    body = json.dumps(message).encode()
    try:
        sent, told = pin_chat(body, JSON, "v-1")
    except Refused as refused:
        assert refused.status == 400
        assert message["workflow_id"] not in (None, "")
        return
    assert json.loads(sent) == {**message, "workflow_id": told or "v-1"}
    assert told is None or told == message["workflow_id"]


@pytest.mark.parametrize(
    ("content_type", "yes"),
    [
        (JSON, True),
        ("Application/JSON; charset=utf-8", True),
        ("application/problem+json", True),
        ("", False),
        ("text/json", False),
        ("application/jsonx", False),
        ("text/plain; application/json", False),
    ],
)
def test_what_counts_as_json(content_type: str, yes: bool) -> None:
    assert is_json(content_type) is yes
