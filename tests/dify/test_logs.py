"""How far a log of runs was read, as a pure matter of its entries."""

import pytest

from lastgood.db.tx import parse_time
from lastgood.targets.dify.logs import Entry, Mark


def entry(id: str, at: str, status: str = "succeeded", label: str = "v") -> Entry:
    return Entry(id, label, "app-run", status, 0.1, parse_time(f"2026-11-23T{at}Z"))


@pytest.mark.parametrize(
    ("first", "second", "counted"),
    [
        # the same second twice; written late, within what is read again; a run that ends later
        ([entry("a", "10:00:00")], [entry("a", "10:00:00"), entry("b", "10:00:00")], {"b"}),
        ([entry("a", "10:01:00")], [entry("a", "10:01:00"), entry("late", "10:00:40")], {"late"}),
        ([entry("a", "10:05:00"), entry("r", "10:00:00", "running")], [entry("r", "10:00:00")], {"r"}),
        ([entry("a", "10:05:00"), entry("n", "10:00:00", label="new")], [entry("n", "10:00:00")], {"n"}),
        # a run that never ends holds nothing back for long
        ([entry("a", "12:00:00"), entry("r", "10:00:00", "running")], [entry("r", "10:00:00")], set()),
    ],
)
def test_how_far_a_log_was_read(first: list[Entry], second: list[Entry], counted: set[str]) -> None:
    mark = Mark(None, frozenset()).after(first, {"v"})
    assert {one.id for one in second if mark.is_new(one)} == counted
    assert Mark.of({"logs": mark.as_data()}) == mark
