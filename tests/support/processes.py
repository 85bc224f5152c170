"""The same function in several processes at once."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from typing import Any

# A server process imports once what everybody needs, and each process is a fork of it: quick, without our threads.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "pytest",
        "psycopg",
        "alembic.autogenerate",
        "alembic.command",
        "sqlalchemy.dialects.postgresql.psycopg",
        "lastgood.history.retention",
        "lastgood.release.moves",
        "lastgood.cli.main",
        "lastgood.cli.dify",
        "lastgood.cli.local",
        "lastgood.targets.engine.plan",
    ]
)
_SECONDS = 60.0


def forkserver() -> ForkServerContext:
    """What makes those forks."""
    return _CONTEXT


def at_once(number: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work(barrier, index, *arguments)` returns in each of `number` fresh processes. `barrier.wait()` in it
    makes them go on together. An exception comes back as itself."""
    barrier = _CONTEXT.Barrier(number, timeout=_SECONDS)
    answers = _CONTEXT.Queue()
    running = [
        _CONTEXT.Process(target=_run, args=(work, barrier, index, arguments, answers), daemon=True)
        for index in range(number)
    ]
    for process in running:
        process.start()
    found = [answers.get(timeout=_SECONDS) for _ in running]
    for process in running:
        process.join(_SECONDS)
    return [answer for _, answer in sorted(found, key=lambda pair: pair[0])]


def _run(work: Callable[..., Any], barrier: Any, index: int, arguments: tuple[Any, ...], answers: Any) -> None:
    try:
        answers.put((index, work(barrier, index, *arguments)))
    except Exception as error:
        answers.put((index, RuntimeError(f"{type(error).__name__}: {error}")))
