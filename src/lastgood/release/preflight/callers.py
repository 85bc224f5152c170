"""What callers sent and got lately, against the version's interface: both ways round, by names and types."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lastgood.dsl.rules import listed
from lastgood.dsl.shapes import Interface, Problem, check_inputs, check_outputs, introduced
from lastgood.history.calls import SeenShape
from lastgood.release.preflight.facts import Answer, Caller, Calls, Facts, in_service, known

_MOST: Final = 4
_LONGEST: Final = 160


@dataclass(frozen=True, slots=True)
class _Judged:
    """A shape, who was seen with it, what the version to go to has against it, and what of that is new."""

    seen: SeenShape
    who: str
    all: tuple[Problem, ...]
    new: tuple[Problem, ...]

    @property
    def broken(self) -> bool:
        """Whether the version does not go with this shape for certain."""
        return any(one.verdict == "broken" for one in self.all)

    def fresh(self, *verdicts: str) -> tuple[Problem, ...]:
        """The problems with these verdicts that the version in service does not have."""
        return tuple(one for one in self.new if one.verdict in verdicts)


def callers(facts: Facts) -> Iterator[Answer]:
    """Requests that the version would refuse, take otherwise or drop parts of, and outputs that would be missing; who
    names versions themselves is told apart."""
    calls = known(facts.calls)
    if not calls.limit:
        yield Answer("pass", "Callers are not looked at: rollback.callers is 0 in the settings.")
        return
    following = {(one.key, one.user_agent): one for one in calls.callers if one.follows}
    yield from _unaffected(facts, calls)
    shapes = [one for one in calls.shapes if (one.key_id, one.user_agent) in following]
    if not shapes:
        yield Answer(
            "pass",
            f"Nothing recorded: no request to {facts.channel} of {facts.workflow} is known whose shape could be held "
            f"against {facts.to.version}.",
        )
        return
    interface = known(facts.to.content).interface
    running = in_service(facts)
    now = running.interface if running is not None else None
    judged = [_judged(one, following[one.key_id, one.user_agent], interface, now) for one in shapes]
    sent = [one for one in judged if one.seen.kind == "inputs"]
    got = [one for one in judged if one.seen.kind == "outputs"]
    told = [*_sent(facts, sent), *_got(facts, got)]
    yield from told
    if not told:
        requests = sum(one.seen.requests for one in sent)
        yield Answer(
            "pass",
            f"{facts.to.version} takes what all {_number(len({one.who for one in judged}), 'caller')} sent in "
            f"{_number(requests, 'recorded request')}, and gives what they got.",
        )


def _judged(seen: SeenShape, caller: Caller, interface: Interface, now: Interface | None) -> _Judged:
    check = check_inputs if seen.kind == "inputs" else check_outputs
    problems = check(seen.shape, interface)
    new = problems if now is None else introduced(problems, check(seen.shape, now))
    return _Judged(seen, caller.name or caller.key, problems, new)


def _unaffected(facts: Facts, calls: Calls) -> Iterator[Answer]:
    """Callers whose requests name a version themselves: no move reaches those."""
    named = {one.name or one.key for one in calls.callers if one.pins}
    partly = named & {one.name or one.key for one in calls.callers if one.follows}
    for names, which in ((named - partly, "requests"), (partly, "a part of the requests")):
        if names:
            yield Answer(
                "pass",
                f"Not affected are {which} of {listed(sorted(names), _MOST)}: they name a version of "
                f"{facts.workflow} themselves.",
                f"pinned: {which}",
            )


def _sent(facts: Facts, sent: Sequence[_Judged]) -> Iterator[Answer]:
    to, total = facts.to.version, sum(one.seen.requests for one in sent)
    if sent and all(one.broken for one in sent) and any(one.fresh("broken") for one in sent):
        words = _words(problem for one in sent for problem in one.all if problem.verdict == "broken")
        yield Answer(
            "refuse",
            f"{to} would refuse every recorded request ({total:,}, by {listed(sorted({one.who for one in sent}))}): "
            f"{words}. Go to another version, or let the callers change first.",
            "every request",
        )
        return
    for who, group in _by_caller(sent).items():
        yield from _of_caller(to, who, group, total)
    yield from _unknown(to, sent, "requests")


def _of_caller(to: str, who: str, group: Sequence[_Judged], total: int) -> Iterator[Answer]:
    ways: Sequence[tuple[tuple[str, ...], str]] = (
        (("broken",), "would refuse"),
        (("uncertain",), "may refuse"),
        (("ignored",), "would drop a part of"),
    )
    for verdicts, does in ways:
        hit = [one for one in group if one.fresh(*verdicts)]
        if hit:
            words = _words(problem for one in hit for problem in one.fresh(*verdicts))
            yield Answer(
                "warn",
                f"{to} {does} {_share(sum(one.seen.requests for one in hit), total)} by {who}: {words}. Tell them "
                "before you go on.",
                f"{who}: {does}",
            )


def _got(facts: Facts, got: Sequence[_Judged]) -> Iterator[Answer]:
    to, total = facts.to.version, sum(one.seen.requests for one in got)
    for who, group in _by_caller(got).items():
        for verdict, does in (("broken", "loses outputs"), ("uncertain", "may lose outputs")):
            hit = [one for one in group if one.fresh(verdict)]
            if hit:
                words = _words(problem for one in hit for problem in one.fresh(verdict))
                count = sum(one.seen.requests for one in hit)
                yield Answer(
                    "warn",
                    f"{who} {does} with {to}, seen in {_share(count, total, 'answer')}: {words}. Make sure that they "
                    "do without.",
                    f"{who}: {does}",
                )
    yield from _unknown(to, got, "answers")


def _unknown(to: str, judged: Sequence[_Judged], what: str) -> Iterator[Answer]:
    """Shapes that were not recorded say nothing."""
    count = sum(one.seen.requests for one in judged if one.seen.shape is None)
    if count:
        yield Answer(
            "warn",
            f"Of {count:,} of the recorded {what} the shape is not known, so whether {to} goes with them is not "
            "either. Watch them after the move.",
            f"unknown {what}",
        )


def _by_caller(judged: Iterable[_Judged]) -> Mapping[str, list[_Judged]]:
    found: dict[str, list[_Judged]] = defaultdict(list)
    for one in judged:
        found[one.who].append(one)
    return dict(sorted(found.items()))


def _words(problems: Iterable[Problem]) -> str:
    """The messages, each once, not too many."""
    said = list(dict.fromkeys(problem.message[:_LONGEST] for problem in problems))
    more = f"; and {len(said) - _MOST} more" if len(said) > _MOST else ""
    return "; ".join(said[:_MOST]) + more


def _share(count: int, total: int, what: str = "request") -> str:
    return f"{count:,} of {_number(total, f'recorded {what}')} ({count / max(1, total):.0%})"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
