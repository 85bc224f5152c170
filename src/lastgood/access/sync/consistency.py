"""Whether our grants of a source are what the source says: all of them (full), or by digests those that may differ
(incremental). What differs is told with why, and repaired where the policy, or a person, says so.

A source that is read by lists (`dify`, `url`, entry points) is learnt in the same way: what the list has is granted,
what it has no more is revoked. A list that would take away too many at once is doubted, and an empty one always,
unless a person says that it is right."""

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from lastgood.access.grants import Stamp
from lastgood.access.sync import buckets, dead, events, intake, sources
from lastgood.access.sync.events import Had
from lastgood.access.sync.intake import Intake, Row
from lastgood.access.sync.kafka import rules_of
from lastgood.access.sync.listing import Lister, Listing
from lastgood.catalogue import GrantSource
from lastgood.db import audit
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import ListDoubted, MalformedEvent, SourceMoved, SourceUnreachable

type Kind = Literal["full", "incremental"]

EVENT: Final = "access.differs"
_MOST_TOLD: Final = 50
_FEW: Final = 3  # so many may always go at once, unless nothing is left


@dataclass(frozen=True, slots=True)
class Difference:
    """`user` has a role by the source and not here (missing), or here and not by the source (extra), and why."""

    kind: Literal["missing", "extra"]
    user: str
    role: str
    resource: str
    why: str

    def public(self) -> dict[str, str]:
        """Its JSON form."""
        return {"kind": self.kind, "user": self.user, "role": self.role, "resource": self.resource, "why": self.why}


@dataclass(slots=True)
class Report:
    """What a check found. `newer`: what differs because of events that the list is too old for; `received`: bytes of
    the source's answers; `repaired`: changes made."""

    source: str
    kind: Kind
    compared: int = 0
    differences: list[Difference] = field(default_factory=list)
    newer: int = 0
    received: int = 0
    took_ms: float = 0.0
    repaired: int = 0
    kept_out: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def in_step(self) -> bool:
        """Whether nothing differs any more."""
        return not self.differences or self.repaired >= len(self.differences)

    def public(self) -> dict[str, Any]:
        """Its JSON form, with the first differences."""
        counts = Counter(one.kind for one in self.differences)
        return {
            "source": self.source,
            "kind": self.kind,
            "in_step": self.in_step,
            "compared": self.compared,
            "missing": counts["missing"],
            "extra": counts["extra"],
            "newer": self.newer,
            "repaired": self.repaired,
            "kept_out": self.kept_out,
            "received": self.received,
            "took_ms": round(self.took_ms, 1),
            "differences": [one.public() for one in self.differences[:_MOST_TOLD]],
            "problems": self.problems,
        }


def check(
    store: Store,
    who: Principal,
    name: str,
    setting: GrantSource,
    lister: Lister,
    kind: Kind,
    *,
    repair: bool = False,
    sure: bool = False,
) -> Report:
    """Compare the source `name` with our grants of it. `repair`: make ours what it says; `sure`: however many go.

    Raises `SourceUnreachable`, `SourceMoved` where a newer list was taken in meanwhile, `ListDoubted`; the last only
    after it has been told as an event."""
    began, clock = int(time.time()), time.perf_counter()
    report = Report(name, kind)
    before = store.write(lambda tx: sources.ensure(tx, name, setting.kind))
    only = as_of = None
    if kind == "incremental" and (told := lister.digests()) is not None:
        with store.read() as tx:
            ours = buckets.digests(intake.held(tx, name))
        only, as_of = buckets.differing(ours, told[0]), told[1]
    listing = lister.grants(only) if only is None or only else Listing(set(), as_of)
    if listing.events is not None:
        told_events = listing.events
        store.write(lambda tx: _take_events(tx, who, name, setting, told_events))
    if listing.as_of is not None and listing.as_of > began + setting.future_hours * 3600:
        raise SourceUnreachable(source=name, reason=f"its list is of {listing.as_of}, which is too far in the future")
    report.received, report.problems, report.kept_out = lister.received, listing.problems, listing.kept_out
    wins = repair or (setting.policy == "source-wins" and not setting.by_lists)

    def work(tx: Tx) -> ListDoubted | None:
        # Run again after a deadlock: it begins with nothing.
        report.differences, report.newer, report.repaired = [], 0, 0
        source = sources.hold(tx, name)
        doubt = None
        if listing.events is None:
            if setting.by_lists and source.stored != before.stored:
                raise SourceMoved(source=name)  # by a list that was asked for later, maybe: ours is none to go by
            stamp = _stamp(source, setting, listing.as_of if listing.as_of is not None else began)
            held = _compare(tx, report, listing.had, stamp, only)
            doubt = _doubt(report, setting, held) if wins and not sure else None
            if wins and doubt is None:
                report.repaired = Intake(tx, who, name).replace(*_sides(report), stamp)["applied"]
                _move(tx, source, setting, stamp, report)
        report.took_ms = (time.perf_counter() - clock) * 1000
        # A look at a list is no reading of it, which would be put off by that.
        _note(tx, source, report, doubt, timed=wins or not setting.by_lists)
        return doubt

    doubt = store.write(work)
    if doubt is not None:
        raise doubt
    return report


