"""The verification checklist: its items in their order, run together, and the verdict on all of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, Literal

from lastgood.db.tx import Tx
from lastgood.dsl.mask import Mask
from lastgood.errors import LastgoodError
from lastgood.history import versions
from lastgood.release.checks import (
    access,
    app,
    custom,
    data,
    dependencies,
    health,
    instances,
    pointer,
    positions,
    report,
    routes,
    smoke,
    triggers,
    workers,
)
from lastgood.release.checks.case import Case, Check, Checked
from lastgood.release.checks.together import Job, Late, together

Overall = Literal["passed", "failed", "inconclusive", "none"]
_SECONDS = 30.0
_LONGEST = 600


def _some_seconds(_: Case) -> float:
    return _SECONDS


@dataclass(frozen=True, slots=True)
class Item:
    """An item by name: how it is checked, what it records before a move, and how long either may take."""

    name: str
    check: Check
    record: Callable[[Case], dict[str, Any]] | None = None
    seconds: Callable[[Case], float] = _some_seconds


ITEMS = (
    Item("pointer", pointer.check),
    Item("routes", routes.check),
    Item("workers", workers.check, seconds=workers.seconds),
    Item("health", health.check, seconds=health.seconds),
    Item("smoke", smoke.check, seconds=smoke.seconds),
    Item("instances", instances.check, instances.record),
    Item("triggers", triggers.check),
    Item("app", app.check, app.record),
    Item("positions", positions.check, positions.record, positions.seconds),
    Item("dependencies", dependencies.check, seconds=dependencies.seconds),
    Item("data", data.check, data.record, data.seconds),
    Item("access", access.check),
)


def names() -> tuple[str, ...]:
    """The names of all items, the installed custom ones last."""
    return tuple(item.name for item in _items())


def run(case: Case, only: tuple[str, ...] = ()) -> list[Checked]:
    """Check `case` by every item, or by those named in `only`, at the same time, and keep what was found as evidence
    on the version (unless nothing was checked).

    An item that fails of itself or takes too long is ``unknown``, and so is a name that no item has; nothing is
    raised. Smoke requests may change the version's state (`smoke.check`); nothing else does."""
    items = [item for item in _items() if not only or item.name in only]
    answers = together([Job(partial(_checked, item, case), _limit(item, case)) for item in items])
    found: list[Checked] = []
    for item, answer in zip(items, answers, strict=True):
        found += [_unknown(item.name, answer)] if isinstance(answer, Exception) else answer
    known = {item.name for item in items}
    missing = [name for name in only if name not in known]
    found += [Checked(name, "unknown", "a check of this name", "there is none") for name in missing]
    mask = _mask(case)
    told = [replace(one, expected=_told(one.expected, mask), found=_told(one.found, mask)) for one in found]
    return [*told, *_keep(case, told)]


def record(case: Case) -> dict[str, Any]:
    """What must be known before a move to check after it, by item, as JSON values. An item that cannot say records
    nothing."""
    items = [(item.name, item.record, _limit(item, case)) for item in _items() if item.record is not None]
    answers = together([Job(partial(make, case), limit) for _, make, limit in items])
    return {
        name: {} if isinstance(answer, Exception) else answer
        for (name, _, _), answer in zip(items, answers, strict=True)
    }


def verdict(checked: Iterable[Checked]) -> Overall:
    """One verdict for all: a failure counts first, and what is unknown is never a pass. ``none`` where nothing that
    counts was checked."""
    found = {one.verdict for one in checked if one.required}
    if "fail" in found:
        return "failed"
    if "unknown" in found:
        return "inconclusive"
    return "passed" if "pass" in found else "none"


def _items() -> list[Item]:
    own = {item.name for item in ITEMS}
    points = custom.installed().items()
    return [*ITEMS, *(Item(name, partial(custom.check, point)) for name, point in points if name not in own)]


def _limit(item: Item, case: Case) -> float:
    try:
        return item.seconds(case)
    except LastgoodError:  # the store; the item itself will say so
        return _SECONDS


def _checked(item: Item, case: Case) -> list[Checked]:
    """What an item finds; what it found before it failed is not lost."""
    began = perf_counter()
    found: list[Checked] = []
    try:
        found.extend(item.check(case))
    except Exception as error:
        found.append(replace(_unknown(item.name, error), elapsed_ms=(perf_counter() - began) * 1000))
    return found


def _unknown(name: str, error: Exception) -> Checked:
    """What is said of an item that did not come to an end. Only the words of our own errors may be told."""
    if isinstance(error, Late):
        found = "it did not end in its time"
    elif isinstance(error, LastgoodError):
        found = str(error)
    else:
        found = f"it could not be checked ({type(error).__name__})"
    return Checked(name, "unknown", "the check comes to an end", found)


def _mask(case: Case) -> Mask:
    """Hides the version's secrets, should anything repeat one."""
    try:
        with case.means.store.read() as tx:
            return Mask(versions.secrets_of(tx, case.version).values())
    except LastgoodError:
        return Mask()


def _told(text: str, mask: Mask) -> str:
    """`text` on one line, not too long, without secrets."""
    line = " ".join("".join(c if c.isprintable() else " " for c in mask.text(text)).split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def _keep(case: Case, found: Sequence[Checked]) -> Iterator[Checked]:
    """Keep the outcome as evidence on the version; an item more where that cannot be done."""
    outcome = verdict(found)
    if outcome == "none":
        return
    detail = {
        "reason": report.sentence(found),
        "channel": case.channel,
        "generation": case.generation,
        "checks": [one.as_data() for one in found],
    }

    def keep(tx: Tx) -> None:
        case.means.fence(tx)
        versions.add_evidence(tx, case.who, case.version, kind="verification", verdict=outcome, detail=detail)

    try:
        case.means.store.write(keep)
    except LastgoodError as error:
        yield Checked("evidence", "unknown", "the outcome is kept with the version", str(error))
