"""The key ring: the keys that everything secret at rest rests on.

An entry is ``{"id", "purpose", "key" (base64, 32 bytes), "created_at"}``. Purposes: ``seal`` (AES-256-GCM), which
wraps the data keys that secrets are sealed under (`envelope`); ``fingerprint`` (HMAC-SHA256 of secret values, to
compare and never to show); ``lookup`` (HMAC-SHA256 of app keys and tokens); ``log`` (seed of the Ed25519 key that
signs the audit log's checkpoints). The newest key of a purpose is used to write; older ones still open. Where the
entries come from, a source says (`keyrings`). A ring of an earlier release lacks the newer purposes: their keys are
added when it is opened.

Form of sealed bytes: ``0x01`` (sealed under a key of the ring), length of the key id, the key id, a nonce of 12
bytes, ciphertext and tag; the associated data is the caller's context, so that a sealed value moved to another place
does not open. `envelope` writes the same with ``0x02`` and the id of a data key.

A lookup key that was made by a rotation has ``"form": "2"``: its id follows the 32 bytes of each hash, so that it can
be told what still needs which key. There is one fingerprint key and it is not rotated, because fingerprints of two
keys would make equal secrets look different."""

import base64
import contextlib
import hmac
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Final, Literal, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lastgood.errors import KeyRingDamaged, RingReadOnly, Unsealable

Purpose = Literal["seal", "fingerprint", "lookup", "log"]
type Entry = dict[str, str]
PURPOSES: Final = ("seal", "fingerprint", "lookup")  # a ring without one of them is damaged
ADDED: Final = ("log",)
_FORM: Final = 1
_KEY_BYTES: Final = 32
_NONCE: Final = 12
_HASH_BYTES: Final = 32
_MARKED: Final = "2"
_FOLLOW_SECONDS: Final = 2.0


class Source(Protocol):
    """Where the entries of a ring are kept. `name` is told in errors."""

    name: str

    def read(self) -> list[Entry]:
        """The entries, oldest first. Raises `OSError`, and `ValueError`, `KeyError` or `TypeError` for what is no
        ring."""

    def problem(self) -> str:
        """Why no new key may be kept there, as the end of a sentence; empty where one may."""

    def change(self, before: Sequence[Entry], after: Sequence[Entry]) -> bool:
        """Put `after` in the place of `before`, safe on the disk; False where another was quicker. Raises
        `RingReadOnly` where it cannot be changed from here, `OSError`."""


@dataclass(frozen=True, slots=True)
class _Keys:
    """The entries of a ring, as they are used."""

    entries: tuple[Entry, ...]
    raw: dict[str, bytes] = field(repr=False)
    newest: dict[str, str]

    def of(self, purpose: str) -> list[str]:
        """The ids of a purpose, oldest first."""
        return [entry["id"] for entry in self.entries if entry["purpose"] == purpose]


class Lookup:
    """What app keys and tokens are found by, for the gateway's request path; follows the ring when that is read
    again. With one key it costs one HMAC.

    `found` are the keys with their marks, newest first; `reread` reads the ring again."""

    __slots__ = ("_found", "_reread")

    def __init__(self, found: Sequence[tuple[bytes, bytes]], reread: Callable[[], bool] = lambda: False) -> None:
        self._reread = reread
        self.follow(found)

    def follow(self, found: Sequence[tuple[bytes, bytes]]) -> None:
        """Take over other keys."""
        self._found = tuple(found)  # at once: another thread may be looking

    def hash(self, value: str) -> bytes:
        """The keyed hash under which an app key or a token is stored."""
        key, mark = self._found[0]
        return hmac.digest(key, value.encode(), "sha256") + mark

    def older(self, value: str) -> list[bytes]:
        """The hashes under which it may have been stored before, newest first; none while there is one key."""
        return [hmac.digest(key, value.encode(), "sha256") + mark for key, mark in self._found[1:]]

    def is_known(self, hashed: bytes) -> bool:
        """Whether the key of `hashed` is in the ring, which is read again where it is not."""
        mark = hashed[_HASH_BYTES:]
        return self._has(mark) or (self._reread() and self._has(mark))

    def _has(self, mark: bytes) -> bool:
        return not mark or any(mark == one for _, one in self._found)


