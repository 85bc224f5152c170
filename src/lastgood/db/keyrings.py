"""Where a key ring comes from: a 0600 file in the data directory, the variable `LASTGOOD_KEYRING`, or what another
package offers under the entry point group ``lastgood.keyrings``.

The text is ``{"keys": [entry, …]}``; in the variable it is base64 of that."""

import base64
import binascii
import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from lastgood.db.ring import ADDED, PURPOSES, Entry, KeyRing, Source, fresh
from lastgood.errors import InvalidSetting, RingReadOnly
from lastgood.files import settle
from lastgood.settings import Settings

GROUP: Final = "lastgood.keyrings"
VARIABLE: Final = "LASTGOOD_KEYRING"
_FILE: Final = "keyring.json"


class File:
    """A ring in a file for its owner only, made with fresh keys where there is none at the first look: one that is
    away later is missed, and no other takes its place. What it held before the last change lies beside it, with
    ``.bak`` after its name."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._seen = False

    def read(self) -> list[Entry]:
        if not self._seen and not self._path.exists():
            self._create()
        found = _entries(self._path.read_bytes())
        self._seen = True
        return found

    def problem(self) -> str:
        mode = stat.S_IMODE(self._path.stat().st_mode)
        if mode & 0o077:
            return f"others may read it (mode {mode:o}), so a new key would be no secret; chmod 600 it first"
        return ""

    def change(self, before: Sequence[Entry], after: Sequence[Entry]) -> bool:
        while True:
            with self._path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file.fileno()).st_ino != self._path.stat().st_ino:
                    continue  # another one has replaced it meanwhile
                held = file.read()
                if _entries(held) != list(before):
                    return False
                self._replace(self._path.with_name(f"{self._path.name}.bak"), held)
                self._replace(self._path, _text(after))
                return True

    def _create(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = self._written(self._path, _text(fresh((*PURPOSES, *ADDED))))
        try:
            with contextlib.suppress(FileExistsError):  # another first start was quicker: its ring counts
                os.link(scratch, self._path)
            settle(self._path.parent)
        finally:
            scratch.unlink(missing_ok=True)

    def _replace(self, path: Path, text: bytes) -> None:
        """Put `text` in the place of `path`, whole or not at all."""
        scratch = self._written(path, text)
        try:
            scratch.replace(path)
            settle(path.parent)
        finally:
            scratch.unlink(missing_ok=True)

    def _written(self, path: Path, text: bytes) -> Path:
        scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
        return scratch


class Variable:
    """A ring in a variable of the surroundings, which nothing here can change."""

    name = VARIABLE

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self) -> list[Entry]:
        try:
            return _entries(base64.b64decode(self._text, validate=True))
        except binascii.Error:
            raise ValueError("base64") from None

    def problem(self) -> str:
        return (
            "a variable cannot be changed from here; add the entry that `lastgood ring key` prints to its JSON, "
            "start every process with that, and run this again, which wraps the data keys under it"
        )

    def change(self, before: Sequence[Entry], after: Sequence[Entry]) -> bool:
        raise RingReadOnly(path=self.name, reason=self.problem())


def open_ring(settings: Settings) -> KeyRing:
    """The ring that `settings` name. Raises `KeyRingDamaged`, `InvalidSetting`, and `OSError` when a file cannot be
    read or made."""
    return KeyRing(_source(settings))


def _source(settings: Settings) -> Source:
    if settings.keyring:
        return Variable(settings.keyring)
    if not settings.keyring_from:
        return File(settings.home / _FILE)
    found = entry_points(group=GROUP, name=settings.keyring_from)
    if not found:
        known = ", ".join(sorted(entry_points(group=GROUP).names)) or "none"
        raise InvalidSetting(
            name="keyring_from",
            value=settings.keyring_from,
            reason=f"no installed package offers it under {GROUP} (offered: {known})",
        )
    made: Source = next(iter(found)).load()(settings)
    return made


def _entries(text: bytes) -> list[Entry]:
    found: list[Entry] = json.loads(text)["keys"]
    return [dict(entry) for entry in found]


def _text(entries: Sequence[Entry]) -> bytes:
    return json.dumps({"keys": list(entries)}, indent=1).encode()
