"""New keys for old: no secret is rewritten, nothing is lost wherever it is cut off, and every process follows."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from lastgood.access import people, sessions, tokens
from lastgood.db import envelope, keyrings, rotation
from lastgood.db import tables as t
from lastgood.db.keyrings import File, Variable, open_ring
from lastgood.db.ring import KeyRing, entry, fresh
from lastgood.db.store import Store, open_store
from lastgood.errors import InvalidSetting, KeyNeeded, KeyRingDamaged, RingReadOnly, UnknownRingKey, Unsealable
from lastgood.gateway.rehasher import Rehasher
from lastgood.gateway.router import SqliteRouter
from lastgood.history import keys
from support.scene import ALICE, scene
from support.stores import clean_settings, copy_sqlite, on_sqlite

VALUE, PLACE = "hunter2-value", "version/v-1/TOKEN"
Open = Callable[[], Store]


def sealed(store: Store, value: str = VALUE) -> bytes:
    return store.write(lambda tx: envelope.seal(tx, value, PLACE))


def opened(store: Store, bytes_: bytes, place: str = PLACE) -> str:
    with store.read() as tx:
        return envelope.unseal(tx, bytes_, place)


def data_keys(store: Store) -> dict[str, str]:
    with store.read() as tx:
        return {row.id: row.ring_key for row in tx.connection.execute(t.data_key.select())}


def test_secrets_are_sealed_under_a_data_key_in_their_place_only(store: Store, open_again: Open) -> None:
    first, second = sealed(store), sealed(store)
    assert first != second and first[0] == 2
    assert len(data_keys(store)) == 1
    assert opened(store, first) == opened(open_again(), second) == VALUE
    with pytest.raises(Unsealable):
        opened(store, first, "version/v-2/TOKEN")
    with pytest.raises(Unsealable):
        opened(store, first[:-1] + bytes([first[-1] ^ 1]))
    with store.read() as tx:
        (wrapped,) = tx.connection.execute(t.data_key.select()).all()
    assert VALUE.encode() not in first and len(wrapped.wrapped) == 12 + 32 + 16


def test_a_data_key_whose_transaction_failed_is_used_by_nobody(store: Store) -> None:
    def work(tx: Any) -> None:
        envelope.seal(tx, VALUE, PLACE)
        raise ValueError

    with pytest.raises(ValueError):
        store.write(work)
    assert opened(store, sealed(store)) == VALUE
    assert len(data_keys(store)) == 1


def test_what_an_earlier_release_sealed_still_opens_when_its_key_has_gone(store: Store, open_again: Open) -> None:
    old = store.ring.seal(VALUE, PLACE)
    key = store.ring.newest("seal")
    assert old[0] == 1 and opened(store, old) == VALUE
    rotation.rotate(store, ALICE)
    assert opened(store, old) == VALUE
    rotation.retire(store, ALICE, key)
    assert key not in store.ring.path.read_text()
    assert opened(store, old) == opened(open_again(), old) == VALUE


def test_a_rotation_rewrites_data_keys_alone_and_a_running_process_follows(store: Store, open_again: Open) -> None:
    other = open_again()
    before = sealed(store)
    assert opened(other, before) == VALUE
    old = store.ring.newest("seal")
    done = rotation.rotate(store, ALICE)
    assert (done.added, done.wrapped) == (store.ring.newest("seal"), 1) and done.added != old
    assert set(data_keys(store).values()) == {done.added}
    after = sealed(store)
    assert after[2:19] != before[2:19], "what is new has never lain under the old key"
    fresh_one = open_again()
    for one in (store, other, fresh_one):
        assert (opened(one, before), opened(one, after)) == (VALUE, VALUE)
    assert opened(store, sealed(other)) == VALUE
    found = rotation.status(store)
    assert not found["unfinished"] and all("key" not in one for one in found["keys"])
    assert [one["needed_by"] for one in found["keys"] if one["id"] == old] == [[]]


def test_an_old_key_goes_when_nothing_needs_it_and_says_what_does(store: Store) -> None:
    sealed(store)
    old = store.ring.newest("seal")
    with pytest.raises(KeyNeeded, match="it is the one that seal writes with"):
        rotation.retire(store, ALICE, old)
    store.ring.add("seal")  # a rotation that was cut off here
    assert rotation.status(store)["unfinished"]
    with pytest.raises(KeyNeeded, match="1 data key is wrapped under it"):
        rotation.retire(store, ALICE, old)
    assert rotation.rotate(store, ALICE).added is None, "it finishes, and adds no other"
    rotation.retire(store, ALICE, old)
    assert store.ring.of("seal") == [store.ring.newest("seal")]
    with pytest.raises(UnknownRingKey):
        rotation.retire(store, ALICE, old)
    for purpose in ("fingerprint", "log"):
        with pytest.raises(KeyNeeded):
            rotation.retire(store, ALICE, store.ring.newest(purpose))
    with store.read() as tx:
        done = [one.action for one in tx.connection.execute(t.audit.select()) if one.action.startswith("ring:")]
    assert done == ["ring:rotate", "ring:retire"]


_KILLED = """
import os, signal, sys
from lastgood.db import keyrings, rotation, store as stores
from lastgood.db.audit import Principal
from support.stores import clean_settings
from pathlib import Path
home, place = Path(sys.argv[1]), sys.argv[2]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store = stores.open_store(clean_settings(home))
if place == "scratch": keyrings.File._replace = lambda self, path, text: (self._written(path, text), die())
if place == "backup":
    first = keyrings.File._replace
    keyrings.File._replace = lambda self, path, text: (first(self, path, text), die())
