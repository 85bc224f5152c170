"""What a workspace's lists tell, and that a list in another shape is unknown, not empty."""

from typing import Any

import pytest

from dify_server import FakeDify
from lastgood.errors import DifyMissing
from lastgood.targets.dify.roster import Roster, Thing
from lastgood.targets.dify.wire import Call

from .conftest import Connect, admin


class Fake:
    """A caller that answers one thing to everything."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def ask(self, call: Call) -> Any:
        self.asked.append(call.path)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


THING = {"id": "1", "name": "one"}


@pytest.mark.parametrize(
    ("kind", "provider", "answers", "things"),
    [
        ("knowledge_bases", "", [{"data": [THING], "has_more": True}, {"data": [{"id": "2", "name": "two"}]}], "1 2"),
        ("tools", "api", [[THING]], "1"),
        ("tools", "mcp", [[{**THING, "server_identifier": "github"}]], "github"),
        ("members", "", [{"accounts": [{"id": "m", "email": "a@example.com", "name": "A"}]}], "m"),
        ("plugins", "", [{"plugins": [{"plugin_unique_identifier": "a/b:1@c", "plugin_id": "a/b"}]}], "a/b:1@c"),
        ("models", "", [{"data": [{"provider": "p", "models": [{"model": "m"}]}]}, {"data": []}, {"data": []}], "p"),
        ("credentials", "a/b/c", [[THING]], "1"),
        ("subscriptions", "a/b/c", [[THING]], "1"),
        ("extensions", "", [[THING]], "1"),
        ("extensions", "", [[]], ""),
        ("extensions", "", [{"data": []}], None),
        ("extensions", "", [[{"id": 4, "name": "x"}]], None),
        ("extensions", "", [None], None),
        ("knowledge_bases", "", [{"data": [THING], "has_more": True}, {}], None),
        ("members", "", [DifyMissing(server="s", what="w", said="")], None),
        ("tools", "", [], None),
        ("credentials", "", [], None),
        ("something", "", [], None),
    ],
)
def test_lists(kind: str, provider: str, answers: list[Any], things: str | None) -> None:
    fake = Fake(*answers)
    roster = Roster(fake)  # type: ignore[arg-type]
    found = roster(kind, provider)
    assert (None if found is None else [one.id.split()[0] for one in found]) == (
        None if things is None else things.split()
    )
    assert roster(kind, provider) == found and len(fake.asked) == len(answers), "it was asked again"


def test_what_was_recorded_is_read_from_the_stand_in(dify: FakeDify, client_of: Connect) -> None:
    alice = dify.world.add_account("alice")
    roster = Roster(client_of(dify, admin(dify)).caller)
    members = roster("members")
    assert members is not None and Thing(alice.id, "alice@example.com") in members
    assert roster("tools", "workflow") == () and roster("knowledge_bases") is None
