"""Our commands in processes of their own that need not import everything again: each is a fork of one that has it.

What they are given is what a shell gives: standard streams, surroundings, a terminal and its signals."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from typing import Any

from lastgood.release.verification import Upstream
from support.processes import forkserver

_PROGRAMS = {"lastgood": "lastgood.cli.main", "dify": "lastgood.cli.dify"}


def start(
    command: Sequence[str],
    env: Mapping[str, str],
    streams: tuple[int, int, int],
    *,
    terminal: bool = False,
    engine: Upstream | None = None,
) -> ForkServerProcess:
    """The running `command`, whose standard streams are `streams`. With `terminal` the first is its controlling
    terminal. Where it wants an engine of its own it is given `engine`, if any."""
    given = (tuple(command), dict(env), tuple(map(_Passed, streams)), terminal, engine)
    process = forkserver().Process(target=_run, args=given, daemon=True)
    process.start()
    return process


class _Passed:
    """A file descriptor that arrives as one of the other process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> Any:
        return _arrived, (DupFd(self._fd),)


def _arrived(sent: Any) -> int:
    fd: int = sent.detach()
    return fd


def _run(
    command: tuple[str, ...],
    env: dict[str, str],
    streams: tuple[int, int, int],
    terminal: bool,
    engine: Upstream | None,
) -> None:
    os.environ.clear()
    os.environ.update(env)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if terminal:
        os.login_tty(streams[0])
    else:
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
            os.close(fd)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - they stay open, as everybody's do
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    if engine is not None:
        from lastgood.server.supervisor import OwnEngine

        OwnEngine.__call__ = lambda self: engine  # type: ignore[method-assign]
    sys.argv = list(command)
    import_module(_PROGRAMS[command[0]]).main()
