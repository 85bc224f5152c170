"""The key ring: the keys that seal secrets and make keyed hashes, in one 0600 file.

Form of the file: ``{"keys": [{"id", "purpose", "key" (base64, 32 bytes), "created_at"}]}``. Purposes: ``seal``
(AES-256-GCM), ``fingerprint`` (HMAC-SHA256 of secret values, to compare and never to show), ``lookup``
(HMAC-SHA256 of app keys and tokens). The newest key of a purpose is used to write; older ones still open.

Form of sealed bytes: ``0x01``, length of the key id, the key id, a nonce of 12 bytes, ciphertext and tag; the
associated data is the caller's context, so that a sealed value moved to another place does not open."""

import base64
import hmac
import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lastgood.errors import KeyRingDamaged, Unsealable

_PURPOSES = ("seal", "fingerprint", "lookup")
_FORM = 1
_KEY_BYTES = 32


class KeyRing:
    """An opened key ring file. `path` is only named in errors."""

    def __init__(self, path: Path, keys: list[dict[str, str]]) -> None:
        self.path = path
        self._raw = {entry["id"]: base64.b64decode(entry["key"]) for entry in keys}
        self._newest = {entry["purpose"]: entry["id"] for entry in keys}

    @classmethod
    def open(cls, path: Path) -> "KeyRing":
        """The ring in `path`, made with fresh keys when there is none (two first starts at once agree on one).

        Raises `KeyRingDamaged`, and `OSError` when it cannot be read or made."""
        if not path.exists():
            _create(path)
        try:
            ring = cls(path, json.loads(path.read_bytes())["keys"])
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


def _create(path: Path) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    keys = [
        {
            "id": f"{purpose[0]}{secrets.token_hex(4)}",
            "purpose": purpose,
            "key": base64.b64encode(os.urandom(_KEY_BYTES)).decode(),
            "created_at": now,
        }
        for purpose in _PURPOSES
    ]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            json.dump({"keys": keys}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(scratch, path)  # fails where another first start was quicker: then its ring counts
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    finally:
        scratch.unlink(missing_ok=True)
