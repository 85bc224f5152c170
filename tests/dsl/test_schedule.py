"""When schedules fire: Dify's two ways to say it, time zones, days when clocks are changed, and what is unclear."""

from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.dsl.schedule import Schedule, read


def cron(expression: str, timezone: str = "UTC") -> dict[str, Any]:
    return {"mode": "cron", "cron_expression": expression, "timezone": timezone}


def visual(frequency: str, **config: Any) -> dict[str, Any]:
    return {"mode": "visual", "frequency": frequency, "visual_config": config, "timezone": "UTC"}


def local(schedule: Schedule, after: str, number: int) -> list[str]:
    zone = ZoneInfo(schedule.timezone)
    slots = islice(schedule.slots(datetime.fromisoformat(after).replace(tzinfo=zone)), number)
    return [slot.astimezone(zone).strftime("%m-%d %H:%M %Z") for slot in slots]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (visual("hourly", on_minute=15), "15 * * * *"),
        (visual("daily", time="12:00 AM"), "0 0 * * *"),
        (visual("daily", time="12:30 PM"), "30 12 * * *"),
        (visual("daily", time="09:05 pm"), "5 21 * * *"),
        (visual("weekly", time="9:00 AM", weekdays=["wed", "sun", "wed", "someday"]), "0 9 * * 0,3"),
        (visual("monthly", time="9:00 AM", monthly_days=[31, "last", 1, 1, 40]), "0 9 1,31,L * *"),
        (visual("monthly", time="9:00 AM", monthly_days=["last"]), "0 9 L * *"),
        (cron("  0  9 * * 1-5 "), "0 9 * * 1-5"),
        (cron("@weekly"), "0 0 * * 0"),
        (cron("0 9 ? * MON"), "0 9 ? * MON"),
        ({**visual("daily", time="8:00 AM"), "config": {"frequency": "hourly"}}, "0 8 * * *"),
    ],
)
def test_both_ways_to_say_when_are_one_expression(data: dict[str, Any], expected: str) -> None:
    assert (read(data).cron, read(data).problem) == (expected, "")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "no frequency"),
        ({"mode": "cron"}, "no cron expression"),
        (cron("0 9 * *"), "has 4 parts"),
        (cron("0 0 9 * * *"), "has 6 parts"),
        (cron("@reboot"), "has 1 parts"),
        (cron("0 9 30 2 *"), "names no time"),
        (cron("99 9 * * *"), "names no time"),
        (cron("R 9 * * *"), "by chance"),
        (cron("H(0-5) 9 * * *"), "by chance"),
        (cron("0 9 * * *", "Mars/Olympus"), "'Mars/Olympus' is not a time zone"),
        (cron("0 9 * * *", "America"), "'America' is not a time zone"),
        (cron("0 9 * * *", "../../etc/passwd"), "is not a time zone"),
        (visual("yearly"), "yearly is none"),
        (visual("hourly", on_minute=60), "minute of the hour"),
        (visual("hourly", on_minute=True), "minute of the hour"),
        (visual("daily", time="25:00"), "time of the day"),
        (visual("weekly", time="9:00 AM", weekdays=[]), "day of the week"),
        (visual("monthly", time="9:00 AM", monthly_days="last"), "day of the month"),
        ({"mode": "visual", "frequency": "daily", "visual_config": [1]}, "time of the day"),
    ],
)
def test_what_is_unclear_is_said_and_never_fires(data: dict[str, Any], words: str) -> None:
    schedule = read(data)
    assert words in schedule.problem
    assert schedule.next(datetime.now(ZoneInfo("UTC"))) is None


NEW_YORK, HAVANA, HOWE = "America/New_York", "America/Havana", "Australia/Lord_Howe"


