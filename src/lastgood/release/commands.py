"""Commands that operators declared, run without a shell, in a process group of their own, for a limited time."""

import errno
import os
import selectors
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO, Final

from lastgood.dsl.mask import Mask
from lastgood.release.means import Notice
from lastgood.release.output import Output

_GRACE: Final = 3.0  # seconds that the group has to end after SIGTERM
_LINGER: Final = 0.5  # seconds that what a command left behind may go on printing
_LOOK: Final = 0.05
_CHUNK: Final = 64 * 1024
_VARIABLE: Final = 32 * 1024  # bytes; the kernel takes 128 KiB at most, and standard input has all of it
_NOT_FOUND: Final = (126, 127)  # a shell's, or env's, exit codes for what cannot be run
_INHERITED: Final = ("PATH", "HOME")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. `code` is its exit code (negative: the signal that ended it), None where it did not start
    or could not even be killed; `problem` says why it did not start, or what else there is to know of its end."""

    code: int | None
    timed_out: bool
    output: str
    elapsed_ms: float
    timeout: float
    problem: str = ""

    @property
    def good(self) -> bool:
        """Whether it ended by itself with exit code 0."""
        return self.code == 0 and not self.timed_out

    @property
    def sentence(self) -> str:
        """The end of a sentence that begins with its name: ``ended with exit code 3``."""
        if self.timed_out:
            return f"was stopped: it had not ended within {self.timeout:g} s"
        if self.code is None:
            return f"did not start: {self.problem}"
        because = f" ({self.problem})" if self.problem else ""
        if self.code < 0:
            return f"was ended by signal {_signal_name(-self.code)}{because}"
        return f"ended with exit code {self.code}{because}"

    @property
    def last_line(self) -> str:
        """The last line that it printed, empty where it printed nothing."""
        return next((line.strip() for line in reversed(self.output.splitlines()) if line.strip()), "")


def environment(notice: Notice, own: Mapping[str, str], **more: str) -> dict[str, str]:
    """What a command gets to know by variables: PATH and HOME, its `own`, and the notice, which nothing overrides.
    Nothing else of the server's environment, its secrets least of all."""
    told = {**notice.environment(), **more}
    return inherited() | dict(own) | {name: _passable(value) for name, value in told.items()}


def inherited(*more: str) -> dict[str, str]:
    """PATH, HOME and the variables named in `more` as this process has them."""
    return {name: os.environ[name] for name in (*_INHERITED, *more) if name in os.environ}


def run(
    command: Sequence[str], variables: Mapping[str, str], *, timeout: float, mask: Mask, given: bytes = b""
) -> Ended:
    """Run `command` with exactly these `variables`, `given` on its standard input, for `timeout` seconds at most.

    What it prints on standard output and error is kept together, in order. It has ended when its first process has;
    what that left running in the background goes on. When the time is over its whole group is ended. Never raises
    for what a command can do."""
    began = monotonic()
    output = Output()
    try:
        process = subprocess.Popen(  # noqa: S603 - no shell: each part is one argument
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(variables),
            start_new_session=True,
            bufsize=0,
        )
    except (OSError, ValueError) as error:
        why = _why_not_started(command[0], variables, error)
        return Ended(None, False, "", (monotonic() - began) * 1000, timeout, why)
    running = _Running(process, given, output)
    try:
        timed_out = not running.follow(began + timeout)
        if timed_out:
            running.end_group()
    finally:
        running.close()
    problem = ""
    if process.returncode in _NOT_FOUND:
        problem = _carriage_return(command[0], variables)
    elif running.held:
        problem = "something that it started goes on and holds its output, which is read no longer"
    elapsed_ms = (monotonic() - began) * 1000
    return Ended(process.returncode, timed_out, output.text(mask), elapsed_ms, timeout, problem)


