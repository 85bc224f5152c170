"""The command lines of systemd and docker, called by name from the PATH, and watching what they say until it stands
still."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Final, Literal

from lastgood.dsl.mask import Mask
from lastgood.release import commands
from lastgood.release.commands import Ended
from lastgood.release.listeners.answer import Answer

# Where the daemon is that they talk to.
_INHERITED: Final = (
    *(
        "DOCKER_HOST",
        "DOCKER_CONTEXT",
        "DOCKER_CONFIG",
        "DOCKER_CERT_PATH",
        "DOCKER_TLS_VERIFY",
        "DOCKER_API_VERSION",
    ),
    *("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"),
)
_EVERY: Final = 0.25  # seconds between two looks
_STEADY: Final = 0.5  # seconds for which it must be well: what dies at its start is well for a moment
_SHORTEST: Final = 0.2


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look found: well, not yet, or never to be; with words for it."""

    state: Literal["well", "wait", "lost"]
    words: str


class Stopped(Exception):
    """A call that did not do what it should, as the answer to give."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.detail)
        self.answer = answer


def call(*command: str, until: float, mask: Mask) -> Ended:
    """Run a command line that has until the monotonic time `until`. Raises `Stopped` where it does not even start or
    has no time."""
    left = until - monotonic()
    if left <= 0:
        raise Stopped(Answer("timed out", f"no time was left for {_short(command)}"))
    ended = commands.run(
        command, {**commands.inherited(*_INHERITED), "LC_ALL": "C"}, timeout=max(left, _SHORTEST), mask=mask
    )
    if ended.timed_out:
        raise Stopped(Answer("timed out", f"{_short(command)} {ended.sentence}"))
    if ended.code is None:
        raise Stopped(Answer("failed", f"{command[0]} {ended.sentence}"))
    return ended


def require(*command: str, until: float, mask: Mask) -> None:
    """Run a command line that must succeed. Raises `Stopped`."""
    ended = call(*command, until=until, mask=mask)
    if not ended.good:
        raise Stopped(Answer("failed", telling(command, ended)))


def line_of(ended: Ended, states: tuple[str, ...]) -> tuple[str, str, str]:
    """The first three words of the last line that begins with one of `states` (warnings may stand around it); empty
    texts for what is not there."""
    found: list[str] = []
    for line in ended.output.splitlines():
        words = line.split()
        found = words if words and words[0] in states else found
    first, second, third, *_ = [*found, "", "", ""]
    return first, second, third


def telling(command: tuple[str, ...], ended: Ended) -> str:
    """How a command line ended and what it said."""
    said = next((line.strip() for line in ended.output.splitlines() if line.strip()), "")
    return f"{_short(command)} {ended.sentence}" + (f": {said}" if said else "")


def watch(look: Callable[[], Seen], until: float) -> Answer:
    """Look again and again until it is well and stays so, is lost, or the time is over. Raises `Stopped` where there
    is nothing to be seen."""
    last = Seen("wait", "")
    try:
        while True:
            was_well = last.state == "well"
            last = look()
            if last.state == "lost":
                return Answer("failed", last.words)
            if last.state == "well" and was_well:
                return Answer("acknowledged", last.words)
            if monotonic() + _EVERY >= until and last.state == "wait":
                return Answer("timed out", last.words)
            sleep(_STEADY if last.state == "well" else _EVERY)
    except Stopped as error:
        if error.answer.outcome == "timed out" and last.words:
            more = ", but not yet for long enough" if last.state == "well" else ""
            return Answer("timed out", last.words + more)
        raise


def _short(command: tuple[str, ...]) -> str:
    """Program, verb and name of a command line."""
    verb = next(part for part in command[1:] if not part.startswith("-"))
    return f"{command[0]} {verb} {command[-1]}"