class KeyRing:
    """An opened ring. `path` is only named in errors; `data` keeps opened data keys for `envelope`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.path = Path(source.name)
        self.data: dict[str, bytes] = {}
        self._keys = self._read()
        self._followed = -_FOLLOW_SECONDS
        self.lookup_key = Lookup(_lookups(self._keys), self.reread)

    @classmethod
    def open(cls, path: Path) -> "KeyRing":
        """The ring in the file `path`, made with fresh keys when there is none (two first starts at once agree on
        one).

        Raises `KeyRingDamaged`, and `OSError` when it cannot be read or made."""
        from lastgood.db.keyrings import File

        return cls(File(path))

    def reread(self) -> bool:
        """Read the source again, because another process may have changed it. Gives whether it had. Raises
        `KeyRingDamaged`."""
        before = self._keys
        try:
            self._keys = self._read()
        except OSError as error:
            raise KeyRingDamaged(path=self.source.name, reason=error.strerror or type(error).__name__) from None
        self.lookup_key.follow(_lookups(self._keys))
        return before.entries != self._keys.entries

    def _read(self) -> _Keys:
        try:
            keys = _opened(self.source.read())
            while missing := [one for one in ADDED if one not in keys.newest]:
                with contextlib.suppress(OSError, RingReadOnly):  # `log_seeds` says so when asked
                    self.source.change(keys.entries, [*keys.entries, *fresh(missing)])
                    keys = _opened(self.source.read())
                    continue
                break
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = f"{type(error).__name__} in its JSON"
            if isinstance(error, _Damaged):
                reason = str(error)
            raise KeyRingDamaged(path=self.source.name, reason=reason) from None
        return keys

    def follow(self) -> bool:
        """As `reread`, but at most every few seconds, and with what is known where it cannot be read now: for what a
        stranger may ask for again and again, and for what is not to wait for the source."""
        if monotonic() - self._followed < _FOLLOW_SECONDS:
            return False
        self._followed = monotonic()
        try:
            return self.reread()
        except KeyRingDamaged:
            return False

    def entries(self) -> list[Entry]:
        """The entries without their keys, oldest first."""
        return [{name: value for name, value in entry.items() if name != "key"} for entry in self._keys.entries]

    def newest(self, purpose: str) -> str:
        """The id of the key that a purpose writes with."""
        return self._keys.newest[purpose]

    def of(self, purpose: str) -> list[str]:
        """The ids of the keys of a purpose, oldest first."""
        return self._keys.of(purpose)

    def add(self, purpose: Purpose) -> str:
        """A fresh key that is the newest of its purpose from now on; gives its id. Raises `RingReadOnly`."""
        if problem := self.source.problem():
            raise RingReadOnly(path=self.source.name, reason=problem)
        while True:
            made = entry(purpose)
            done = self.source.change(self._keys.entries, [*self._keys.entries, made])
            self.reread()
            if done:
                return made["id"]

    def drop(self, id: str) -> None:
        """Take a key out. Raises `RingReadOnly`."""
        while id in self._keys.raw:
            self.source.change(self._keys.entries, [one for one in self._keys.entries if one["id"] != id])
            self.reread()

    def seal(self, value: str, context: str) -> bytes:
        """`value` sealed for `context` (a place such as ``version/v-…/API_KEY``) under the ring itself, for what is
        not kept; what is goes through `envelope`."""
        key_id = self._keys.newest["seal"]
        return written(_FORM, key_id, self._keys.raw[key_id], value.encode(), context)

    def unseal(self, sealed: bytes, context: str) -> str:
        """The value that was sealed for `context`. Raises `Unsealable`."""
        form, key_id, _ = parts(sealed)
        raw = self.raw(key_id) if form == _FORM else None
        return self.opened(sealed, raw, context)

    def opened(self, sealed: bytes, raw: bytes | None, context: str) -> str:
        """What `sealed` holds, under the key `raw`. Raises `Unsealable`, also where `raw` is None."""
        _, key_id, rest = parts(sealed)
        try:
            if raw is None:
                raise ValueError
            return AESGCM(raw).decrypt(rest[:_NONCE], rest[_NONCE:], context.encode()).decode()
        except (InvalidTag, ValueError):
            raise Unsealable(name=context, key_id=key_id, path=self.source.name) from None

    def raw(self, id: str) -> bytes | None:
        """A key of the purpose ``seal``, looked for in the source again where it is not known; None where it is not
        there either."""
        if id not in self._keys.raw:
            self.reread()
        return self._keys.raw.get(id) if id in self._keys.of("seal") else None

    def wrap(self, id: str, key: bytes) -> tuple[str, bytes]:
        """The data key `id` wrapped under the newest key: the id of that, and the bytes."""
        ring_key = self._keys.newest["seal"]
        nonce = os.urandom(_NONCE)
        return ring_key, nonce + AESGCM(self._keys.raw[ring_key]).encrypt(nonce, key, f"data-key/{id}".encode())

    def unwrap(self, id: str, ring_key: str, wrapped: bytes) -> bytes:
        """The data key `id`. Raises `Unsealable`."""
        raw = self.raw(ring_key)
        try:
            if raw is None:
                raise ValueError
            return AESGCM(raw).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], f"data-key/{id}".encode())
        except (InvalidTag, ValueError):
            raise Unsealable(name=f"data-key/{id}", key_id=ring_key, path=self.source.name) from None

    def fingerprint(self, value: str) -> str:
        """A keyed hash (64 hex digits) that tells whether two secrets are the same, and nothing else."""
        return hmac.digest(self._keys.raw[self._keys.newest["fingerprint"]], value.encode(), "sha256").hex()

    def lookup(self, value: str) -> bytes:
        """The keyed hash (32 bytes, and the mark of its key where that was rotated in) under which an app key or a
        token is stored. To find one, `lookups`: what is stored anew must not be under a key that is being retired, so
        the ring is followed here."""
        self.follow()
        return self.lookup_key.hash(value)

    def lookups(self, value: str) -> list[bytes]:
        """Every hash under which it may be stored, the one of `lookup` first: one, while there is one key."""
        return [self.lookup_key.hash(value), *self.lookup_key.older(value)]

    def lookup_id(self, hashed: bytes) -> str:
        """The id of the lookup key that made `hashed`."""
        mark = hashed[_HASH_BYTES:]
        return next((id for id in self._keys.of("lookup") if _mark(self._keys, id) == mark), mark.decode())

    @property
    def log_seeds(self) -> list[bytes]:
        """The seeds of the Ed25519 keys that sign the audit log's checkpoints, oldest first; the last one signs.

        Raises `KeyRingDamaged` when there is none, because the ring could not be written to."""
        ids = self._keys.of("log")
        if not ids:
            raise KeyRingDamaged(
                path=self.source.name, reason="it has no key of the audit log, and none can be added"
            )
        return [self._keys.raw[id] for id in ids]


def fresh(purposes: Sequence[str]) -> list[Entry]:
    """New entries, one for each of `purposes`."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        {
            "id": f"{purpose[0]}{secrets.token_hex(4)}",
            "purpose": purpose,
            "key": base64.b64encode(os.urandom(_KEY_BYTES)).decode(),
            "created_at": now,
        }
        for purpose in purposes
    ]


