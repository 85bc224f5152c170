"""What a test makes go wrong, or do at a certain moment: rules on the n-th request of a kind."""

from collections.abc import Callable
from dataclasses import dataclass, field

from dify_server.calls import Answer, Request

Match = str | Callable[[Request], bool]


@dataclass
class Fault:
    """On the requests number `first` to `last` that match: `act` before or after it took effect, then wait, then
    `answer` in place of the server's own, or drop the connection."""

    match: Match
    first: int = 1
    last: int = 1
    after: bool = False
    act: Callable[[], object] | None = None
    wait: float = 0.0
    answer: Answer | None = None
    drop: bool = False
    seen: int = field(default=0, init=False)

    def fits(self, request: Request) -> bool:
        """Whether it is this request's turn; each asking counts."""
        if callable(self.match):
            fits = self.match(request)
        else:
            method, _, end = self.match.rpartition(" ")
            fits = (not method or request.method == method) and request.path.endswith(end)
        if fits:
            self.seen += 1
        return fits and self.first <= self.seen <= self.last


class Faults:
    """The rules of one server. A match is ``"POST /workflows/publish"`` (the path's end; ``"/publish"`` for any
    method, ``""`` for everything) or a function of the request. Each may say which matching request is meant: `nth`,
    and how many from there on: `times`."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []

    def add(self, match: Match, nth: int, times: int, **what: object) -> None:
        self.rules.append(Fault(match, nth, nth + times - 1, **what))  # type: ignore[arg-type]

    def before(self, match: Match, act: Callable[[], object], *, nth: int = 1, times: int = 1) -> None:
        """Calls `act` just before the request takes effect: an editor's autosave between draft and publish."""
        self.add(match, nth, times, act=act)

    def after(self, match: Match, act: Callable[[], object], *, nth: int = 1, times: int = 1) -> None:
        """Calls `act` when the request has taken effect, before its answer leaves."""
        self.add(match, nth, times, act=act, after=True)

    def fail(
        self, match: Match, status: int = 500, body: object = None, *, nth: int = 1, times: int = 1,
        took_effect: bool = False,
    ) -> None:  # fmt: skip
        """Answers an error, before or after the request took effect."""
        told = body if body is not None else {
            "message": "Internal Server Error", "code": "unknown", "status": status,
        }  # fmt: skip
        self.add(match, nth, times, answer=Answer(status, told), after=took_effect)

    def drop(self, match: Match, *, nth: int = 1, times: int = 1, took_effect: bool = True) -> None:
        """Closes the connection without an answer: a lost reply when it `took_effect`, else a lost request."""
        self.add(match, nth, times, drop=True, after=took_effect)

    def hang(
        self, match: Match, seconds: float = 300.0, *, nth: int = 1, times: int = 1, took_effect: bool = False
    ) -> None:
        """Says nothing for so long, then closes."""
        self.add(match, nth, times, wait=seconds, drop=True, after=took_effect)

    def slow(self, match: Match, seconds: float, *, nth: int = 1, times: int = 1_000_000) -> None:
        """Answers, but later."""
        self.add(match, nth, times, wait=seconds, after=True)

    def clear(self) -> None:
        self.rules.clear()

    def on(self, request: Request) -> tuple[list[Fault], list[Fault]]:
        """The rules for this request: those before and those after it takes effect."""
        found = [rule for rule in self.rules if rule.fits(request)]
        return [rule for rule in found if not rule.after], [rule for rule in found if rule.after]
