"""Several things at once, each with its own time limit: what is late or fails costs the others nothing."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

_MOST = 16


@dataclass(frozen=True, slots=True)
class Job[T]:
    """Something to do, and the seconds that it may take."""

    work: Callable[[], T]
    seconds: float


class Late(Exception):
    """A job that did not end in its time; its thread is left behind."""


@dataclass(slots=True)
class _Running[T]:
    until: float
    answer: list[T | Exception] = field(default_factory=list)


def together[T](jobs: Sequence[Job[T]], *, most: int = _MOST) -> list[T | Exception]:
    """What each of `jobs` gives, or the exception it ended in (`Late` when its time was over), in their order. At
    most `most` run at once; the time of one begins when it does."""
    changed = threading.Condition()
    started: list[_Running[T]] = []

    def run(job: Job[T], place: _Running[T]) -> None:
        try:
            answer: T | Exception = job.work()
        except Exception as error:
            answer = error
        with changed:
            place.answer.append(answer)
            changed.notify()

    def waiting() -> list[_Running[T]]:
        return [one for one in started if not one.answer and one.until > monotonic()]

    with changed:
        while len(started) < len(jobs) or waiting():
            while len(started) < len(jobs) and len(waiting()) < most:
                job = jobs[len(started)]
                started.append(_Running(monotonic() + job.seconds))
                # A daemon: a check that hangs must not keep the process from ending.
                threading.Thread(target=run, args=(job, started[-1]), name="check", daemon=True).start()
            if open := waiting():
                changed.wait(max(0.0, min(one.until for one in open) - monotonic()))
        return [one.answer[0] if one.answer else Late() for one in started]
