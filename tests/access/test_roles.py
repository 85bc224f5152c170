"""Roles and grants: what is accepted, what rules mean, and that a change holds at once and everywhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lastgood.access import actions, decisions, globs, grants, people, roles, table, tokens
from lastgood.access.decisions import Decision
from lastgood.access.grants import Grant
from lastgood.access.roles import Role
from lastgood.access.rules import BUILT_IN, Rule, check_resource
from lastgood.access.subjects import check_subject, principal_of
from lastgood.access.table import Holder
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import BuiltInRole, IdTaken, InvalidId, InvalidRequest, LastAdmin, RoleHeld, UnknownRole
from support.scene import ALICE
from support.stores import on_sqlite

U = Principal("u1002")
ON = "workflow:prod-invoice"


def give(store: Store, role: str, on: str = "*", subject: str = "u1002", **more: Any) -> None:
    store.write(lambda tx: grants.put(tx, ALICE, Grant(subject, role, on, **more)))


def make(store: Store, name: str, *rules: Rule, replace: bool = False) -> None:
    store.write(lambda tx: roles.create(tx, ALICE, Role(name, "", rules), replace=replace))


def ask(store: Store, action: str = "workflow:read", on: str = ON, who: Principal = U) -> Decision:
    """The door's answer, which is also that of the truth in a transaction."""
    door = decisions.check_permission(store, who, action, on)
    with store.read() as tx:
        assert decisions.decide(tx, who, action, on) == door
    return door


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*", ["", "workflow:a", "a\nb"], []),
        ("workflow:*", ["workflow:", "workflow:a:b"], ["workflow", "Workflow:a", "xworkflow:a"]),
        ("workflow:prod-*", ["workflow:prod-", "workflow:prod-x"], ["workflow:prod", "workflow:PROD-x"]),
        ("workflow:a?c", ["workflow:abc", "workflow:a*c"], ["workflow:ac", "workflow:abbc"]),
        ("*-prod", ["workflow:x-prod", "-prod"], ["workflow:x-prod2"]),
        ("w*:a*z", ["workflow:az", "w:abcz"], ["workflow:a", "x:az"]),
        ("workflow:a[bc]", ["workflow:a[bc]"], ["workflow:ab"]),
        ("workflow:a.c", ["workflow:a.c"], ["workflow:abc"]),
        ("a\\d", ["a\\d"], ["a1"]),
        ("******************x", ["x", "aaax"], ["a" * 5000]),
    ],
)
def test_patterns_know_stars_and_question_marks_and_nothing_else(
    pattern: str, matching: list[str], others: list[str]
) -> None:
    assert [text for text in matching if not globs.matcher(pattern)(text)] == []
    assert [text for text in others if globs.matcher(pattern)(text)] == []


# What is granted to u1002: (role, on what); then what is asked, whether it is allowed, and words of the reason.
RULES = {
    "no-push": (Rule("deny", ("workflow:push",), ("workflow:prod-*",)),),
    "staging": (Rule("allow", ("workflow:*", "channel:move:staging"), ("workflow:prod-*",)),),
    "odd": (Rule("allow", ("workflow:re*",), ("workflow:*-invoice", "workflow:a?")),),
    "nothing": (Rule("deny", ("*",)),),
}
CASES: list[tuple[list[tuple[str, str]], str, str, bool, str]] = [
    ([], "workflow:read", ON, False, f"no role of u1002 allows workflow:read on {ON}"),
    ([("viewer", "*")], "workflow:read", ON, True, "role viewer, granted on *, allows workflow:read"),
    ([("viewer", "*")], "workflow:push", ON, False, "no role of u1002"),
    ([("viewer", "workflow:prod-*")], "workflow:read", ON, True, "granted on workflow:prod-*"),
    ([("viewer", "workflow:prod-*")], "workflow:read", "workflow:test", False, "no role"),
    ([("viewer", ON)], "workflow:read", ON, True, f"granted on {ON}"),
    ([("viewer", ON)], "workflow:read", ON + "2", False, "no role"),
    ([("viewer", "workflow:????-invoice")], "workflow:read", ON, True, "granted on workflow:????-invoice"),
    ([("viewer", "target:*")], "workflow:read", ON, False, "no role"),
    ([("admin", "*"), ("no-push", "*")], "workflow:push", ON, False, "denied by role no-push, granted on *"),
    ([("no-push", ON), ("admin", "*")], "workflow:push", ON, False, "denies workflow:push on workflow:prod-*"),
    ([("admin", "*"), ("no-push", "*")], "workflow:push", "workflow:test", True, "role admin"),
    ([("admin", "*"), ("no-push", "workflow:test")], "workflow:push", ON, True, "role admin"),
    ([("admin", "*"), ("nothing", "*")], "workflow:read", ON, False, "denied by role nothing"),
    ([("staging", "*")], "channel:move:staging", ON, True, "allows channel:move:staging on workflow:prod-*"),
    ([("staging", "*")], "channel:move:live", ON, False, "no role"),
    ([("staging", "workflow:*-invoice")], "workflow:push", ON, True, "allows workflow:*"),
    ([("staging", "workflow:*-invoice")], "workflow:push", "workflow:prod-other", False, "no role"),
    ([("staging", "workflow:*-invoice")], "workflow:push", "workflow:test-invoice", False, "no role"),
    ([("odd", "*")], "workflow:rehearse", "workflow:ab", True, "allows workflow:re* on workflow:a?"),
    ([("odd", "*")], "workflow:push", "workflow:ab", False, "no role"),
    ([("gone-role", "*")], "workflow:read", ON, False, "no role"),
    ([("releaser", "*")], "workflow:rollback:force", ON, False, "no role"),
    ([("admin", "*")], "workflow:rollback:force", ON, True, "allows *"),
    ([("Viewer", "*")], "workflow:read", ON, False, "no role"),
]


