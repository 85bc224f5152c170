"""The key ring: the keys that seal secrets and make keyed hashes, in one 0600 file.

Form of the file: ``{"keys": [{"id", "purpose", "key" (base64, 32 bytes), "created_at"}]}``. Purposes: ``seal``
(AES-256-GCM), ``fingerprint`` (HMAC-SHA256 of secret values, to compare and never to show), ``lookup``
(HMAC-SHA256 of app keys and tokens), ``log`` (seed of the Ed25519 key that signs the audit log's checkpoints). The
newest key of a purpose is used to write; older ones still open. A ring of an earlier release lacks the newer
purposes: their keys are added when it is opened.

Form of sealed bytes: ``0x01``, length of the key id, the key id, a nonce of 12 bytes, ciphertext and tag; the
associated data is the caller's context, so that a sealed value moved to another place does not open."""

import base64
import contextlib
import fcntl
import hmac
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lastgood.errors import KeyRingDamaged, Unsealable

_PURPOSES = ("seal", "fingerprint", "lookup")  # a ring without one of them is damaged
_ADDED = ("log",)
_FORM = 1
_KEY_BYTES = 32


class KeyRing:
    """An opened key ring file. `path` is only named in errors."""

    def __init__(self, path: Path, keys: list[dict[str, str]]) -> None:
        self.path = path
        self._raw = {entry["id"]: base64.b64decode(entry["key"]) for entry in keys}
        self._newest = {entry["purpose"]: entry["id"] for entry in keys}
        self._signing = [entry["id"] for entry in keys if entry["purpose"] == "log"]

    @classmethod
    def open(cls, path: Path) -> "KeyRing":
        """The ring in `path`, made with fresh keys when there is none (two first starts at once agree on one).

        Raises `KeyRingDamaged`, and `OSError` when it cannot be read or made."""
        if not path.exists():
            _create(path)
        try:
            ring = cls(path, json.loads(path.read_bytes())["keys"])
            if ring._newest.keys() >= set(_PURPOSES) and not ring._newest.keys() >= set(_ADDED):
                with contextlib.suppress(OSError):  # no room, or not ours to write: `log_seeds` says so when asked
                    ring = cls(path, _complete(path))
        except (ValueError, TypeError, KeyError) as error:
            raise KeyRingDamaged(path=str(path), reason=f"{type(error).__name__} in its JSON") from None
        if not ring._newest.keys() >= set(_PURPOSES) or any(len(key) != _KEY_BYTES for key in ring._raw.values()):
            raise KeyRingDamaged(path=str(path), reason="keys are missing or cut short")
        return ring

    def seal(self, value: str, context: str) -> bytes:
        """`value` sealed for `context` (a place such as ``version/v-…/API_KEY``)."""
        key_id = self._newest["seal"]
        nonce = os.urandom(12)
        sealed = AESGCM(self._raw[key_id]).encrypt(nonce, value.encode(), context.encode())
        return bytes([_FORM, len(key_id)]) + key_id.encode() + nonce + sealed

    def unseal(self, sealed: bytes, context: str) -> str:
        """The value that was sealed for `context`. Raises `Unsealable`."""
        key_id = "?"
        try:
            form, length = sealed[:2]
            end = 2 + length
            key_id = sealed[2:end].decode()
            if form != _FORM:
                raise ValueError
            plain = AESGCM(self._raw[key_id]).decrypt(sealed[end : end + 12], sealed[end + 12 :], context.encode())
        except (InvalidTag, KeyError, ValueError):
            raise Unsealable(name=context, key_id=key_id, path=str(self.path)) from None
        return plain.decode()

    def fingerprint(self, value: str) -> str:
        """A keyed hash (64 hex digits) that tells whether two secrets are the same, and nothing else."""
        return hmac.digest(self._raw[self._newest["fingerprint"]], value.encode(), "sha256").hex()

    def lookup(self, value: str) -> bytes:
        """The keyed hash (32 bytes) under which an app key or a token is stored."""
        return hmac.digest(self.lookup_key, value.encode(), "sha256")

    @property
    def lookup_key(self) -> bytes:
        """The key of `lookup`, for the gateway's request path."""
        return self._raw[self._newest["lookup"]]

    @property
    def log_seeds(self) -> list[bytes]:
        """The seeds of the Ed25519 keys that sign the audit log's checkpoints, oldest first; the last one signs.

        Raises `KeyRingDamaged` when there is none, because the ring could not be written to."""
        if not self._signing:
            raise KeyRingDamaged(path=str(self.path), reason="it has no key of the audit log, and none can be added")
        return [self._raw[id] for id in self._signing]


def _fresh(purposes: Sequence[str]) -> list[dict[str, str]]:
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


def _complete(path: Path) -> list[dict[str, str]]:
    """The keys of the ring in `path`, those of newer purposes added to it. Whoever is second finds them there."""
    while True:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_ino != path.stat().st_ino:
                continue  # another one has replaced it meanwhile
            keys: list[dict[str, str]] = json.loads(file.read())["keys"]
            held = {entry["purpose"] for entry in keys}
            if missing := [purpose for purpose in _ADDED if purpose not in held]:
                keys += _fresh(missing)
                with _written(path, keys) as scratch:
                    scratch.replace(path)
            return keys


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A link fails where another first start was quicker: then its ring counts.
    with _written(path, _fresh((*_PURPOSES, *_ADDED))) as scratch, contextlib.suppress(FileExistsError):
        os.link(scratch, path)


@contextlib.contextmanager
def _written(path: Path, keys: list[dict[str, str]]) -> Iterator[Path]:
    """A file beside `path` with `keys` in it, safe on the disk, to be put in its place."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            json.dump({"keys": keys}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        yield scratch
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    finally:
        scratch.unlink(missing_ok=True)
