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


def telling(command: tuple[str, ...], ended: Ended) -> str:
    """How a command line ended and what it said."""
    said = next((line.strip() for line in ended.output.splitlines() if line.strip()), "")
    return f"{_short(command)} {ended.sentence}" + (f": {said}" if said else "")


def watch(look: Callable[[], Seen], until: float) -> Answer:
    """Look again and again until it is well and stays so, is lost, or the time is over."""
    while True:
        seen = look()
        if seen.state == "well":
            sleep(_STEADY)
            seen = look()
            if seen.state == "well":
                return Answer("acknowledged", seen.words)
        if seen.state == "lost":
            return Answer("failed", seen.words)
        if monotonic() + _EVERY >= until:
            return Answer("timed out", seen.words)
        sleep(_EVERY)


def _short(command: tuple[str, ...]) -> str:
    """The command line without its options."""
    return " ".join(part for part in command[:1] + command[1:] if not part.startswith("-"))