@pytest.mark.parametrize(
    ("data", "after", "expected"),
    [
        # Clocks go forward: what falls into the gap comes right after it.
        (cron("30 2 * * *", NEW_YORK), "2026-03-07 12:00", ["03-08 03:00 EDT", "03-09 02:30 EDT"]),
        (cron("30 * * * *", NEW_YORK), "2026-03-08 01:00", ["03-08 01:30 EST", "03-08 03:30 EDT"]),
        # Clocks go back: a named hour counts once, every hour goes by the clock.
        (cron("30 1 * * *", NEW_YORK), "2026-10-31 12:00", ["11-01 01:30 EDT", "11-02 01:30 EST"]),
        (cron("*/30 1 * * *", NEW_YORK), "2026-11-01 01:00", ["11-01 01:30 EDT", "11-02 01:00 EST"]),
        (
            cron("30 * * * *", NEW_YORK),
            "2026-11-01 00:59",
            ["11-01 01:30 EDT", "11-01 01:30 EST", "11-01 02:30 EST"],
        ),
        (cron("@daily", HAVANA), "2026-10-31 12:00", ["11-01 00:00 CDT", "11-02 00:00 CST"]),
        (cron("45 1 * * *", HOWE), "2026-04-04 12:00", ["04-05 01:45 +11", "04-06 01:45 +1030"]),
        # Ends of months, leap days, days of the week.
        (cron("0 9 L * *"), "2027-01-31 10:00", ["02-28 09:00 UTC", "03-31 09:00 UTC"]),
        (cron("0 9 L * *"), "2028-01-31 10:00", ["02-29 09:00 UTC", "03-31 09:00 UTC"]),
        (cron("0 0 29 2 *"), "2026-01-01 00:00", ["02-29 00:00 UTC", "02-29 00:00 UTC"]),
        (cron("0 9 31 * *"), "2026-03-31 09:00", ["05-31 09:00 UTC", "07-31 09:00 UTC"]),
        (
            visual("monthly", time="9:00 AM", monthly_days=[28, "last"]),
            "2027-02-01",
            ["02-28 09:00 UTC", "03-28 09:00 UTC"],
        ),
        (cron("0 9 * * 0,1"), "2026-11-24", ["11-29 09:00 UTC", "11-30 09:00 UTC", "12-06 09:00 UTC"]),
        (cron("0 9 * * 7"), "2026-11-24", ["11-29 09:00 UTC"]),
        # Of a day of the month and a day of the week, one is enough.
        (cron("0 9 13 * 5"), "2026-11-10", ["11-13 09:00 UTC", "11-20 09:00 UTC"]),
        (cron("0 9 * * *", "Asia/Shanghai"), "2026-11-24 09:00", ["11-25 09:00 CST"]),
    ],
)
def test_slots(data: dict[str, Any], after: str, expected: list[str]) -> None:
    assert local(read(data), after, len(expected)) == expected


def test_a_slot_comes_after_the_time_it_is_asked_for() -> None:
    schedule = read(cron("0 9 * * *"))
    nine = datetime(2026, 11, 24, 9, tzinfo=ZoneInfo("UTC"))
    assert schedule.next(nine) == nine + timedelta(days=1)
    assert schedule.next(nine - timedelta(microseconds=1)) == nine


FIELD = st.sampled_from(["*", "0", "*/7", "1,2", "0-3"])


@settings(deadline=None)
@given(
    st.tuples(FIELD, FIELD, st.sampled_from(["*", "1", "L", "*/5"]), st.sampled_from(["*", "2", "10-12"]), FIELD),
    st.sampled_from(["UTC", NEW_YORK, HAVANA, HOWE, "Asia/Kathmandu"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(ZoneInfo("UTC"))),
)
def test_slots_grow_and_are_whole_minutes(fields: tuple[str, ...], zone: str, after: datetime) -> None:
    slots = [after, *islice(read(cron(" ".join(fields), zone)).slots(after), 4)]
    assert all(one < other for one, other in pairwise(slots))
    assert all((slot.second, slot.microsecond) == (0, 0) for slot in slots[1:])


@settings(deadline=None)
@given(st.text(alphabet="0123456789*/,-LW#?@hrdaily ", max_size=14))
def test_no_expression_breaks_the_reader(text: str) -> None:
    schedule = read(cron(text))
    assert (schedule.next(datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC"))) is None) == bool(schedule.problem)
