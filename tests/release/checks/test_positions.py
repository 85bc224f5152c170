"""Consumers of event queues: kept, reset, nothing lost, nothing doubled."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.db.store import Store
from lastgood.release.checks import positions
from lastgood.release.checks.positions import judge, judge_reset
from lastgood.settings import Settings
from support.stores import clean_settings, copy_sqlite

from .conftest import Served, only, serve, verdicts


@pytest.fixture
def settings(home: Path, sqlite_template: Path) -> Settings:
    """A store on SQLite alone: these tests are about what lies outside it."""
    copy_sqlite(sqlite_template, home)
    return clean_settings(home)


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    """The file that keeps where a consumer stands."""
    return tmp_path / "position.json"


def declared(queue: Path, *, reset: bool = False, **more: Any) -> dict[str, Any]:
    set_it = [sys.executable, "-c", f"import sys; open({str(queue)!r}, 'w').write(sys.stdin.read())"]
    one = {"command": ["cat", str(queue)], "reset": set_it if reset else [], **more}
    return {"positions": {"orders": one}}


@pytest.fixture
def moved(store: Store, queue: Path) -> Callable[..., Any]:
    """What is said of a consumer that stood at one position and stands at another."""

    def check(before: Any, now: Any, **more: Any) -> Any:
        served = serve(store)
        queue.write_text(json.dumps(before))
        recorded = positions.record(served.case(settings=declared(queue)))
        assert recorded == {"orders": {"value": before}}
        baseline = {"positions": json.loads(json.dumps(recorded))}
        queue.write_text(json.dumps(now))
        return only(positions.check(served.case(settings=declared(queue), baseline=baseline, **more)))

    return check


def test_kept_is_equal_or_grown(moved: Callable[..., Any]) -> None:
    one = moved({"0": 120, "1": 44}, {"0": 125, "1": 44})
    assert (one.check, one.subject, one.verdict) == ("positions", "orders", "pass")
    assert one.expected == 'the recorded position, or grown from it: {"0": 120, "1": 44}'
    assert one.found == '{"0": 120, "1": 44} → {"0": 125, "1": 44}, grown without loss'


def test_gone_back_is_found(moved: Callable[..., Any]) -> None:
    one = moved(120, 100)
    assert (one.verdict, one.found) == ("fail", "went back from 120 to 100: what lies between comes twice")


CASES = [
    (120, 120, "pass", "120, kept"),
    (120, 121, "pass", "120 → 121"),
    (120, 119, "fail", "comes twice"),
    (0, 0, "pass", "kept"),
    ("120", "99", "fail", "went back"),
    ("99", "120", "pass", "grown"),
    (120, "121", "pass", "grown"),
    ({"0": 5, "1": 7}, {"1": 7, "0": 5}, "pass", "kept"),
    ({"0": 5, "1": 7}, {"0": 5}, "fail", "1: lost (it was 7)"),
    ({"0": 5}, {"0": 5, "1": 0}, "pass", "grown"),
    ({"0": 5, "1": 7}, {"0": 9, "1": 6}, "fail", "1: went back from 7 to 6"),
    ({"a": {"0": 5}}, {"a": {"0": 4}}, "fail", "a.0: went back from 5 to 4"),
    ([5, 7], [5, 7, 1], "pass", "grown"),
    ([5, 7], [5], "fail", "1 of 2 positions are lost"),
    ([5, 7], [5, 6], "fail", "[1]: went back"),
    ("1732406400000-5", "1732406400000-12", "pass", "grown"),
    ("1732406400000-12", "1732406400000-5", "fail", "went back"),
    ("0/FFFFFF", "1/0", "pass", "grown"),
    ("1/0", "0/FFFFFF", "fail", "went back"),
    ("A", "B", "unknown", "cannot be compared"),
    (5, [5], "unknown", "cannot be compared"),
    (5, None, "unknown", "cannot be compared"),
    (None, 5, "unknown", "cannot be compared"),
    (True, False, "unknown", "cannot be compared"),
    ({"0": "A", "1": 5}, {"0": "B", "1": 4}, "fail", "went back"),  # what is certain counts first
    ({"position": 10, "processed": 10}, {"position": 15, "processed": 15}, "pass", "grown"),
    ({"position": 10, "processed": 7}, {"position": 15, "processed": 12}, "pass", "grown"),
    (
        {"position": 10, "processed": 10},
        {"position": 15, "processed": 13},
        "fail",
        "3 processed for 5 consumed: 2 lost",
    ),
    ({"position": 10, "processed": 10}, {"position": 15, "processed": 19}, "fail", "4 doubled"),
    ({"position": 10, "processed": 10}, {"position": 8, "processed": 12}, "fail", "went back"),
    ({"position": 10, "processed": 10}, {"position": 10, "processed": 11}, "fail", "1 doubled"),
    ({"position": "x", "processed": 1}, {"position": "y", "processed": 1}, "unknown", "not whole numbers"),
    (
        {"0": {"position": 1, "processed": 1}, "1": {"position": 4, "processed": 4}},
        {"0": {"position": 2, "processed": 2}, "1": {"position": 6, "processed": 4}},
        "fail",
        "1: 0 processed for 2 consumed: 2 lost",
    ),
    ({"position": 1, "processed": 1, "lag": 3}, {"position": 2, "processed": 2, "lag": 2}, "fail", "lag: went back"),
]


@pytest.mark.parametrize(("before", "now", "verdict", "words"), CASES)
def test_keeping(before: Any, now: Any, verdict: str, words: str) -> None:
    found, told = judge(before, now)
    assert found == verdict and words in told, told


@pytest.mark.parametrize(
    ("was", "wanted", "now", "verdict", "words"),
    [
        (500, 100, 100, "pass", "100, as set"),
        (500, 100, 120, "pass", "set to 100, and gone on to 120"),
        (500, 100, 500, "fail", "got 500, want 100"),
        (500, 100, 99, "fail", "got 99, want 100"),
        (500, 100, 501, "unknown", "past where it stood before (500)"),
        (100, 100, 120, "pass", "gone on to 120"),  # there was nothing to set
        (100, 500, 500, "pass", "as set"),
        (100, 500, 100, "fail", "got 100, want 500"),
        (100, 500, 501, "unknown", "cannot be told"),
        ({"0": 9, "1": 9}, {"0": 1, "1": 2}, {"0": 3, "1": 2}, "pass", "gone on"),
        ({"0": 9, "1": 9}, {"0": 1, "1": 2}, {"0": 3}, "fail", "want"),
        ({"0": 9, "1": 9}, {"0": 1, "1": 2}, {"0": 3, "1": 10}, "unknown", "cannot be told"),
    ],
)
def test_resetting(was: Any, wanted: Any, now: Any, verdict: str, words: str) -> None:
    found, told = judge_reset(was, wanted, now)
    assert found == verdict and words in told, told


offsets = st.dictionaries(st.sampled_from("0123"), st.integers(0, 50), min_size=1)


@given(before=offsets, now=offsets)
def test_a_pass_is_exactly_nothing_lost_and_nothing_back(before: dict[str, int], now: dict[str, int]) -> None:
    well = all(part in now and now[part] >= offset for part, offset in before.items())
    assert (judge(before, now)[0] == "pass") == well


def reset_case(served: Served, queue: Path, recorded: Any, **more: Any) -> Any:
    baseline = {"positions": {"orders": {"value": recorded}}}
    return served.case(settings=declared(queue, reset=True, **more), baseline=baseline, positions="reset")


def test_a_consumer_is_set_back_to_what_was_recorded(store: Store, queue: Path) -> None:
    served = serve(store)
    queue.write_text('{"0": 500}')
    case = reset_case(served, queue, {"0": 100})
    unset = only(positions.check(case))
    assert unset.verdict == "unknown" and "it was not set" in unset.found
    done = positions.reset(case)
    assert done == {"orders": {"value": {"0": 100}, "was": {"0": 500}}}
    assert json.loads(queue.read_text()) == {"0": 100}
    after = replace(case, baseline={"positions": {**case.baseline["positions"], **done}})
    one = only(positions.check(after))
    assert (one.verdict, one.expected) == ("pass", 'the position that was set: {"0": 100}')
    queue.write_text('{"0": 500}')
    assert only(positions.check(after)).verdict == "fail"


def test_a_command_that_prints_a_position_has_set_that_one(store: Store, queue: Path) -> None:
    queue.write_text("500")
    case = reset_case(serve(store), queue, 100)
    declaring = case.means.settings.positions["orders"].model_copy(update={"reset": ("echo", "90")})
    case.means.settings.positions["orders"] = declaring
    assert positions.reset(case) == {"orders": {"value": 90, "was": 500}}


def test_a_consumer_that_cannot_be_set_is_told(store: Store, queue: Path) -> None:
    queue.write_text("500")
    case = reset_case(serve(store), queue, 100)
    declaring = case.means.settings.positions["orders"].model_copy(update={"reset": ("false",)})
    case.means.settings.positions["orders"] = declaring
    done = positions.reset(case)
    assert done == {"orders": {"problem": "it could not be set: the command ended with 1"}}
    one = only(positions.check(replace(case, baseline={"positions": done})))
    assert one.verdict == "unknown" and "it could not be set" in one.found


def test_what_has_no_reset_or_no_record_is_left_alone(store: Store, queue: Path) -> None:
    served = serve(store)
    queue.write_text("500")
    kept = served.case(settings=declared(queue), baseline={"positions": {"orders": {"value": 1}}})
    assert positions.reset(kept) == {}
    assert positions.reset(served.case(settings=declared(queue, reset=True))) == {}
    assert queue.read_text() == "500"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["echo", "not json"], "printed no JSON"),
        (["echo", "NaN"], "printed no JSON"),
        (["true"], "printed no JSON"),
        (["sh", "-c", "echo 5; exit 3"], "ended with 3"),
        (["/no/such/program"], "cannot be run (FileNotFoundError)"),
        (["/etc/passwd"], "cannot be run (PermissionError)"),
        (["sleep", "60"], "did not end in its time"),
    ],
)
def test_a_command_that_does_not_say(store: Store, queue: Path, command: list[str], words: str) -> None:
    case = serve(store).case(settings=declared(queue, command=command, timeout=0.5))
    one = only(positions.check(case))
    assert one.verdict == "unknown" and words in one.found
    recorded = positions.record(case)
    assert words in recorded["orders"]["problem"]


def test_what_it_says_beside_the_json_is_not_read(store: Store, queue: Path) -> None:
    command = ["sh", "-c", "echo warning >&2; echo 7"]
    assert positions.record(serve(store).case(settings=declared(queue, command=command))) == {"orders": {"value": 7}}


def test_what_a_command_started_ends_with_it(store: Store, queue: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    command = ["sh", "-c", f"sleep 60 & echo $! > {pid}; wait"]
    positions.record(serve(store).case(settings=declared(queue, command=command, timeout=0.5)))
    deadline = time.monotonic() + 10
    while _lives(int(pid.read_text())):
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_command_sees_none_of_our_secrets(store: Store, queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTGOOD_TOKEN", "lg_secret")
    command = [sys.executable, "-c", "import os, json; print(json.dumps(sorted(os.environ)))"]
    seen = positions.record(serve(store).case(settings=declared(queue, command=command)))["orders"]["value"]
    assert "PATH" in seen and "LASTGOOD_TOKEN" not in seen
    assert "LASTGOOD_TOKEN" in os.environ


def test_only_the_workflows_own_consumers_are_asked(store: Store, queue: Path) -> None:
    queue.write_text("1")
    assert verdicts(positions.check(serve(store).case(settings=declared(queue, workflows=["prod-*"])))) == {
        "": "skipped"
    }


def test_what_was_not_recorded_is_no_pass(store: Store, queue: Path) -> None:
    served = serve(store)
    queue.write_text("7")
    one = only(positions.check(served.case(settings=declared(queue))))
    assert (one.verdict, one.found) == ("skipped", "7; nothing was recorded to compare it with")
    baseline = {"positions": {"orders": {"problem": "the command ended with 3"}}}
    one = only(positions.check(served.case(settings=declared(queue), baseline=baseline)))
    assert one.verdict == "unknown"