@on_sqlite
def test_what_is_granted_decides_and_says_which_rule(store: Store) -> None:
    for name, rules in RULES.items():
        make(store, name, *rules)
    for number, (granted, action, on, allowed, words) in enumerate(CASES):
        who = Principal(f"u{number}")
        for role, pattern in granted:
            give(store, role, pattern, who.subject)
        found = ask(store, action, on, who)
        assert (found.allowed, words.replace("u1002", who.subject) in found.reason) == (allowed, True), (
            granted,
            found,
        )


def test_a_change_holds_at_once_in_every_process(store: Store, open_again: Callable[[], Store]) -> None:
    other = open_again()
    assert not ask(other).allowed
    for change, allowed in (
        (lambda: give(store, "night", ON), False),
        (lambda: make(store, "night", Rule("allow", ("workflow:push",))), False),
        (lambda: make(store, "night", Rule("allow", ("workflow:re*",)), replace=True), True),
        (lambda: give(store, "stop", "workflow:*", subject="u7"), True),
        (lambda: store.write(lambda tx: grants.revoke(tx, ALICE, Grant("u1002", "night", ON))), False),
        (lambda: give(store, "viewer", "workflow:prod-*"), True),
        (lambda: make(store, "stop", Rule("deny", ("*",))), True),
        (lambda: give(store, "stop"), False),
        (lambda: store.write(lambda tx: grants.put(tx, ALICE, Grant("u1002", "stop"), present=False)), True),
        (lambda: store.write(lambda tx: roles.remove(tx, ALICE, "night")), True),
    ):
        change()
        assert (ask(store).allowed, ask(other).allowed) == (allowed, allowed)


def test_what_is_not_committed_holds_nowhere(store: Store) -> None:
    def work(tx: Tx) -> None:
        grants.put(tx, ALICE, Grant("u1002", "viewer"))
        assert decisions.decide(tx, U, "workflow:read", ON).allowed
        assert not decisions.check_permission(store, U, "workflow:read", ON).allowed
        raise LookupError

    with pytest.raises(LookupError):
        store.write(work)
    assert not ask(store).allowed


