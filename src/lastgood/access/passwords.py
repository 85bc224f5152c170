"""Passwords of people: Argon2id, as RFC 9106 recommends where memory is not plenty (3 passes over 64 MiB, 4 lanes).

A hash says by itself what it was made with, so one made with less is replaced at the next sign-in."""

import threading
import unicodedata

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from lastgood.errors import InvalidRequest, Unavailable

LEAST = 12
MOST = 1024
_PASSES, _KIB, _LANES = 3, 65536, 4
_AT_ONCE = 2  # each takes 64 MiB: many at once would take the memory of the machine
_WAIT_SECONDS = 5.0

_hasher = PasswordHasher(time_cost=_PASSES, memory_cost=_KIB, parallelism=_LANES, type=Type.ID)
_places = threading.BoundedSemaphore(_AT_ONCE)

# What the password of an unknown name is held against, so that it takes as long: of random bytes nobody kept.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$M31GQ0uqkxmjb9lElst14A$gsW6HCQDvPuGAQJvpgjp6m2UaDE2gD7QQ3jVba8JcKE"


def check_new(password: str, name: str = "") -> None:
    """Raises `InvalidRequest` for a password that is too short, too long, or the person's own `name`."""
    if len(password) < LEAST:
        raise InvalidRequest(where="password", reason=f"it needs at least {LEAST} characters; several words do well")
    if len(password.encode("utf-8", "surrogatepass")) > MOST:
        raise InvalidRequest(where="password", reason=f"it is longer than {MOST} bytes")
    if password.casefold() == name.casefold() or len(set(password)) < 4:
        raise InvalidRequest(where="password", reason="it is too easy to guess")
    try:
        password.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(where="password", reason="it holds half a character") from None


def hashed(password: str) -> str:
    """The hash to keep of `password` (PHC form). Takes about 50 ms: call it outside a transaction."""
    with _Place():
        return _hasher.hash(_form(password))


def matches(kept: str | None, password: str) -> bool:
    """Whether `password` is the one that `kept` was made of. For None (nobody of that name, or no password) the
    answer is no, after the same work. Raises `Unavailable` when too many ask at once."""
    with _Place():
        try:
            good = _hasher.verify(kept or _NOBODY, _form(password))
        except (VerificationError, InvalidHashError):
            return False
    return good and kept is not None


def is_old(kept: str) -> bool:
    """Whether `kept` was made with other parameters than new hashes are."""
    return _hasher.check_needs_rehash(kept)


def _form(password: str) -> str:
    # One keyboard writes é as one character, another as two.
    return unicodedata.normalize("NFC", password.encode("utf-8", "replace").decode()[: MOST * 2])


class _Place:
    """One of the few that may hash at a time."""

    def __enter__(self) -> None:
        if not _places.acquire(timeout=_WAIT_SECONDS):
            raise Unavailable(detail="Too many sign-ins at once. Try again in a few seconds.")

    def __exit__(self, *_: object) -> None:
        _places.release()