calls = []
if place == "renamed": keyrings.settle = lambda folder: (calls.append(1), len(calls) == 2 and die())
if place == "added": rotation._wrap = die
if place == "wrapping": rotation.envelope.add = die
rotation.rotate(store, Principal("alice"))
"""


@on_sqlite
@pytest.mark.parametrize("place", ["scratch", "backup", "renamed", "added", "wrapping"])
def test_killed_at_any_step_of_a_rotation(store: Store, open_again: Open, place: str) -> None:
    before = sealed(store)
    old = store.ring.newest("seal")
    root = Path(__file__).parents[1]
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(store.settings.home), place],
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    again = open_again()
    assert opened(again, before) == VALUE and opened(again, sealed(again)) == VALUE
    rotation.rotate(again, ALICE)
    assert not rotation.status(again)["unfinished"]
    rotation.retire(again, ALICE, old)
    assert opened(open_again(), before) == VALUE
    path = store.ring.path
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.with_name("keyring.json.bak").stat().st_mode & 0o777 == 0o600


def test_a_ring_that_others_may_read_gets_no_new_key(store: Store) -> None:
    before = store.ring.path.read_bytes()
    store.ring.path.chmod(0o640)
    with pytest.raises(RingReadOnly, match=r"others may read it \(mode 640\).*chmod 600"):
        rotation.rotate(store, ALICE)
    assert store.ring.path.read_bytes() == before
    store.ring.path.chmod(0o600)
    rotation.rotate(store, ALICE)


def test_two_who_rotate_at_once_lose_no_key(tmp_path: Path) -> None:
    one, two = (KeyRing.open(tmp_path / "keyring.json") for _ in range(2))
    first, second = one.add("seal"), two.add("seal")
    assert one.reread() and set(one.of("seal")) >= {first, second}
    assert two.of("seal") == one.of("seal")


def test_a_ring_that_became_damaged_is_named_and_the_old_one_is_beside_it(store: Store) -> None:
    old = store.ring.path.read_bytes()
    rotation.rotate(store, ALICE)
    backup = store.ring.path.with_name("keyring.json.bak")
    assert backup.read_bytes() == old
    store.ring.path.write_text('{"keys": [')
    with pytest.raises(KeyRingDamaged, match=r"keyring\.json cannot be read"):
        store.ring.reread()
    assert opened(store, sealed(store)) == VALUE, "what is in memory still works"


def test_a_ring_that_is_away_for_a_while_is_missed_and_not_made_anew(store: Store) -> None:
    before = sealed(store)
    path = store.ring.path
    kept = path.rename(path.with_name("elsewhere"))
    with pytest.raises(KeyRingDamaged, match=r"keyring\.json cannot be read"):
        store.ring.reread()
    with store.read() as tx:
        assert tokens.owner(tx, "lg_what-a-stranger-says") is None
    assert not path.exists() and opened(store, before) == VALUE
    kept.rename(path)
    assert not store.ring.reread()


def variable(entries: list[dict[str, str]]) -> str:
    return base64.b64encode(json.dumps({"keys": entries}).encode()).decode()


def test_a_ring_in_a_variable_is_rotated_where_it_is_set(home: Path, sqlite_template: Path) -> None:
    copy_sqlite(sqlite_template, home)
    entries = fresh(["seal", "fingerprint", "lookup"])
    store = open_store(clean_settings(home, keyring=variable(entries)))
    assert not (home / "keyring.json").exists()
    before = sealed(store)
    for act in (lambda: rotation.rotate(store, ALICE), lambda: store.ring.add("lookup")):
        with pytest.raises(RingReadOnly, match="lastgood ring key"):
            act()
    with pytest.raises(KeyRingDamaged, match="no key of the audit log"):
        _ = store.ring.log_seeds
    store.close()
    more = [*entries, entry("seal")]
    again = open_store(clean_settings(home, keyring=variable(more)))
    assert rotation.rotate(again, ALICE).wrapped == 1
    again.close()
    last = open_store(clean_settings(home, keyring=variable(more[1:])))
    assert opened(last, before) == VALUE
    last.close()


@pytest.mark.parametrize("text", ["%%%", "bm90IGpzb24=", variable([]), variable(fresh(["seal"]))])
def test_a_damaged_variable_is_named_and_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeyRingDamaged, match="LASTGOOD_KEYRING cannot be read") as caught:
        open_ring(clean_settings(tmp_path, keyring=text))
    assert text not in str(caught.value)


def vault(settings: Any) -> Variable:
    return Variable(variable(fresh(["seal", "fingerprint", "lookup", "log"])))


def test_a_ring_from_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = EntryPoints([EntryPoint("vault", f"{__name__}:vault", keyrings.GROUP)])
    monkeypatch.setattr(keyrings, "entry_points", found.select)
    assert len(open_ring(clean_settings(tmp_path, keyring_from="vault")).log_seeds) == 1
    with pytest.raises(InvalidSetting, match=r"offered: vault"):
        open_ring(clean_settings(tmp_path, keyring_from="safe"))
    assert isinstance(open_ring(clean_settings(tmp_path)).source, File)


def test_tokens_and_keys_are_found_under_either_key_and_move_to_the_newest(store: Store, open_again: Open) -> None:
    place = scene(store)
    token = store.write(tokens.first_admin)
    key = store.write(lambda tx: keys.create(tx, ALICE, place.workflow, name="k"))["key"]
    assert token is not None
    other = open_again()
    old = store.ring.newest("lookup")
    rotation.rotate(store, ALICE, "lookup")
    later = store.write(lambda tx: keys.create(tx, ALICE, place.workflow, name="later"))["key"]
    for one in (store, other, open_again()):
        with one.read() as tx:
            assert (found := tokens.owner(tx, token)) is not None
            assert found.name == "admin"
            assert keys.workflow_of(tx, key) == place.workflow.id
    assert other.ring.follow()
    with other.read() as tx:
        assert keys.workflow_of(tx, later) == place.workflow.id
    with pytest.raises(KeyNeeded, match=r"1 app key is known by it.*1 token is known by it"):
        rotation.retire(store, ALICE, old)
    store.write(lambda tx: tokens.used(tx, "admin", token))
    first, *older = store.ring.lookups(key)
    assert store.write(lambda tx: keys.rehash(tx, {older[0]: first})) == 1
    rotation.retire(store, ALICE, old)
    with store.read() as tx:
        assert tokens.owner(tx, token) is not None
        assert keys.workflow_of(tx, key) == place.workflow.id


def test_what_runs_beside_a_rotation_writes_under_a_key_that_stays(store: Store, open_again: Open) -> None:
    """Also where it meets no key that it does not know."""
    servers = [open_again(), open_again()]
    ada = store.write(lambda tx: people.create(tx, ALICE, "ada"))
    old = store.ring.newest("lookup")
    rotation.rotate(store, ALICE, "lookup")
    rotation.retire(store, ALICE, old)
    token = servers[0].write(lambda tx: tokens.create(tx, ALICE, "late"))
    session = servers[0].write(lambda tx: sessions.begin(tx, ada.pk, address="", seconds=60))
    for one in (*servers, open_again()):
        with one.read() as tx:
            assert sessions.find(tx, session, idle_seconds=60) is not None
            assert tokens.owner(tx, token) is not None


@on_sqlite
def test_a_gateway_that_runs_follows_and_rehashes_what_comes(store: Store, open_again: Open) -> None:
    place = scene(store)
    place.move(place.push().version)
    key = store.write(lambda tx: keys.create(tx, ALICE, place.workflow, name="k"))
    gone = store.write(lambda tx: keys.create(tx, ALICE, place.workflow, name="g"))
    worker = open_again()
    router = SqliteRouter(worker.engine, worker.ring.lookup_key)
    try:
        assert router.route(key["key"]) is not None and not router.take_seen()
        old = store.ring.newest("lookup")
        rotation.rotate(store, ALICE, "lookup")
        later = store.write(lambda tx: keys.create(tx, ALICE, place.workflow, name="later"))["key"]
        assert router.route(later) is not None, "made under a key that this process did not know"
        assert router.route(key["key"]) is not None and router.route(gone["key"]) is not None
        assert router.route("app-nobodys-at-all") is None
        assert Rehasher(worker, router).look() == 2
        assert router.route(key["key"]) is not None and not router.take_seen()
        # A key that was kept anew and revoked before this worker looked is not let in by its former hash.
        store.write(lambda tx: keys.revoke(tx, ALICE, place.workflow, "g"))
        assert router.route(gone["key"]) is None
        rotation.retire(store, ALICE, old)
        assert router.route(key["key"]) is not None
    finally:
        router.close()


@on_sqlite
def test_rehashed_and_revoked_between_two_looks(store: Store, open_again: Open) -> None:
    place = scene(store)
    place.move(place.push().version)
    made = store.write(lambda tx: keys.create(tx, ALICE, place.workflow, name="k"))
    worker = open_again()
    router = SqliteRouter(worker.engine, worker.ring.lookup_key)
    try:
        assert router.route(made["key"]) is not None
        rotation.rotate(store, ALICE, "lookup")
        first, *older = store.ring.lookups(made["key"])
        store.write(lambda tx: keys.rehash(tx, {older[0]: first}))
        store.write(lambda tx: keys.revoke(tx, ALICE, place.workflow, "k"))
        assert router.route(made["key"]) is None
    finally:
        router.close()


def test_one_key_costs_one_hash(store: Store) -> None:
    assert store.ring.lookups("x") == [store.ring.lookup("x")]
    assert store.ring.lookup_key.older("x") == []
