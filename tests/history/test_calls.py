"""What is read of the calls that were recorded, on both databases."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import IntegrityError

from lastgood.db.runs import call_shape, caller, caller_shape, calls
from lastgood.db.store import open_runs
from lastgood.gateway.ledger import Ledger
from lastgood.gateway.observation import Observed
from lastgood.gateway.tally import Tally
from lastgood.history import calls as records
from lastgood.history.calls import DAY, OTHERS
from lastgood.history.latency import BOUNDS, COLUMNS, bucket, quantile
from lastgood.history.routes import Route
from lastgood.settings import Settings
from support.processes import at_once
from support.stores import clean_settings

FLOW = "wf-abc123"
NOW = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)
ROUTE = Route(FLOW, "s", "workflow", "live", "v-1", 1, "v-1", "engine", (), "key-a")


def call(**changes: Any) -> Observed:
    facts: dict[str, Any] = {
        "workflow_id": FLOW,
        "key_id": "key-a",
        "user_agent": "web/1",
        "channel": "live",
        "version_id": "v-1",
        "generation": 1,
        "pins": False,
        "outcome": "ok",
        "ms": 10.0,
        "inputs": '{"text":"string"}',
        "outputs": '{"total":"number"}',
    }
    return Observed(**{**facts, **changes})


def tally(*timed: tuple[timedelta, Observed]) -> Tally:
    """A tally of calls, each so long before `NOW`."""
    whole = Tally()
    for ago, one in timed:
        whole.add(one, (NOW - ago).timestamp())
    return whole


JUST_NOW = timedelta(seconds=5)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    opened = open_runs(settings)
    yield opened
    opened.dispose()


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    return Ledger(engine)


@pytest.fixture
def read(engine: Engine) -> Callable[..., Any]:
    """Calls a function of `history.calls` on a fresh connection."""

    def run(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with engine.connect() as connection:
            return function(connection, *arguments, **options)

    return run


def rows(engine: Engine, table: Any) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_usage_adds_up_what_several_tallies_hold(ledger: Ledger, read: Callable[..., Any]) -> None:
    for _ in range(2):
        ledger.write(
            tally(
                (JUST_NOW, call(ms=10)),
                (JUST_NOW, call(ms=30)),
                (timedelta(minutes=3), call(ms=20, outcome="error", outputs="")),
                (timedelta(minutes=3), call(ms=1, outcome="refused", outputs="", key_id="key-b")),
                (timedelta(minutes=3), call(ms=5, outcome="unseen")),
                (timedelta(minutes=3), call(ms=500, version_id="v-2")),
                (timedelta(minutes=3), call(ms=7, workflow_id="wf-other")),
            )
        )
    seen = read(records.usage, FLOW, since=NOW - timedelta(hours=1))
    assert (seen.requests, seen.errors, seen.refused, seen.unseen, seen.lost) == (12, 2, 2, 2, 0)
    assert seen.error_rate == pytest.approx(0.2)
    assert seen.mean_ms == pytest.approx((10 + 30 + 20 + 1 + 5 + 500) / 6)
    assert seen.max_ms == 500
    assert (seen.first, seen.last) == ("2026-11-24T11:57:00.000000Z", "2026-11-24T12:00:25.000000Z")
    one = read(records.usage, FLOW, "v-2", since=NOW - timedelta(hours=1))
    assert (one.requests, one.p50_ms, one.p99_ms) == (2, pytest.approx(500, rel=0.2), pytest.approx(500, rel=0.2))
    recent = read(records.usage, FLOW, since=NOW - timedelta(minutes=1))
    assert (recent.requests, recent.errors) == (4, 0)


def test_usage_of_nothing_is_nothing_and_no_rate(read: Callable[..., Any]) -> None:
    seen = read(records.usage, FLOW, since=NOW - timedelta(hours=1))
    assert (seen.requests, seen.error_rate, seen.p50_ms, seen.max_ms, seen.first, seen.last) == (0, *[None] * 5)


def test_only_requests_whose_end_was_seen_make_a_rate(ledger: Ledger, read: Callable[..., Any]) -> None:
    ledger.write(tally((JUST_NOW, call(outcome="unseen"))))
    assert read(records.usage, FLOW, since=NOW - timedelta(hours=1)).error_rate is None


def test_lost_calls_are_told(ledger: Ledger, read: Callable[..., Any]) -> None:
    whole = tally((JUST_NOW, call()))
    whole.lose(ROUTE, 17, NOW.timestamp())
    ledger.write(whole)
    seen = read(records.usage, FLOW, since=NOW - timedelta(hours=1))
    assert (seen.requests, seen.lost) == (1, 17)
    found = read(records.callers, FLOW, since=NOW - timedelta(hours=1), now=NOW)
    assert [(one.user_agent, one.requests, one.lost) for one in found] == [("web/1", 1, 0), (OTHERS, 0, 17)]


def test_callers_are_told_apart_by_key_and_client(ledger: Ledger, read: Callable[..., Any]) -> None:
    ledger.write(
        tally(
            (JUST_NOW, call()),
            (JUST_NOW, call(outcome="error")),
            (timedelta(hours=30), call(version_id="v-0", generation=0)),
            (JUST_NOW, call(key_id="key-b", pins=True, version_id="v-7")),
            (timedelta(minutes=2), call(key_id="key-b", pins=True, version_id="", outcome="refused")),
            (timedelta(days=6), call(user_agent="batch", version_id="v-0")),
            (JUST_NOW, call(workflow_id="wf-other", key_id="key-z")),
        )
    )
    week = read(
        records.callers, FLOW, since=NOW - timedelta(days=7), now=NOW, key_names={"key-a": "billing", "x": "y"}
    )
    told = [
        (c.key_id, c.key_name, c.user_agent, c.requests, c.requests_24h, c.requests_7d, c.errors, c.versions)
        for c in week
    ]
    assert told == [
        ("key-a", "billing", "web/1", 3, 2, 3, 1, ("v-0", "v-1")),
        ("key-b", None, "web/1", 2, 2, 2, 0, ("v-7",)),
        ("key-a", "billing", "batch", 1, 0, 1, 0, ("v-0",)),
    ]
    assert [(c.pins_itself, c.pinned) for c in week] == [(False, ()), (True, ("v-7",)), (False, ())]
    assert week[0].last_at == "2026-11-24T12:00:25.000000Z"
    hour = read(records.callers, FLOW, since=NOW - timedelta(hours=1), now=NOW)
    assert [(c.key_id, c.requests, c.requests_7d, c.versions) for c in hour] == [
        ("key-a", 2, 3, ("v-1",)),
        ("key-b", 2, 2, ("v-7",)),
    ]


def test_shapes_come_with_who_sent_them_the_last_first(ledger: Ledger, read: Callable[..., Any]) -> None:
    ledger.write(
        tally(
            (timedelta(hours=1), call(outputs="")),
            (timedelta(minutes=9), call(inputs='{"amount":"number"}', key_id="key-b", version_id="v-2", outputs="")),
        )
    )
    ledger.write(tally((JUST_NOW, call(outcome="refused", outputs="")), (timedelta(days=2), call(inputs="null"))))
    seen = read(records.shapes, FLOW, 10)
    assert [(s.kind, s.shape, s.key_id, s.requests, s.refused, s.version_id) for s in seen] == [
        ("inputs", {"text": "string"}, "key-a", 2, 1, "v-1"),
        ("inputs", {"amount": "number"}, "key-b", 1, 0, "v-2"),
        ("inputs", None, "key-a", 1, 0, "v-1"),
        ("outputs", {"total": "number"}, "key-a", 1, 0, "v-1"),
    ]
    assert (seen[0].first_at, seen[0].last_at) == ("2026-11-24T11:00:30.000000Z", "2026-11-24T12:00:25.000000Z")
    assert [s.shape for s in read(records.shapes, FLOW, 1)] == [{"text": "string"}, {"total": "number"}]
    assert read(records.shapes, "wf-other", 10) == []


def test_an_older_sighting_that_is_written_later_does_not_count_as_the_last(
    ledger: Ledger, read: Callable[..., Any]
) -> None:
    ledger.write(tally((JUST_NOW, call(version_id="v-2"))))
    ledger.write(tally((timedelta(minutes=5), call(version_id="v-1"))))
    seen = read(records.shapes, FLOW, 10)[0]
    assert (seen.version_id, seen.last_at, seen.requests) == ("v-2", "2026-11-24T12:00:25.000000Z", 2)


def test_shapes_beyond_the_cap_are_counted_as_unknown(
    ledger: Ledger, engine: Engine, read: Callable[..., Any]
) -> None:
    for start in range(0, 250, 50):
        many = [(JUST_NOW, call(inputs=f'{{"k{n}":"string"}}', outputs="")) for n in range(start, start + 50)]
        ledger.write(tally(*many))
    assert rows(engine, call_shape) == 201
    seen = read(records.shapes, FLOW, 1000)
    assert sum(s.requests for s in seen) == 250
    (unknown,) = [s for s in seen if s.shape is None]
    assert unknown.requests == 50
    ledger.write(tally((JUST_NOW, call(inputs='{"k0":"string"}', outputs=""))))  # one that is known still counts
    assert {s.requests for s in read(records.shapes, FLOW, 1000) if s.shape == {"k0": "string"}} == {2}
    ledger.write(tally((JUST_NOW, call(workflow_id="wf-other", outputs=""))))
    assert [s.shape for s in read(records.shapes, "wf-other", 10)] == [{"text": "string"}]


def test_clients_beyond_the_cap_are_counted_as_one(ledger: Ledger, engine: Engine, read: Callable[..., Any]) -> None:
    ledger.write(tally(*((JUST_NOW, call(user_agent=f"random {n}")) for n in range(150))))
    ledger.write(tally((JUST_NOW, call(key_id="key-b"))))
    assert rows(engine, caller) == 102
    found = {c.user_agent: c for c in read(records.callers, FLOW, since=NOW - timedelta(hours=1), now=NOW)}
    assert found[OTHERS].requests == 50
    assert found["web/1"].key_id == "key-b"


def test_old_minutes_become_days_and_old_days_go(ledger: Ledger, engine: Engine, read: Callable[..., Any]) -> None:
    long_ago = timedelta(days=20)
    ledger.write(
        tally(
            *((long_ago + timedelta(minutes=n), call(ms=n + 1, outcome="error")) for n in range(5)),
            (long_ago, call(key_id="key-b", pins=True)),
            (timedelta(days=7), call()),
            (JUST_NOW, call()),
        )
    )
    whole = read(records.usage, FLOW, since=NOW - timedelta(days=30))
    assert rows(engine, calls) == 8
    ledger.tidy(NOW.timestamp())
    assert rows(engine, calls) == 4
    after = read(records.usage, FLOW, since=NOW - timedelta(days=30))
    assert replace(after, first=whole.first) == whole  # a day begins at its beginning
    assert read(records.usage, FLOW, since=NOW - timedelta(days=10)).requests == 2
    ledger.tidy(NOW.timestamp() + DAY)  # a day that is there already is added to
    ledger.write(tally((long_ago, call(ms=1, outcome="error"))))
    ledger.tidy(NOW.timestamp() + 2 * DAY)
    assert rows(engine, calls) == 4
    assert read(records.usage, FLOW, since=NOW - timedelta(days=30)).errors == 6
    ledger.tidy((NOW + timedelta(days=200)).timestamp())
    assert [rows(engine, table) for table in (calls, caller, call_shape, caller_shape)] == [0, 0, 0, 0]


def test_shapes_that_nobody_sends_any_more_go(ledger: Ledger, engine: Engine, read: Callable[..., Any]) -> None:
    ledger.write(tally((timedelta(days=31), call(inputs='{"old":"string"}')), (timedelta(days=29), call())))
    ledger.tidy(NOW.timestamp())
    assert [s.shape for s in read(records.shapes, FLOW, 10)] == [{"text": "string"}, {"total": "number"}]
    assert rows(engine, call_shape) == 2


def test_the_tables_stay_within_bounds_whatever_clients_do(
    ledger: Ledger, engine: Engine, read: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lastgood.gateway.ledger._MOST_MINUTES", 10)
    monkeypatch.setattr("lastgood.gateway.ledger._MOST_DAYS", 3)
    ledger.write(tally(*((timedelta(minutes=n), call()) for n in range(30))))
    ledger.write(tally(*((timedelta(days=n), call()) for n in range(1, 8))))
    ledger.tidy(NOW.timestamp())
    with engine.connect() as connection:
        spans = connection.execute(select(calls.c.span, func.count()).group_by(calls.c.span)).all()
    assert dict(map(tuple, spans)) == {60: 10, DAY: 3}
    assert read(records.usage, FLOW, since=NOW - timedelta(hours=1)).requests == 30


def test_tidying_is_done_once_an_hour(ledger: Ledger, engine: Engine) -> None:
    ledger.tidy(NOW.timestamp())
    ledger.write(tally((timedelta(days=200), call())))
    ledger.tidy(NOW.timestamp() + 60)
    assert rows(engine, calls) == 1
    ledger.tidy(NOW.timestamp() + 3600)
    assert rows(engine, calls) == 0


def test_a_tally_that_cannot_be_kept_leaves_nothing(ledger: Ledger, engine: Engine) -> None:
    bad = tally((JUST_NOW, call()))
    next(iter(bad.shapes.values())).version_id = None  # type: ignore[assignment]  # what the store refuses
    with pytest.raises(IntegrityError):
        ledger.write(bad)
    assert [rows(engine, table) for table in (calls, caller, call_shape, caller_shape)] == [0, 0, 0, 0]


def test_workers_that_write_the_same_rows_lose_nothing(
    settings: Settings, ledger: Ledger, read: Callable[..., Any]
) -> None:
    assert at_once(3, _write, str(settings.home), settings.database) == [None] * 3
    assert read(records.usage, FLOW, since=NOW - timedelta(hours=1)).requests == 3 * 20 * 6
    assert sum(s.requests for s in read(records.shapes, FLOW, 1000) if s.kind == "inputs") == 3 * 20 * 6


def _write(barrier: Any, index: int, home: str, database: str) -> None:
    engine = open_runs(clean_settings(Path(home), database))
    ledger = Ledger(engine)
    keys = ["key-a", "key-b", "key-c"]
    barrier.wait()
    for _ in range(20):
        order = keys[index:] + keys[:index]
        ledger.write(tally(*((JUST_NOW, call(key_id=k, user_agent=a)) for k in order for a in ("x", "y"))))
    engine.dispose()


def test_buckets_cover_every_latency() -> None:
    assert (bucket(0), bucket(1), bucket(1.2), bucket(1.5), bucket(2)) == (0, 0, 1, 2, 2)
    assert bucket(1e12) == len(COLUMNS) - 1 == len(BOUNDS)


@example([2.0, 0.5], 0.5)
@given(st.lists(st.floats(0.5, 1e6), min_size=1, max_size=60), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_right_to_a_bucket(latencies: list[float], q: float) -> None:
    counts = [0] * len(COLUMNS)
    for ms in latencies:
        counts[bucket(ms)] += 1
    exact = sorted(latencies)[max(0, -int(-q * len(latencies) // 1) - 1)]
    found = quantile(counts, q, max(latencies))
    assert found is not None
    if exact <= 1.0:  # the first bucket: nothing below a millisecond is told apart
        assert 0.5 <= found <= 1.0
    else:
        assert exact / 1.4143 <= found <= exact * 1.4143
