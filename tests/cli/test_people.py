"""The first admin, people and tokens, by the command line."""

import io
import json
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST

from cli.conftest import Run
from lastgood.access import passwords

GOOD = "correct horse battery"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that take no time."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher.from_parameters(CHEAPEST))


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let `text` come on standard input."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_init_makes_one_admin_and_says_what_to_do_next(lastgood: Run) -> None:
    done = lastgood("init")
    assert done.code == 0 and done.lines[0].startswith("lg_") and len(done.lines) == 1
    assert "lastgood serve" in done.err and "not shown again" in done.err
    again = lastgood("init")
    assert again.code == 1 and "has an admin already" in again.err and "lastgood token reset" in again.err
    assert lastgood("init", "--person", "ada").code == 1
    rows = lastgood("token", "list", "--json").json
    assert [(one["name"], one["grants"]) for one in rows] == [("admin", [{"role": "admin", "resource": "*"}])]


def test_init_makes_a_person_the_admin(lastgood: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "short\n")
    assert lastgood("init", "--person", "ada").code == 1
    typed(monkeypatch, f"{GOOD}\n")
    done = lastgood("init", "--person", "ada")
    assert done.code == 0 and done.lines[0].startswith("ada is the admin of ") and GOOD not in done.out + done.err
    assert lastgood("init").code == 1
    assert lastgood("can", "ada", "workflow:publish", "workflow:prod-invoice").code == 0


def test_people_are_added_shut_out_and_let_in(lastgood: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, f"{GOOD}\n")
    done = lastgood("person", "add", "u1002", "--display", "Ada")
    assert done.lines == ["u1002 can sign in"] and "lastgood grant u1002 viewer" in done.err
    assert lastgood("person", "add", "robin", "--no-password").lines == ["robin is known"]
    assert lastgood("person", "add", "robin", "--no-password").code == 1
    assert lastgood("person", "disable", "u1002").code == 0
    (ada, robin) = sorted(lastgood("person", "list", "--json").json, key=lambda one: one["name"] == "robin")
    assert (ada["name"], bool(ada["disabled_at"]), ada["has_password"]) == ("u1002", True, True)
    assert (robin["name"], robin["has_password"]) == ("robin", False)
    assert "disabled" in lastgood("person", "list").out
    assert lastgood("person", "enable", "u1002").code == 0
    typed(monkeypatch, "another horse battery\n")
    assert lastgood("person", "password", "u1002").lines == ["u1002 has another password"]
    assert lastgood("person", "password", "nobody").code == 1
    shown = lastgood("changes", "--json").out
    assert GOOD not in shown and "another horse" not in shown


def test_a_password_is_typed_twice_on_a_terminal(lastgood: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    answers = iter(["one thing here", "another thing", GOOD, GOOD])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    done = lastgood("person", "add", "u1002")
    assert done.code == 0 and "not the same" in done.err


def test_tokens_are_made_listed_and_revoked(lastgood: Run, home: Path) -> None:
    done = lastgood("token", "create", "ci", "--role", "releaser", "--workflow", "prod-*", "--expires", "90d")
    assert done.code == 0, done.err
    (value,) = done.lines
    assert value.startswith("lg_") and "ci is releaser on workflow:prod-* until 20" in done.err
    listed = lastgood("token", "list")
    assert "releaser" in listed.out and "workflow:prod-*" in listed.out and value not in listed.out
    assert lastgood("token", "create", "ci").code == 1
    assert lastgood("token", "create", "x", "--role", "emperor").code == 1
    made = lastgood("token", "create", "dashboard", "--role", "viewer", "--json").json
    assert made["token"].startswith("lg_") and made["expires_at"] is None
    assert lastgood("token", "revoke", "ci").lines == ["ci is revoked"]
    assert lastgood("token", "revoke", "ci").code == 1
    assert value not in json.dumps(lastgood("changes", "--json").json)
