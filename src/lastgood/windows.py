"""Windows of time as people write them: from one moment to another, every week, or every day, on some zone's clocks.

| from             | to               |                                              |
|------------------|------------------|----------------------------------------------|
| ``2026-12-20T00:00Z`` | ``2027-01-04T00:00Z`` | once; without an offset on the clocks of `zone` |
| ``fri 16:00``    | ``mon 08:00``    | every week                                   |
| ``22:00``        | ``06:00``        | every day                                    |

Clocks that jump make no hole: where a time comes twice, a window begins at its first and ends at its second; where a
time is left out, the moment counts at which the clocks jump over it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME: Final = re.compile(r"(?:(mon|tue|wed|thu|fri|sat|sun) )?([01][0-9]|2[0-3]):([0-5][0-9])")
_FORMS: Final = "write 2026-12-20T00:00Z, or 'fri 16:00' for every week, or '22:00' for every day"
_WEEK: Final = 7
_MOST_JOINED: Final = 64  # windows that begin before another ends: who writes more means for ever


@dataclass(frozen=True, slots=True)
class _Clock:
    """A time of day, of one weekday (0 is Monday) or of each (None)."""

    weekday: int | None
    at: time


@dataclass(frozen=True, slots=True)
class Window:
    """A window that was read; made by `read`."""

    begin: datetime | _Clock
    end: datetime | _Clock
    zone: str

    def until(self, now: datetime) -> datetime | None:
        """When the window that `now` (aware) lies in ends, None where it lies in none. The beginning belongs to a
        window, the end does not."""
        return max((end for begin, end in self._near(now) if begin <= now < end), default=None)

    def _near(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The windows that `now` may lie in, in UTC."""
        if isinstance(self.begin, datetime) or isinstance(self.end, datetime):
            assert isinstance(self.begin, datetime) and isinstance(self.end, datetime)  # noqa: S101 - `read` says so
            yield self.begin, self.end
            return
        zone = ZoneInfo(self.zone)
        today = now.astimezone(zone).date()
        for back in range(-1, _WEEK + 2):
            day = today - timedelta(days=back)
            if self.begin.weekday is not None and day.weekday() != self.begin.weekday:
                continue
            yield _moment(day, self.begin.at, zone, fold=0), _moment(self._last(day), self.end.at, zone, fold=1)

    def _last(self, day: date) -> date:
        """The day on which the window ends that begins on `day`."""
        assert isinstance(self.begin, _Clock) and isinstance(self.end, _Clock)  # noqa: S101 - `_near` asked
        later = self.end.at > self.begin.at
        if self.begin.weekday is None or self.end.weekday is None:
            return day + timedelta(days=0 if later else 1)
        days = (self.end.weekday - self.begin.weekday) % _WEEK
        return day + timedelta(days=days if days or later else _WEEK)


def read(begin: str | datetime, end: str | datetime, zone: str) -> Window:
    """The window from `begin` to `end`. Raises `ValueError` with a sentence."""
    try:
        clocks = ZoneInfo(zone)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"{zone!r} is not a time zone such as Europe/Berlin") from None
    first, last = _read(begin, clocks, fold=0), _read(end, clocks, fold=1)
    if isinstance(first, datetime) != isinstance(last, datetime) or (
        isinstance(first, _Clock) and isinstance(last, _Clock) and (first.weekday is None) != (last.weekday is None)
    ):
        raise ValueError(f"from {begin} and to {end} are of two kinds; {_FORMS}")
    if isinstance(first, datetime) and isinstance(last, datetime) and last <= first:
        raise ValueError(f"to {end} does not come after from {begin}")
    if first == last:
        raise ValueError(f"from and to are both {begin}")
    return Window(first, last, zone)


def joined(windows: list[Window], now: datetime) -> datetime | None:
    """When the time in `windows` that `now` lies in is over, going on where one ends inside another; None where it
    lies in none."""
    until: datetime | None = None
    for _ in range(_MOST_JOINED):
        further = max((end for one in windows if (end := one.until(until or now))), default=None)
        if further is None:
            return until
        until = further
    return until


def _read(value: str | datetime, zone: ZoneInfo, *, fold: int) -> datetime | _Clock:
    if isinstance(value, str):
        if found := _TIME.fullmatch(value.strip().lower()):
            weekday = _DAYS.index(found[1]) if found[1] else None
            return _Clock(weekday, time(int(found[2]), int(found[3])))
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(f"{value!r} is no time; {_FORMS}") from None
    return value.astimezone(UTC) if value.tzinfo else _moment(value.date(), value.time(), zone, fold=fold)


def _moment(day: date, at: time, zone: ZoneInfo, *, fold: int) -> datetime:
    """`at` on `day` in UTC. Where the clocks jump over it, the moment of the jump."""
    local = datetime.combine(day, at, zone).replace(fold=fold)
    moment = local.astimezone(UTC)
    back = moment.astimezone(zone)
    if back.replace(tzinfo=None) == local.replace(tzinfo=None):
        return moment
    before, after = (local.replace(fold=one).utcoffset() for one in (0, 1))
    assert before is not None and after is not None  # noqa: S101 - the zone has an offset at every moment
    first = local.replace(tzinfo=UTC) - max(before, after)
    last = local.replace(tzinfo=UTC) - min(before, after)
    while last - first > timedelta(minutes=1):
        middle = first + (last - first) / 2
        if middle.astimezone(zone).utcoffset() == first.astimezone(zone).utcoffset():
            first = middle
        else:
            last = middle
    return last.replace(second=0, microsecond=0)
