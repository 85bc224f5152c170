"""The `file` listener: ``current_version.txt`` holds the version that is live, ``versions.log`` a line for each move,
for scripts that read them.

A line is ``version time direction operation workflow/channel@generation key``, its fields without spaces. Lines that
somebody wrote by hand, with a version and nothing else, are left as they are."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Final
from urllib.parse import quote

from lastgood.catalogue import Listener
from lastgood.dsl.mask import Mask
from lastgood.files import settle
from lastgood.release.listeners import template
from lastgood.release.listeners.answer import Answer
from lastgood.release.means import Notice

CURRENT: Final = "current_version.txt"
LOG: Final = "versions.log"
_LOOK: Final = 0.02
_FIELDS: Final = 6


def tell(listener: Listener, notice: Notice, until: float, mask: Mask) -> Answer:
    """Note the move in the listener's directory. Raises `OSError`, and `TimeoutError` where another process holds the
    directory for too long."""
    folder = Path(template.path(listener.directory, template.values(notice))).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, until):
        return _note(folder, notice)


def flaw(listener: Listener) -> str:
    """What its declaration lacks."""
    template.names(listener.directory)
    if not listener.directory:
        return "it has no directory"
    return "" if Path(listener.directory).expanduser().is_absolute() else "its directory is not an absolute path"


def _note(folder: Path, notice: Notice) -> Answer:
    """Add the move to the log unless its key is there already, then let the current version be the log's last.

    In this order, so that the version a script reads as current always stands in the log."""
    log = _text(folder / LOG)
    lines = [line.split() for line in log.splitlines() if line.strip()]
    if _word(notice.key) not in (fields[-1] for fields in lines if len(fields) == _FIELDS):
        newer = max((_generation(fields, notice) for fields in lines), default=0)
        if newer > notice.generation:
            return Answer("skipped", f"{folder / LOG} has a newer move already (generation {newer})")
        line = _line(notice)
        _replace(folder / LOG, log + ("\n" if log and not log.endswith("\n") else "") + line)
        lines.append(line.split())
    current = lines[-1][0]
    if _text(folder / CURRENT) != current + "\n":
        _replace(folder / CURRENT, current + "\n")
    return Answer("acknowledged", f"{folder / CURRENT} says {current}")


def _line(notice: Notice) -> str:
    fields = (
        notice.to_version,
        datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        notice.direction,
        notice.operation,
        f"{_place(notice)}@{notice.generation}",
        notice.key,
    )
    return " ".join(map(_word, fields)) + "\n"


def _word(field: str) -> str:
    """`field` without spaces."""
    return quote(field, safe="/:@.,;+=~!$()") or "-"


def _place(notice: Notice) -> str:
    return f"{notice.workflow}/{notice.channel}"


def _generation(fields: list[str], notice: Notice) -> int:
    """The generation that a line of the log speaks of, 0 where it is of another channel or written by hand."""
    if len(fields) != _FIELDS:
        return 0
    place, _, number = fields[4].rpartition("@")
    return int(number) if place == _word(_place(notice)) and number.isdecimal() else 0


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return ""


def _replace(file: Path, text: str) -> None:
    """Write `file` so that a reader, or a crash, or a full disk finds the old text or the new one, whole."""
    file = file.resolve()  # a link stays one
    scratch = file.with_name(f".{file.name}.new")  # one name, held by the lock: a crash leaves no more than one
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    try:
        with os.fdopen(handle, "wb") as opened:
            _as_before(handle, file)
            opened.write(text.encode(errors="surrogateescape"))
            opened.flush()
            os.fsync(handle)
        scratch.replace(file)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    settle(file.parent)


def _as_before(handle: int, file: Path) -> None:
    """Give the new file the mode and, where we may, the owner of the old one: scripts of others write to it too."""
    try:
        before = file.stat()
    except FileNotFoundError:
        return
    os.fchmod(handle, before.st_mode & 0o777)
    with suppress(PermissionError):
        os.fchown(handle, before.st_uid, before.st_gid)


@contextmanager
def _locked(folder: Path, until: float) -> Iterator[None]:
    """Hold the directory against other processes of ours."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if monotonic() >= until:
                    raise TimeoutError(f"another process holds {folder}") from None
                sleep(_LOOK)
        yield
    finally:
        os.close(handle)