@on_sqlite
def test_who_is_read_before_a_change_is_not_taken_over_by_the_next_table(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread has read what u1002 has, another makes the next table, and only then the first puts it away."""
    before = decisions.permissions(store).fresh()
    give(store, "viewer")
    read = store.read

    @contextmanager
    def late() -> Iterator[Tx]:
        with read() as tx:
            yield tx
        before.holders["u1002"] = Holder(())

    monkeypatch.setattr(store, "read", late)
    assert decisions.check_permission(store, U, "workflow:read", ON).allowed


@on_sqlite
def test_what_is_kept_of_answers_has_a_bound(store: Store) -> None:
    """Names of channels are anybody's: who asks for ever more of them fills no memory."""
    give(store, "releaser")
    give(store, "releaser", ON)
    for number in range(3 * table._MOST):
        assert decisions.check_permission(store, U, f"channel:move:c{number}", ON).allowed
    (holder,) = decisions.permissions(store).fresh().holders.values()
    assert [len(one.answers) <= table._MOST for one in holder.all] == [True, True]


@on_sqlite
def test_a_grant_ends_by_itself(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    give(store, "viewer", expires_at="2026-11-30T12:00:00.000000Z")
    noon = 1796040000.0
    for now, allowed in ((noon - 1, True), (noon, False), (noon + 9, False), (noon - 1, True)):
        monkeypatch.setattr("lastgood.access.table.time", lambda now=now: now)
        assert ask(store).allowed is allowed
        assert decisions.anywhere(store, U, "workflow:read").allowed is allowed


def test_roles_of_a_session_local_and_services_need_no_grant(store: Store) -> None:
    assert ask(store, who=Principal("u7", roles=frozenset({"viewer"}))).allowed
    assert not ask(store, who=Principal("u7")).allowed
    assert ask(store, "access:admin", "access:*", Principal("root", "local")).allowed
    assert ask(store, "workflow:rehearse", who=Principal("jobs", "service")).allowed
    assert not ask(store, "workflow:rollback:force", who=Principal("jobs", "service")).allowed
    limited = Store(store.settings.model_copy(update={"local_role": "viewer"}), store.engine, store.ring)
    found = ask(limited, "workflow:push", who=Principal("root", "local"))
    assert (found.allowed, found.reason) == (False, f"no role of local allows workflow:push on {ON}")
    make(store, "stop", Rule("deny", ("*",)))
    give(store, "stop", subject="service:jobs")
    assert not ask(store, "workflow:rehearse", who=Principal("jobs", "service")).allowed
    for part in limited.beside.values():
        part.close()


@on_sqlite
def test_somewhere_is_asked_of_what_can_be(store: Store) -> None:
    make(store, "stop", Rule("deny", ("workflow:read",)))
    for granted, allowed in (
        ([("viewer", "workflow:prod-*")], True),
        ([("viewer", "target:*")], False),
        ([("viewer", "*"), ("stop", "workflow:prod-*")], True),
        ([("viewer", "*"), ("stop", "*")], False),
        ([("viewer", "*"), ("stop", "workflow:*")], False),
        ([("auditor", "w*")], True),
        ([], False),
    ):
        who = Principal(f"u-{granted}".replace(":", ";"))
        for role, on in granted:
            give(store, role, on, who.subject)
        assert decisions.anywhere(store, who, "workflow:read").allowed is allowed, granted


@pytest.mark.parametrize(
    ("role", "error"),
    [
        (Role("admin", "", (Rule("allow", ("*",)),)), BuiltInRole),
        (Role("service", "", (Rule("deny", ("*",)),)), BuiltInRole),
        (Role("", "", (Rule("allow", ("*",)),)), InvalidId),
        (Role("Night", "", (Rule("allow", ("*",)),)), InvalidId),
        (Role("a b", "", (Rule("allow", ("*",)),)), InvalidId),
        (Role("a\n", "", (Rule("allow", ("*",)),)), InvalidId),
        (Role("x" * 64, "", (Rule("allow", ("*",)),)), InvalidId),
        (Role("x", "", ()), InvalidRequest),
        (Role("x", "", (Rule("allow", ("workflow:pubish",)),)), InvalidRequest),
        (Role("x", "", (Rule("allow", ("",)),)), InvalidRequest),
        (Role("x", "", (Rule("allow", ("*",), ("prod-invoice",)),)), InvalidRequest),
        (Role("x", "", (Rule("allow", ("*",), ("workflow:",)),)), InvalidRequest),
        (Role("x", "", (Rule("allow", ("*",), ("workflow:a b",)),)), InvalidRequest),
    ],
)
@on_sqlite
def test_a_role_that_makes_no_sense_is_refused(store: Store, role: Role, error: type[Exception]) -> None:
    with pytest.raises(error):
        store.write(lambda tx: roles.create(tx, ALICE, role))


def test_a_role_is_made_changed_and_taken_away(store: Store) -> None:
    make(store, "night", Rule("allow", ("channel:move:*", "workflow:rollback")))
    with pytest.raises(IdTaken):
        make(store, "night", Rule("allow", ("*",)))
    with store.read() as tx:
        assert [one.name for one in roles.listing(tx)] == [*BUILT_IN, "night"]
    give(store, "night", ON)
    with pytest.raises(RoleHeld):
        store.write(lambda tx: roles.remove(tx, ALICE, "night"))
    store.write(lambda tx: grants.revoke(tx, ALICE, Grant("u1002", "night", ON)))
    store.write(lambda tx: roles.remove(tx, ALICE, "night"))
    with store.read() as tx, pytest.raises(UnknownRole):
        roles.find(tx, "night")
    make(store, "night", Rule("allow", ("workflow:read",)))
    with store.read() as tx:
        assert roles.find(tx, "night").rules == (Rule("allow", ("workflow:read",)),)


def test_the_last_admin_stays_unless_taken_on_the_machine_itself(store: Store) -> None:
    for name in ("ann", "bob"):
        store.write(lambda tx, name=name: people.create(tx, ALICE, name, password="$argon2id$…"))  # type: ignore[misc]
    store.write(lambda tx: tokens.create(tx, ALICE, "ci"))
    # Of these only ann and the token can come in and have everything.
    others = (("service:x", "*"), ("bob", ON), ("nobody", "*"), ("token:gone", "*"))
    for subject, on in (("ann", "*"), ("token:ci", "*"), *others):
        give(store, "admin", on, subject)
    store.write(lambda tx: grants.revoke(tx, ALICE, Grant("token:ci", "admin")))
    with pytest.raises(LastAdmin):
        store.write(lambda tx: grants.revoke(tx, ALICE, Grant("ann", "admin")))
    assert ask(store, "access:admin", "access:*", Principal("ann")).allowed
    store.write(lambda tx: grants.revoke(tx, ALICE, Grant("bob", "admin", ON)))
    store.write(lambda tx: grants.revoke(tx, Principal("root", "local"), Grant("ann", "admin")))
    assert not ask(store, "access:admin", "access:*", Principal("ann")).allowed


def test_grants_are_listed_in_order_and_by_page(store: Store) -> None:
    for number in range(5):
        give(store, "viewer", f"workflow:w{number}", subject=f"u{number % 2}")
    store.write(lambda tx: grants.revoke(tx, ALICE, Grant("u1", "viewer", "workflow:w1")))
    with store.read() as tx:
        every = grants.listing(tx)
        assert [one.resource for one in every] == ["workflow:w0", "workflow:w2", "workflow:w3", "workflow:w4"]
        first = grants.listing(tx, limit=2)
        assert first + grants.listing(tx, after=first[-1].pk) == every
        assert [one.resource for one in grants.listing(tx, "u1")] == ["workflow:w3"]
        changed = grants.listing(tx, after_revision=4)
        assert [(one.resource, one.present) for one in changed] == [("workflow:w4", True), ("workflow:w1", False)]


@pytest.mark.parametrize(
    "subject",
    ["", " ", "a ", "a/b", "token:a b", "a:b", "token:", "token:a:b", "x\n", "*", "u?", "person:u1"],
)
def test_what_names_nobody_is_refused(subject: str) -> None:
    with pytest.raises(InvalidRequest):
        check_subject(subject)


@pytest.mark.parametrize(
    "subject", ["u1002", "ann@example.com", "Ada Lovelace", "x" * 255, "token:ci", "service:jobs", "local", "王芳"]
)
def test_a_subject_is_the_principal_that_it_names(subject: str) -> None:
    assert principal_of(check_subject(subject)).subject == subject


@pytest.mark.parametrize(
    ("word", "name"),
    [
        *(("rollback", "workflow:rollback"), ("read", "workflow:read"), ("force", None), ("approve", "plan:approve")),
        *(("reveal", "secret:reveal"), ("rollback:force", "workflow:rollback:force"), ("admin", None)),
        *(("workflow:push", "workflow:push"), ("channel:move:live", "channel:move:live"), ("fly", None)),
        *(("workflow:fly", None), ("", None)),
    ],
)
def test_a_short_word_is_an_action(word: str, name: str | None) -> None:
    if name is None:
        with pytest.raises(InvalidRequest):
            actions.full_name(word)
    else:
        assert actions.full_name(word) == name


def test_every_built_in_rule_stands_for_an_action_of_the_catalogue() -> None:
    for role in BUILT_IN.values():
        for rule in role.rules:
            for pattern in rule.actions:
                assert pattern in (*actions.CATALOGUE, "*"), (role.name, pattern)
            for resource in rule.resources:
                check_resource(resource)


def test_the_documentation_has_every_action_and_role() -> None:
    text = (Path(__file__).parents[2] / "docs" / "access.md").read_text(encoding="utf-8")
    for name, what in actions.CATALOGUE.items():
        assert f"| `{name.replace('*', 'NAME')}` | {what} |" in text, name
    for name in BUILT_IN:
        assert f"\n| `{name}` | " in text, name
