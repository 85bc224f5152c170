"""What a workspace's lists tell, and that a list in another shape is unknown, not empty."""

from typing import Any

import pytest

from dify_server import FakeDify
from dify_server.world import ADMIN_KEY
from lastgood.access.sync.intake import held
from lastgood.catalogue import GrantSource
from lastgood.db.store import Store
from lastgood.errors import DifyMissing
from lastgood.server.syncing import Syncing, principal_of
from lastgood.targets.dify import AdminKey
from lastgood.targets.dify.roster import Roster, Thing
from lastgood.targets.dify.wire import Call
from support.stores import on_sqlite

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


@on_sqlite
def test_members_are_granted_what_they_are_in_dify(
    newer: FakeDify, client_of: Connect, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their address, as long as they are active and have a role that has one of ours."""
    alice = newer.world.add_account("alice")
    home = alice.home
    for name, role in (("ed", "editor"), ("nora", "normal"), ("dan", "dataset_operator"), ("gone", "admin")):
        newer.world.people.add(name, f"{name}@example.com", home, role)
    newer.world.people.accounts[-1].status = "banned"
    declared = store.settings.model_copy(update={"grants": {"dify": GrantSource(kind="dify", server="prod")}})
    monkeypatch.setattr(store, "settings", declared)
    client = client_of(newer, AdminKey(ADMIN_KEY, home))
    syncing = Syncing(store, {"prod": client}.__getitem__)
    report = syncing.check("dify", principal_of("dify"), "full", repair=True)
    with store.read() as tx:
        found = {(user.partition("@")[0], role) for user, role, _ in held(tx, "dify")}
    assert {("ed", "editor"), ("nora", "viewer"), ("alice", alice.roles[home].replace("owner", "admin"))} <= found
    assert not {"dan", "gone"} & {user for user, _ in found}
    assert report.kept_out == 1