def entry(purpose: Purpose) -> Entry:
    """A new entry for a ring that has one of that purpose already."""
    return fresh([purpose])[0] | ({"form": _MARKED} if purpose == "lookup" else {})


def written(form: int, key_id: str, raw: bytes, value: bytes, context: str) -> bytes:
    """`value` sealed under `raw`, in the form of sealed bytes."""
    nonce = os.urandom(_NONCE)
    sealed = AESGCM(raw).encrypt(nonce, value, context.encode())
    return bytes([form, len(key_id)]) + key_id.encode() + nonce + sealed


def parts(sealed: bytes) -> tuple[int, str, bytes]:
    """The form of sealed bytes (0 where they are none), the id of their key, and the rest."""
    try:
        form, length = sealed[:2]
        return form, sealed[2 : 2 + length].decode(), sealed[2 + length :]
    except ValueError:
        return 0, "?", b""


class _Damaged(ValueError):
    """Keys are not as they must be; its text may be shown."""


def _opened(entries: Sequence[Entry]) -> _Keys:
    keys = _Keys(
        tuple(entries),
        {entry["id"]: base64.b64decode(entry["key"]) for entry in entries},
        {entry["purpose"]: entry["id"] for entry in entries},
    )
    if not keys.newest.keys() >= set(PURPOSES) or any(len(key) != _KEY_BYTES for key in keys.raw.values()):
        raise _Damaged("keys are missing or cut short")
    if len(keys.raw) != len(keys.entries):
        raise _Damaged("an id stands twice")
    return keys


def _lookups(keys: _Keys) -> list[tuple[bytes, bytes]]:
    """The lookup keys with their marks, newest first."""
    return [(keys.raw[id], _mark(keys, id)) for id in reversed(keys.of("lookup"))]


def _mark(keys: _Keys, id: str) -> bytes:
    """What follows each hash of a lookup key: nothing of the one that the ring began with."""
    entry = next(one for one in keys.entries if one["id"] == id)
    return id.encode() if entry.get("form") == _MARKED else b""
