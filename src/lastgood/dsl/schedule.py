"""When a schedule trigger fires: Dify's two ways to say it, read as one cron expression in a time zone."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final
from zoneinfo import ZoneInfo

from croniter import croniter

from lastgood.dsl.index import mapping, text

_DAYS: Final = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_CLOCK: Final = re.compile(r"\s*(1[0-2]|0?[1-9]):([0-5][0-9])\s*([AaPp])[Mm]\s*")
_WORDS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_BY_CHANCE: Final = re.compile(r"[rh](\(.*)?(/.*)?", re.IGNORECASE)
_FIELDS: Final = 5
_ANY_DAY: Final = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Schedule:
    """A cron expression and the IANA time zone whose clocks it is read on. `problem` says why it never fires, ``""``
    where it does."""

    cron: str
    timezone: str
    problem: str = ""

    def slots(self, after: datetime) -> Iterator[datetime]:
        """The times (UTC, whole minutes) at which it fires after `after` (aware), without end.

        Where clocks are put forward, what falls into the gap comes right after it. Where they are put back, an hour
        comes twice, and an expression that names its hours fires in the first one only; one for every hour goes on
        by the clock, as cron does. (Dify itself fires twice then.)"""
        if self.problem:
            return
        found = croniter(self.cron, after.astimezone(self._zone))
        while True:
            at: datetime = found.get_next(datetime)
            if not (at.fold and self._names_hours):
                yield at.astimezone(UTC)

    def next(self, after: datetime) -> datetime | None:
        """The first of `slots`, None where it never fires."""
        return next(self.slots(after), None)

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def _names_hours(self) -> bool:
        return not self.cron.split()[1].startswith("*")


def read(data: Mapping[str, Any]) -> Schedule:
    """The schedule that the data of a `trigger-schedule` node declares, with its problem where it has one."""
    zone = text(data.get("timezone")).strip() or "UTC"
    try:
        cron = _expression(data)
    except _Unclear as unclear:
        return Schedule("", zone, str(unclear))
    try:
        ZoneInfo(zone)
    except (ValueError, KeyError, OSError):  # an OSError: the name of a folder of zones
        return Schedule(cron, zone, f"{zone!r} is not a time zone")
    try:
        Schedule(cron, zone).next(_ANY_DAY)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):  # croniter's own errors are ValueErrors
        return Schedule(cron, zone, f"the cron expression {cron!r} names no time")
    return Schedule(cron, zone)


class _Unclear(Exception):
    """What the node lacks."""


def _expression(data: Mapping[str, Any]) -> str:
    if data.get("mode") == "cron":
        return _checked(text(data.get("cron_expression")).strip())
    visual, frequency = mapping(data.get("visual_config")), text(data.get("frequency"))
    if frequency == "hourly":
        return f"{_minute(visual)} * * * *"
    if frequency not in ("daily", "weekly", "monthly"):
        raise _Unclear(f"it has no frequency ({frequency or 'nothing'} is none)")
    minute, hour = _time(visual)
    if frequency == "weekly":
        return f"{minute} {hour} * * {_weekdays(visual)}"
    return f"{minute} {hour} {_monthdays(visual) if frequency == 'monthly' else '*'} * *"


def _checked(cron: str) -> str:
    fields = _WORDS.get(cron.lower(), cron).split()
    if not fields:
        raise _Unclear("it has no cron expression")
    if len(fields) != _FIELDS:
        raise _Unclear(f"its cron expression has {len(fields)} parts, and five are needed")
    if any(_BY_CHANCE.fullmatch(field) for field in fields):
        raise _Unclear("its cron expression asks for a time by chance, which would be another at every look")
    return " ".join(fields)


def _minute(visual: Mapping[str, Any]) -> int:
    minute = visual.get("on_minute")
    if not isinstance(minute, int) or isinstance(minute, bool) or not 0 <= minute <= 59:
        raise _Unclear("it does not say at which minute of the hour")
    return minute


def _time(visual: Mapping[str, Any]) -> tuple[int, int]:
    found = _CLOCK.fullmatch(text(visual.get("time")))
    if found is None:
        raise _Unclear("it does not say at what time of the day (such as 9:30 AM)")
    afternoon = found[3] in "Pp"
    return int(found[2]), int(found[1]) % 12 + 12 * afternoon


def _weekdays(visual: Mapping[str, Any]) -> str:
    named = visual.get("weekdays")
    known = {_DAYS[day] for day in named if isinstance(day, str) and day in _DAYS} if isinstance(named, list) else ()
    if not known:
        raise _Unclear("it names no day of the week")
    return ",".join(map(str, sorted(known)))


def _monthdays(visual: Mapping[str, Any]) -> str:
    named = visual.get("monthly_days")
    days = named if isinstance(named, list) else []
    known = {day for day in days if isinstance(day, int) and not isinstance(day, bool) and 1 <= day <= 31}
    said = [*map(str, sorted(known)), *(["L"] if "last" in days else [])]
    if not said:
        raise _Unclear("it names no day of the month")
    return ",".join(said)