def _compare(tx: Tx, report: Report, theirs: set[Had], stamp: Stamp, only: Sequence[int] | None) -> int:
    """Find what differs and is not newer than `stamp`. Says how many grants we hold, whether compared or not."""
    rows = intake.standing(tx, report.source)
    ours = {(user, *key) for user, keys in rows.items() for key, row in keys.items() if row.present}
    held = len(ours)
    if only is not None:
        wanted = set(only)
        ours = {one for one in ours if buckets.bucket_of(one) in wanted}
    report.compared = len(ours | theirs)
    differing = ours ^ theirs
    waiting = _waiting(tx, report.source) if differing else {}
    for one in sorted(differing):
        user, role, resource = one
        keys = rows.get(user, {})
        row, mark = keys.get((role, resource)), intake.mark_of(keys, role, resource)
        newest = max(row.stamp if row else intake.NEVER, mark)
        if newest > stamp:
            report.newer += 1
        elif one in ours:
            why = f"{_since(row)}, and no event has ended it{waiting.get(user, '')}"
            report.differences.append(Difference("extra", user, role, resource, why))
        else:
            why = _missing(row, mark) + waiting.get(user, "")
            report.differences.append(Difference("missing", user, role, resource, why))
    return held


def _missing(row: Row | None, mark: Stamp) -> str:
    if row is not None and row.stamp >= mark:
        return f"an event of {_at(row.stamp)} took it away"
    if mark != intake.NEVER:
        return f"an event of {_at(mark)} took everything away, and none has granted it since"
    return "no event has granted it"


def _since(row: Row | None) -> str:
    return "granted" if row is None else f"granted by an event of {_at(row.stamp)}"


def _at(stamp: Stamp) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(stamp[0], 253_402_300_799)))


def _waiting(tx: Tx, source: str) -> dict[str, str]:
    """What may explain a difference: dead events by their user, as far as that can be read."""
    found: dict[str, str] = {}
    for one in dead.reasons(tx, source):
        try:
            data = orjson.loads(one.body or b"")
        except orjson.JSONDecodeError:
            continue
        user = data.get("user_id") if isinstance(data, dict) else None
        if isinstance(user, str):
            found.setdefault(user, f" (dead event {one.pk}: {one.reason})")
    return found


def _doubt(report: Report, setting: GrantSource, held: int) -> ListDoubted | None:
    """Whether what is to be taken away is too much to be believed."""
    revoked = sum(1 for one in report.differences if one.kind == "extra")
    if (revoked and revoked == held) or revoked > max(_FEW, setting.most_revoked * held):
        return ListDoubted(source=report.source, revoked=revoked, held=held)
    return None


def _sides(report: Report) -> tuple[set[Had], set[Had]]:
    """What of ours differs, and what is to be in its place."""
    sides: dict[str, set[Had]] = {"extra": set(), "missing": set()}
    for one in report.differences:
        sides[one.kind].add((one.user, one.role, one.resource))
    return sides["extra"], sides["missing"]


def _stamp(source: sources.Source, setting: GrantSource, at: int) -> Stamp:
    """The stamp of a list. Among events of its own second it is the first, because it may be older than they. Where
    there are only lists each is newer than the one before, whatever the clocks say."""
    if not setting.by_lists:
        return at, -1
    before = (int(source.position.get("at", 0)), int(source.position.get("number", 0)))
    return max(at, before[0]), before[1] + 1


def _move(tx: Tx, source: sources.Source, setting: GrantSource, stamp: Stamp, report: Report) -> None:
    if setting.by_lists:
        counts = sources.counted(source.position, {"applied": report.repaired})
        sources.move(tx, source, {**source.position, "at": stamp[0], "number": stamp[1], "counts": counts})


def _note(tx: Tx, source: sources.Source, report: Report, doubt: ListDoubted | None, *, timed: bool) -> None:
    told = {**report.public(), "at": tx.now, "problem": str(doubt) if doubt else ""}
    result = {**source.result, "last": told, report.kind: told}
    times = ("full_at", "incremental_at") if report.kind == "full" else ("incremental_at",)
    sources.note(tx, source, result=result, **{name: tx.now for name in times if timed})
    if doubt is not None or not report.in_step:
        audit.emit(tx, EVENT, f"access/{report.source}", told)


def _take_events(tx: Tx, who: Principal, name: str, setting: GrantSource, told: list[Any]) -> None:
    """Take in events that came as a list: the later one in it wins, and what was taken in changes nothing again. One
    that is malformed is known by its bytes, since the next list may have it elsewhere."""
    source = sources.hold(tx, name)
    rules = rules_of(setting)
    read = []
    outcomes: Counter[str] = Counter()
    for number, one in enumerate(told):
        body = events.written(one)
        try:
            event = events.read(body, rules)
        except MalformedEvent as error:
            place = f"event {hashlib.sha256(body).hexdigest()[:16]}"
            dead.keep(tx, name, place, number, body, events.Around(), str(error))
            outcomes["malformed"] += 1
        else:
            read.append(((event.at, number), event))
    outcomes.update(Intake(tx, who, name).take(read))
    counts = sources.counted(source.position, outcomes)
    sources.move(tx, source, {**source.position, "counts": counts})
