"""Several things at once: order, time limits, and how many."""

import threading
import time
from functools import partial

import pytest

from lastgood.release.checks.together import Job, Late, together


def fail(number: int) -> int:
    raise ValueError(f"job {number}")


def test_answers_and_failures_come_in_order() -> None:
    jobs = [Job(partial(fail if number % 3 == 0 else int, number), 10) for number in range(40)]
    found = together(jobs)
    for number, answer in enumerate(found):
        if number % 3 == 0:
            assert isinstance(answer, ValueError) and str(answer) == f"job {number}"
        else:
            assert answer == number


def test_what_is_late_costs_the_others_nothing() -> None:
    over = threading.Event()
    try:
        found = together([Job(lambda: over.wait(30), 0.1), Job(lambda: True, 10), Job(lambda: over.wait(30), 0.1)])
        assert [type(one) for one in found] == [Late, bool, Late]
    finally:
        over.set()


def test_all_that_may_run_at_once_do() -> None:
    meeting = threading.Barrier(5, timeout=10)
    assert sorted(together([Job(meeting.wait, 20)] * 5)) == [0, 1, 2, 3, 4]  # type: ignore[type-var]  # no failure among them


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_than_that_run_at_once(most: int) -> None:
    lock, now, seen = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal now, seen
        with lock:
            now += 1
            seen = max(seen, now)
        time.sleep(0.02)
        with lock:
            now -= 1

    assert together([Job(work, 10)] * 9, most=most) == [None] * 9
    assert seen == most


def test_the_time_of_one_begins_when_it_does() -> None:
    assert together([Job(lambda: time.sleep(0.15), 1.0)] * 8, most=1) == [None] * 8  # 1.2 s in all


def test_one_that_hangs_gives_its_place_up() -> None:
    over = threading.Event()
    try:
        hanging: Job[bool] = Job(lambda: over.wait(30), 0.1)
        assert [type(one) for one in together([hanging, hanging, Job(lambda: True, 10)], most=1)] == [
            Late,
            Late,
            bool,
        ]
    finally:
        over.set()


def test_nothing_to_do() -> None:
    assert together([]) == []
