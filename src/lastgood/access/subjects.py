"""The names by which grants call those who act."""

import re
from typing import Final

from lastgood.access import people
from lastgood.db.audit import Principal
from lastgood.errors import InvalidRequest

LOCAL: Final = "local"
_KINDS: Final = ("token", "service")
_NAME = re.compile(r"[^\s:\x00-\x1f\x7f*?][^\s:\x00-\x1f\x7f*?]{0,190}")


def check_subject(subject: str) -> str:
    """`subject` in its one written form, if it can be one: a person's name (``u1002``), ``token:ci``,
    ``service:jobs``, ``local``. Raises `InvalidRequest`."""
    if subject == LOCAL:
        return subject
    kind, colon, name = subject.rpartition(":")
    if not colon:
        return people.check_name(subject)
    if kind not in _KINDS or not _NAME.fullmatch(name) or not name.isprintable():
        reason = f"{subject!r} names nobody; write a person's name, token:NAME, service:NAME or local"
        raise InvalidRequest(where="subject", reason=reason)
    return subject


def principal_of(subject: str) -> Principal:
    """Whom `subject` names, as far as grants go."""
    if subject == LOCAL:
        return Principal(LOCAL, LOCAL)
    kind, colon, name = subject.partition(":")
    return Principal(name, kind) if colon else Principal(subject)
