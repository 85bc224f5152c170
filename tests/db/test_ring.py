"""The key ring: what it seals opens for its place only, and it tells nothing."""

import base64
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.db.ring import KeyRing
from lastgood.errors import KeyRingDamaged, LastgoodError, Unsealable

VALUE = "sk-the-word-nobody-may-see"
PLACE = "v-20261123-01/API_KEY"


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing.open(tmp_path / "keyring.json")


def test_the_file_is_for_its_owner_only_and_holds_one_key_of_each_purpose(ring: KeyRing) -> None:
    assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600
    keys = json.loads(ring.path.read_text())["keys"]
    assert [key["purpose"] for key in keys] == ["seal", "fingerprint", "lookup", "log"]
    assert len({key["key"] for key in keys}) == 4
    assert all(len(base64.b64decode(key["key"])) == 32 for key in keys)
    assert list(ring.path.parent.iterdir()) == [ring.path], "something is left lying beside it"


@given(value=st.text(), place=st.text())
def test_what_is_sealed_opens_for_its_place(tmp_path_factory: pytest.TempPathFactory, value: str, place: str) -> None:
    ring = KeyRing.open(tmp_path_factory.getbasetemp() / "given" / "keyring.json")
    if value.isprintable() and place.isprintable():
        sealed = ring.seal(value, place)
        assert KeyRing.open(ring.path).unseal(sealed, place) == value
        assert ring.seal(value, place) != sealed, "a nonce came twice"


def test_sealed_bytes_in_another_place_do_not_open(ring: KeyRing) -> None:
    sealed = ring.seal(VALUE, PLACE)
    for place in ("v-20261123-02/API_KEY", "v-20261123-01/OTHER", ""):
        with pytest.raises(Unsealable):
            ring.unseal(sealed, place)


def test_no_changed_byte_opens_and_no_error_tells_the_value(ring: KeyRing) -> None:
    sealed = ring.seal(VALUE, PLACE)
    changed = [
        sealed[:i] + bytes([sealed[i] ^ bit]) + sealed[i + 1 :] for i in range(len(sealed)) for bit in (1, 128)
    ]
    cut = [sealed[:i] for i in range(len(sealed))]
    for bad in [*changed[2:], *cut, b"", b"\x01", b"\x01\xff", b"\x01\x02\xff\xff", sealed + b"\0"]:
        with pytest.raises(Unsealable) as caught:
            ring.unseal(bad, PLACE)
        assert VALUE not in str(caught.value) + repr(caught.value.data)
        assert str(ring.path) in str(caught.value)


def test_an_unknown_form_does_not_open(ring: KeyRing) -> None:
    with pytest.raises(Unsealable):
        ring.unseal(b"\x02" + ring.seal(VALUE, PLACE)[1:], PLACE)


def test_the_ring_of_another_installation_does_not_open_it(ring: KeyRing, tmp_path: Path) -> None:
    other = KeyRing.open(tmp_path / "other" / "keyring.json")
    with pytest.raises(Unsealable, match="Put the key ring back"):
        other.unseal(ring.seal(VALUE, PLACE), PLACE)
    assert other.fingerprint(VALUE) != ring.fingerprint(VALUE)
    assert other.lookup(VALUE) != ring.lookup(VALUE)


def test_a_newer_key_writes_and_an_older_one_still_opens(ring: KeyRing) -> None:
    sealed = ring.seal(VALUE, PLACE)
    kept = json.loads(ring.path.read_text())
    newer = {"id": "snewer", "purpose": "seal", "key": base64.b64encode(b"n" * 32).decode(), "created_at": "2027"}
    ring.path.write_text(json.dumps({"keys": [*kept["keys"], newer]}))
    both = KeyRing.open(ring.path)
    assert both.unseal(sealed, PLACE) == VALUE
    assert b"snewer" in both.seal(VALUE, PLACE)
    assert both.fingerprint(VALUE) == ring.fingerprint(VALUE)
    assert ring.unseal(both.seal(VALUE, PLACE), PLACE) == VALUE, "whoever meets an unknown key reads the ring again"


def test_fingerprints_compare_and_tell_nothing(ring: KeyRing) -> None:
    assert ring.fingerprint(VALUE) == KeyRing.open(ring.path).fingerprint(VALUE)
    assert ring.fingerprint(VALUE) != ring.fingerprint(VALUE + " ")
    assert VALUE not in ring.fingerprint(VALUE)
    assert ring.lookup(VALUE).hex() != ring.fingerprint(VALUE), "the purposes share a key"


def test_a_ring_shows_no_key(ring: KeyRing) -> None:
    keys = [key["key"] for key in json.loads(ring.path.read_text())["keys"]]
    shown = repr(ring) + str(ring)
    assert not any(key in shown or repr(base64.b64decode(key)) in shown for key in keys)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[]",
        "{}",
        '{"keys": 3}',
        '{"keys": []}',
        '{"keys": [{"id": "s1"}]}',
        '{"keys": [{"id": "s1", "purpose": "seal", "key": "%%%", "created_at": ""}]}',
        '{"keys": [{"id": "s1", "purpose": "seal", "key": "c2hvcnQ=", "created_at": ""}]}',
    ],
)
def test_a_damaged_ring_is_named_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keyring.json"
    path.write_text(text)
    with pytest.raises(KeyRingDamaged, match="Put it back from your backup") as caught:
        KeyRing.open(path)
    assert isinstance(caught.value, LastgoodError)
    assert str(path) in str(caught.value)
    assert path.read_text() == text


def earlier(ring: KeyRing) -> list[dict[str, str]]:
    """Make `ring` one of a release that signed no checkpoints."""
    keys = [key for key in json.loads(ring.path.read_text())["keys"] if key["purpose"] != "log"]
    ring.path.write_text(json.dumps({"keys": keys}))
    return keys


def test_a_ring_of_an_earlier_release_is_completed_once_and_keeps_its_keys(ring: KeyRing) -> None:
    before = earlier(ring)
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: KeyRing.open(ring.path), range(16)))
    kept = json.loads(ring.path.read_text())["keys"]
    assert kept[:-1] == before
    assert kept[-1]["purpose"] == "log"
    assert {one.log_seeds[-1] for one in rings} == {base64.b64decode(kept[-1]["key"])}
    assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600
    beside = {one.name for one in ring.path.parent.iterdir()}
    assert beside == {"keyring.json", "keyring.json.bak"}, "something is left lying beside it"


def test_a_ring_that_cannot_be_completed_opens_secrets_all_the_same(
    ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = ring.seal(VALUE, PLACE)
    earlier(ring)

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("lastgood.db.keyrings.File._written", refuse)
    found = KeyRing.open(ring.path)
    assert found.unseal(sealed, PLACE) == VALUE
    with pytest.raises(KeyRingDamaged, match="no key of the audit log"):
        _ = found.log_seeds
