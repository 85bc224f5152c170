"""People and their passwords."""

import pytest
from argon2 import PasswordHasher, extract_parameters
from sqlalchemy import select

from lastgood.access import passwords, people, sessions
from lastgood.db import tables
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import InvalidRequest, NameTaken, Unavailable, UnknownPerson
from support.scene import ALICE

NAMES = ["u1002", "ada@example.com", "Ada Lovelace", "阿达", "x" * 255, "a.b-c_d", "ada+test"]
NO_NAMES = [
    "",
    "x" * 256,
    "token:ci",
    "service:jobs",
    "local",
    "..",
    "a/b",
    "a*",
    "u?",
    " ada",
    "ada ",
    "ada\n",
    "a\x1b[2Jb",
    "a\x00",
    "a\u202eb",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_may_be(name: str) -> None:
    assert people.check_name(name) == name


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_may_not_be(name: str) -> None:
    with pytest.raises(InvalidRequest):
        people.check_name(name)


def test_two_ways_to_write_one_name_are_one_name() -> None:
    assert people.check_name("Ame\u0301lie") == people.check_name("Am\u00e9lie")


def test_a_person_is_kept_and_known_by_name(store: Store) -> None:
    def work(tx: Tx) -> None:
        made = people.create(tx, ALICE, "ada", password="$argon2id$secret", display="Ada", email="ada@example.com")
        assert made.public()["has_password"] and "$argon2id" not in str(made.public())
        with pytest.raises(NameTaken):
            people.create(tx, ALICE, "ada")
        with pytest.raises(UnknownPerson):
            people.find(tx, "grace")
        people.create(tx, ALICE, "grace")
        assert [one.name for one in people.listing(tx)] == ["ada", "grace"]
        assert [one.name for one in people.listing(tx, after="ada")] == ["grace"]

    store.write(work)
    with store.read() as tx:
        rows = tx.connection.execute(select(tables.audit.c.action, tables.audit.c.canonical)).all()
    assert [row.action for row in rows] == ["person:create", "person:create"]
    assert b"$argon2id" not in b"".join(row.canonical for row in rows)


def test_a_provider_knows_its_people_by_its_own_subject(store: Store) -> None:
    def come(tx: Tx, subject: str, name: str, issuer: str = "https://a") -> people.Person:
        return people.from_provider(tx, ALICE, issuer=issuer, subject=subject, name=name)

    def work(tx: Tx) -> None:
        first = come(tx, "s1", "ada")
        assert come(tx, "s1", "renamed").pk == first.pk  # the same person, whatever they are called there now
        for subject, issuer in (("s2", "https://a"), ("s1", "https://b")):
            with pytest.raises(NameTaken):  # another of the same name is not her
                come(tx, subject, "ada", issuer)
        with pytest.raises(InvalidRequest):
            come(tx, "s3", "token:admin")
        people.create(tx, ALICE, "grace", password="x")
        with pytest.raises(NameTaken):
            come(tx, "s4", "grace")

    store.write(work)


def test_a_new_password_or_being_shut_out_ends_every_session(store: Store) -> None:
    def work(tx: Tx) -> list[int]:
        left = []
        ada, bob = people.create(tx, ALICE, "ada"), people.create(tx, ALICE, "bob")
        for change in ("password", "disable"):
            for one in (ada, ada, bob):
                sessions.begin(tx, one.pk, address="", seconds=60)
            if change == "password":
                people.set_password(tx, ALICE, ada, "x")
            else:
                assert people.set_disabled(tx, ALICE, ada, True).disabled_at
                assert people.set_disabled(tx, ALICE, people.find(tx, "ada"), False).disabled_at is None
            rows = tx.connection.execute(select(tables.session.c.person_pk)).scalars().all()
            left.append(len([row for row in rows if row == ada.pk]))
            assert len(rows) - left[-1] >= 1, "others stay"
        return left

    assert store.write(work) == [0, 0]


def test_passwords_are_kept_as_argon2id_with_the_memory_that_rfc_9106_names() -> None:
    kept = passwords.hashed("correct horse battery")
    found = extract_parameters(kept)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert (found.memory_cost, found.time_cost, found.parallelism, found.salt_len) == (65536, 3, 4, 16)
    assert passwords.matches(kept, "correct horse battery")
    assert not passwords.is_old(kept)
    # What an unknown name is held against takes the same work.
    assert not passwords.is_old(passwords._NOBODY)
    assert extract_parameters(passwords._NOBODY) == found


@pytest.mark.usefixtures("quick_passwords")
def test_what_matches_a_password() -> None:
    kept = passwords.hashed("Am\u00e9lie walks home")
    assert passwords.matches(kept, "Ame\u0301lie walks home")
    for wrong in ("", "am\u00e9lie walks home", "Am\u00e9lie walks home ", "\ud800", "x" * 100_000):
        assert not passwords.matches(kept, wrong)
    for nothing in (None, "", "not a hash", "$argon2id$v=19$m=8,t=1,p=1$$"):
        assert not passwords.matches(nothing, "Am\u00e9lie walks home")
    assert passwords.is_old(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash("x"))


@pytest.mark.parametrize(
    "password", ["", "short", "x" * 11, "u1002-u1002-u", "aaaaaaaaaaaaaaaa", "x1y2" * 257, "\ud800" * 6 + "abcdefgh"]
)
def test_a_password_that_is_refused(password: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        passwords.check_new(password, "U1002-u1002-u")
    assert not password or password not in str(caught.value)


def test_only_a_few_hash_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 64 MiB."""
    monkeypatch.setattr(passwords, "_WAIT_SECONDS", 0.01)
    taken = [passwords._places.acquire(blocking=False) for _ in range(passwords._AT_ONCE)]
    try:
        assert all(taken)
        with pytest.raises(Unavailable):
            passwords.matches(None, "x")
    finally:
        for _ in taken:
            passwords._places.release()
