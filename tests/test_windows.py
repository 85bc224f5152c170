"""Windows of time, also over the days on which clocks jump."""

from datetime import UTC, datetime

import pytest

from lastgood.windows import joined, read

BERLIN = (
    "Europe/Berlin"  # its clocks jump on 2027-03-28 01:00Z (02:00 to 03:00) and 2026-10-25 01:00Z (03:00 to 02:00)
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}Z")


@pytest.mark.parametrize(
    ("begin", "end", "zone", "now", "until"),
    [
        ("2026-12-20T00:00Z", "2027-01-04T00:00Z", "UTC", "2026-12-19T23:59:59", None),
        ("2026-12-20T00:00Z", "2027-01-04T00:00Z", "UTC", "2026-12-20T00:00", "2027-01-04T00:00"),
        ("2026-12-20T00:00Z", "2027-01-04T00:00Z", "UTC", "2027-01-04T00:00", None),
        ("2026-12-20", "2027-01-04", BERLIN, "2026-12-19T23:00", "2027-01-03T23:00"),
        ("fri 16:00", "mon 08:00", BERLIN, "2026-11-27T14:59:59", None),
        ("fri 16:00", "mon 08:00", BERLIN, "2026-11-27T15:00", "2026-11-30T07:00"),
        ("Fri 16:00", "Mon 08:00", BERLIN, "2026-11-30T06:59:59", "2026-11-30T07:00"),
        ("fri 16:00", "mon 08:00", BERLIN, "2026-11-30T07:00", None),
        ("fri 16:00", "mon 08:00", BERLIN, "2027-03-28T12:00", "2027-03-29T06:00"),  # the clocks jumped in it
        ("mon 08:00", "mon 07:00", "UTC", "2026-12-07T06:59", "2026-12-07T07:00"),  # all of a week but an hour
        ("mon 08:00", "mon 07:00", "UTC", "2026-12-07T07:30", None),
        ("22:00", "06:00", "UTC", "2026-12-01T05:59", "2026-12-01T06:00"),
        ("22:00", "06:00", "UTC", "2026-12-01T06:00", None),
        ("09:00", "17:00", "America/New_York", "2026-12-01T14:00", "2026-12-01T22:00"),
        ("02:30", "04:00", BERLIN, "2027-03-28T00:59", None),  # 02:30 is left out: from the jump on
        ("02:30", "04:00", BERLIN, "2027-03-28T01:00", "2027-03-28T02:00"),
        ("02:30", "04:00", BERLIN, "2026-10-25T00:30", "2026-10-25T03:00"),  # 02:30 comes twice: from the first
        ("01:00", "02:30", BERLIN, "2026-10-25T01:29", "2026-10-25T01:30"),  # and to the second
        ("01:00", "02:30", BERLIN, "2026-10-25T01:30", None),
        ("2027-03-28T02:30", "2027-03-28T04:00", BERLIN, "2027-03-28T01:00", "2027-03-28T02:00"),  # moments too
        ("2027-03-28T00:00", "2027-03-28T02:30", BERLIN, "2027-03-28T00:59", "2027-03-28T01:00"),
        ("2026-10-25T02:30", "2026-10-25T02:30:30", BERLIN, "2026-10-25T00:30", "2026-10-25T01:30:30"),
    ],
)
def test_until(begin: str, end: str, zone: str, now: str, until: str | None) -> None:
    assert read(begin, end, zone).until(at(now)) == (at(until) if until else None)


def test_a_window_that_begins_in_another_goes_on() -> None:
    windows = [read("fri 16:00", "mon 08:00", "UTC"), read("2026-11-30T07:00Z", "2026-12-01T00:00Z", "UTC")]
    assert joined(windows, at("2026-11-28T00:00")) == at("2026-12-01T00:00")
    assert joined(windows, at("2026-12-01T00:00")) is None


def test_every_day_and_night_is_for_a_long_time() -> None:
    windows = [read("06:00", "22:00", "UTC"), read("22:00", "06:00", "UTC")]
    until = joined(windows, datetime(2026, 11, 30, tzinfo=UTC))
    assert until is not None and (until - datetime(2026, 11, 30, tzinfo=UTC)).days >= 30


@pytest.mark.parametrize(
    ("begin", "end", "zone", "reason"),
    [
        ("2026-12-20T00:00Z", "mon 08:00", "UTC", "of two kinds"),
        ("fri 16:00", "08:00", "UTC", "of two kinds"),
        ("2027-01-04T00:00Z", "2026-12-20T00:00Z", "UTC", "does not come after"),
        ("22:00", "22:00", "UTC", "both 22:00"),
        ("25:00", "08:00", "UTC", "'25:00' is no time"),
        ("friday", "monday", "UTC", "'friday' is no time"),
        ("22:00", "06:00", "Mars/Base", "not a time zone"),
        ("22:00", "06:00", "../etc/passwd", "not a time zone"),
    ],
)
def test_what_is_no_window_is_refused(begin: str, end: str, zone: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(begin, end, zone)
