"""What a server can do is learnt by asking it, whatever version it says it is."""

import pytest

from dify_server import Answer, FakeDify
from dify_server.world import TOKEN
from lastgood.errors import DifySignInRefused
from lastgood.targets.dify import Bearer, learn

from .conftest import Connect

WRITES = ("POST", "PATCH", "DELETE", "PUT")
HARMLESS = {"/console/api/login", "/console/api/workspaces/current"}


def test_each_version_can_what_was_recorded(dify: FakeDify, client_of: Connect) -> None:
    dify.world.add_app("a")
    dify.world.add_app("chat", mode="chat")
    found = learn(client_of(dify))
    newer = dify.world.newer
    assert found.version.value == dify.world.version
    told = {name: one.value for name, one in found}
    assert [told[name] for name in ("restore", "draft_parts", "editors", "openapi")] == [newer] * 4
    assert told["hash_covers"] == ("graph" if newer else "graph and features")
    assert told["export_secrets"] is True
    assert (told["masks_kept"], found.masks_kept.how) == (False, "assumed")
    assert set(found.as_data()["restore"]) == {"value", "how", "because"}


def test_nothing_is_written_to_learn_it(dify: FakeDify, client_of: Connect) -> None:
    dify.world.add_app("a")
    learn(client_of(dify))
    assert {one.path for one in dify.requests if one.method in WRITES} <= HARMLESS


def test_the_version_decides_nothing(client_of: Connect) -> None:
    with FakeDify("1.14.2") as backport:
        backport.world.add_app("a")
        backport.world.version = "1.9.0"
        backport.world.plain_passwords = True
        found = learn(client_of(backport))
    assert found.restore.value is True
    assert found.hash_covers.value == "graph"


def test_what_cannot_be_told_is_assumed_the_safe_way(newer: FakeDify, client_of: Connect) -> None:
    newer.hook = lambda request: Answer(403, {"message": "no"}) if request.path.endswith("/restore") else None
    found = learn(client_of(newer))
    assert (found.restore.value, found.restore.how) == (False, "assumed")
    assert (found.hash_covers.value, found.hash_covers.how) == ("unknown", "assumed")


TYPES = ["start", "end", "llm"]


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        (TYPES, True),
        ([{"type": one, "title": one} for one in TYPES], True),
        ({"data": [{"node_type": one} for one in TYPES], "total": 3}, True),
        ({"node_types": {one: {"schema": {}} for one in TYPES}}, True),
        ({one: {} for one in TYPES}, True),
        ({"data": []}, False),
        ({"message": "start"}, False),
        ([{"type": "start"}, {"kind": 4}], False),
        ("start", False),
        (None, False),
    ],
)
def test_node_types_in_any_shape_that_is_one(
    newer: FakeDify, client_of: Connect, answer: object, known: bool
) -> None:
    newer.hook = lambda request: Answer(200, answer) if request.path == "/openapi/v1/node-types" else None
    client = client_of(newer)
    assert learn(client).node_types.value is known
    if known:
        assert client.openapi.node_types() == set(TYPES)


def test_a_server_without_node_types_is_not_taken_to_tell_them(dify: FakeDify, client_of: Connect) -> None:
    found = learn(client_of(dify)).node_types
    assert (found.value, found.how) == (False, "asked")


def test_a_token_for_tools_does_not_open_the_console(newer: FakeDify, client_of: Connect) -> None:
    with pytest.raises(DifySignInRefused, match="Invalid token"):
        learn(client_of(newer, Bearer(TOKEN)))