class _Running:
    """A process, what it still has to be given, and where its output goes. `held` is set when it has ended and
    something else still holds its output."""

    def __init__(self, process: subprocess.Popen[bytes], given: bytes, output: Output) -> None:
        self._process = process
        self._given = memoryview(given)
        self._output = output
        self.held = False
        self._selector = selectors.DefaultSelector()
        assert process.stdin and process.stdout  # noqa: S101 - for mypy: both are pipes
        self._stdin, self._stdout = process.stdin, process.stdout
        for pipe in (self._stdin, self._stdout):
            os.set_blocking(pipe.fileno(), False)
        self._selector.register(self._stdout, selectors.EVENT_READ)
        if given:
            self._selector.register(self._stdin, selectors.EVENT_WRITE)
        else:
            self._stdin.close()

    def follow(self, until: float) -> bool:
        """Give and take until the process has ended, and all that it printed is read (True), or the time is over."""
        ended_at: float | None = None
        while True:
            now = monotonic()
            if self._process.poll() is not None:
                ended_at = ended_at or now
                self.held = not self._stdout.closed
                if not self.held or now - ended_at >= _LINGER:
                    return True
            elif now >= until:
                return False
            wait = _LOOK if ended_at else min(_LOOK, until - now)
            for key, _ in self._selector.select(wait):
                if key.fileobj is self._stdout:
                    self._take()
                else:
                    self._give()

    def end_group(self) -> None:
        """End the process and all that it started, unless that has left its group."""
        self._signal(signal.SIGTERM)
        self.follow(monotonic() + _GRACE)
        self._signal(signal.SIGKILL)
        self.follow(monotonic() + _GRACE)

    def close(self) -> None:
        """Let go of the pipes. A process that still runs (this thread is being ended) is killed."""
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
        self._selector.close()
        self._stdin.close()
        self._stdout.close()

    def _take(self) -> None:
        with suppress(BlockingIOError):
            data = os.read(self._stdout.fileno(), _CHUNK)
            if data:
                self._output.add(data)
            else:
                self._drop(self._stdout)

    def _give(self) -> None:
        with suppress(BlockingIOError):
            try:
                self._given = self._given[os.write(self._stdin.fileno(), self._given) :]
            except BrokenPipeError:  # it does not want to know
                self._given = self._given[:0]
            if not self._given:
                self._drop(self._stdin)

    def _drop(self, pipe: IO[bytes]) -> None:
        self._selector.unregister(pipe)
        pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _passable(value: str) -> str:
    """`value` as a variable can hold it."""
    return value.replace("\0", "\ufffd").encode(errors="replace")[:_VARIABLE].decode(errors="ignore")


def _why_not_started(program: str, variables: Mapping[str, str], error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return "a character that no argument can hold stands in its arguments or variables"
    found = shutil.which(program, path=variables.get("PATH"))
    if error.errno == errno.ENOENT and found:
        named = f"the interpreter that the first line of {found} names is missing"
        return _carriage_return(program, variables) or named
    if error.errno == errno.EACCES and Path(program).is_dir():
        return f"{program} is a directory"
    sentences = {
        errno.ENOENT: f"there is no {program}{'' if '/' in program else ' on the PATH'}",
        errno.EACCES: f"{program} may not be executed; chmod +x it",
        errno.ENOEXEC: f"{program} is no program, nor a script whose first line begins with #!",
        errno.E2BIG: "its arguments and variables are too long",
    }
    return sentences.get(error.errno or 0) or str(error.strerror)


def _carriage_return(program: str, variables: Mapping[str, str]) -> str:
    """A sentence where `program` is a script with the line ends of Windows, which name no interpreter."""
    found = shutil.which(program, path=variables.get("PATH"))
    try:
        with Path(found or program).open("rb") as file:
            first = file.readline(300)
    except OSError:
        return ""
    if first.startswith(b"#!") and first.endswith(b"\r\n"):
        return f"the first line of {found} ends with a carriage return; save it with Unix line ends"
    return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
