"""The forms of the ids that people see, and the order of the ones that carry a day.

| thing     | form                                   | example            |
|-----------|----------------------------------------|--------------------|
| workflow  | ``wf-`` + 6..12 of ``a-z0-9``          | wf-abc123          |
| version   | ``v-YYYYMMDD-NN`` (UTC day, number)    | v-20240401-01      |
| snapshot  | ``snap_YYYYMMDD_vN``                   | snap_20241005_v1   |
| slug      | lower-case words joined by ``-``       | prod-invoice       |
"""

import re
import secrets
from datetime import UTC, datetime

from lastgood.errors import InvalidId

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_WORKFLOW = re.compile(r"wf-[a-z0-9]{6,12}")
_VERSION = re.compile(r"v-([0-9]{8})-([0-9]{2,9})")
_SNAPSHOT = re.compile(r"snap_([0-9]{8})_v([1-9][0-9]{0,8})")
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_CHANNEL = _SLUG


def random_id(prefix: str, length: int = 10) -> str:
    """A new id such as ``wf-k3x9…``: `prefix` and `length` random characters of ``a-z0-9``."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


def day_of(at: datetime) -> str:
    """The UTC day of `at` (aware) as ``YYYYMMDD``."""
    return at.astimezone(UTC).strftime("%Y%m%d")


def version_id(day: str, number: int) -> str:
    """``v-20240401-01``; numbers above 99 simply grow (``v-20240401-100``)."""
    return f"v-{day}-{number:02d}"


def snapshot_id(day: str, number: int) -> str:
    """``snap_20241005_v1``."""
    return f"snap_{day}_v{number}"


def split_version(value: str) -> tuple[str, int]:
    """The (day, number) of a version id, an order that text sorting does not give. Raises `InvalidId`."""
    match = _VERSION.fullmatch(value)
    if match is None or not _real_day(match[1]):
        raise InvalidId(kind="version", value=value, example="v-20240401-01")
    return match[1], int(match[2])


def check_workflow(value: str) -> str:
    """`value` if it is a workflow id, else `InvalidId`."""
    if not _WORKFLOW.fullmatch(value):
        raise InvalidId(kind="workflow", value=value, example="wf-abc123")
    return value


def check_slug(value: str) -> str:
    """`value` if it can name a workflow, else `InvalidId`. Ids of other things are refused, so that a name is
    never read as one."""
    if not _SLUG.fullmatch(value) or is_workflow(value) or _VERSION.fullmatch(value) or is_snapshot(value):
        raise InvalidId(kind="workflow name (slug)", value=value, example="prod-invoice")
    return value


def check_channel(value: str) -> str:
    """`value` if it can name a channel, else `InvalidId`."""
    if not _CHANNEL.fullmatch(value):
        raise InvalidId(kind="channel", value=value, example="live")
    return value


def is_workflow(value: str) -> bool:
    """Whether `value` has the form of a workflow id (as against a slug)."""
    return _WORKFLOW.fullmatch(value) is not None


def is_version(value: str) -> bool:
    """Whether `value` has the form of a version id."""
    return _VERSION.fullmatch(value) is not None


def is_snapshot(value: str) -> bool:
    """Whether `value` has the form of a snapshot id."""
    return _SNAPSHOT.fullmatch(value) is not None


def slugify(name: str) -> str:
    """A slug made of a title (`Invoice Intake!` → `invoice-intake`); ``""`` for a title that ASCII cannot tell from
    others (a Chinese one), so that two apps never fall on one name."""
    if any(c.isalnum() and not c.isascii() for c in name):
        return ""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")
    return "" if is_workflow(slug) or is_version(slug) else slug


def _real_day(day: str) -> bool:
    try:
        datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    return True
