"""Where the consumers of event queues stand: kept or reset as the plan says, with nothing lost or consumed twice.

A position is the JSON that a declared command prints: a number (an offset), a text with numbers in it (a stream id
such as ``1732406400000-5``, a log position such as ``0/16B3740``), or a mapping or list of positions, such as one for
each partition. A mapping with ``position`` and ``processed`` is one consumer that counts what it has processed: then
both must have grown alike."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from lastgood.catalogue import Position, matches
from lastgood.release.checks.case import Case, Checked, Verdict
from lastgood.release.checks.commands import output_of
from lastgood.release.checks.together import Job, Late, together

_COUNTED = frozenset({"position", "processed"})
_MARGIN_SECONDS = 2.0
_STREAM_ID = re.compile(r"(\d+)-(\d+)")
_LOG_POSITION = re.compile(r"([0-9A-F]{1,8})/([0-9A-F]{1,8})")
_NUMBER = re.compile(r"\d+")
_LONGEST = 120


def check(case: Case) -> Iterator[Checked]:
    """One item for each consumer of the workflow."""
    declared = _declared(case)
    if not declared:
        yield Checked("positions", "skipped", "positions kept", "no consumer of an event queue is declared")
    recorded = case.baseline.get("positions", {})
    for (name, _), found in zip(declared.items(), _ask_all(declared), strict=True):
        before = recorded.get(name)
        wanted = _wanted(case, before)
        if isinstance(found, Exception):
            yield Checked("positions", "unknown", wanted, _words(found), subject=name)
        elif before is None:
            told = f"{_short(found)}; nothing was recorded to compare it with"
            yield Checked("positions", "skipped", wanted, told, subject=name)
        elif "value" not in before:
            told = f"{_short(found)}; there is nothing to compare it with: {before.get('problem', '')}"
            yield Checked("positions", "unknown", wanted, told, subject=name)
        elif case.positions == "keep":
            yield Checked("positions", *_in_order(wanted, judge(before["value"], found)), subject=name)
        elif "was" not in before:
            told = f"{_short(found)}; it was not set, because no command that sets it is declared"
            yield Checked("positions", "unknown", wanted, told, subject=name)
        else:
            judged = judge_reset(before["was"], before["value"], found)
            yield Checked("positions", *_in_order(wanted, judged), subject=name)


def record(case: Case) -> dict[str, Any]:
    """Where each consumer stands now, by name: ``{"value": …}``, or ``{"problem": …}`` in words."""
    declared = _declared(case)
    return {
        name: {"problem": _words(found)} if isinstance(found, Exception) else {"value": found}
        for name, found in zip(declared, _ask_all(declared), strict=True)
    }


def reset(case: Case) -> dict[str, Any]:
    """Set each consumer of the workflow that can be set to the position recorded in the baseline. Gives what was set,
    by name, to take the recorded one's place there: ``{"value": …, "was": …}`` with where it stood before, or
    ``{"problem": …}`` in words. A command that prints a position has set that one."""
    recorded = case.baseline.get("positions", {})
    declared = {name: one for name, one in _declared(case).items() if one.reset and "value" in recorded.get(name, {})}
    jobs = [
        Job(partial(_set, one, recorded[name]["value"]), 2 * one.timeout + _MARGIN_SECONDS)
        for name, one in declared.items()
    ]
    return {
        name: {"problem": f"it could not be set: {_words(found)}"} if isinstance(found, Exception) else found
        for name, found in zip(declared, together(jobs), strict=True)
    }


def seconds(case: Case) -> float:
    """How long all of it may take."""
    return max((one.timeout for one in _declared(case).values()), default=0.0) + 5


def judge(before: Any, now: Any) -> tuple[Verdict, str]:
    """Whether a consumer that stood at `before` may stand at `now`, and why, in words."""
    if before == now:
        return "pass", f"{_short(now)}, kept"
    worst: Verdict = "pass"
    told = []
    for verdict, words in _compare(before, now, ""):
        if verdict != "pass":
            told.append(words)
            worst = "fail" if "fail" in (worst, verdict) else "unknown"
    return worst, "; ".join(told) or f"{_short(before)} → {_short(now)}, grown without loss"


def judge_reset(was: Any, wanted: Any, now: Any) -> tuple[Verdict, str]:
    """Whether a consumer that stood at `was` and was to be set to `wanted` has been, if it stands at `now`, and why,
    in words. It may have gone on since; where it has come to `was` again, nobody can tell."""
    if now == wanted:
        return "pass", f"{_short(now)}, as set"
    if now == was or judge(wanted, now)[0] != "pass":
        return "fail", f"got {_short(now)}, want {_short(wanted)}"
    if judge(now, was)[0] == "pass" or was == wanted:
        return "pass", f"set to {_short(wanted)}, and gone on to {_short(now)}"
    return "unknown", f"{_short(now)}, past where it stood before ({_short(was)}): whether it was set cannot be told"


def _in_order(wanted: str, judged: tuple[Verdict, str]) -> tuple[Verdict, str, str]:
    """Verdict, expected, found: as `Checked` takes them."""
    return judged[0], wanted, judged[1]


def _compare(before: Any, now: Any, where: str) -> Iterator[tuple[Verdict, str]]:
    """What is to be said of each position in `before`, which stands at `where`."""
    at = f"{where}: " if where else ""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        if before.keys() >= _COUNTED <= now.keys():
            yield from _counted(before, now, at)
        for key in before.keys() - _COUNTED if before.keys() >= _COUNTED else before.keys():
            inner = f"{where}.{key}" if where else str(key)
            if key in now:
                yield from _compare(before[key], now[key], inner)
            else:
                yield "fail", f"{inner}: lost (it was {_short(before[key])})"
    elif isinstance(before, list) and isinstance(now, list):
        if len(now) < len(before):
            yield "fail", f"{at}{len(before) - len(now)} of {len(before)} positions are lost"
        for place, (one, other) in enumerate(zip(before, now, strict=False)):
            yield from _compare(one, other, f"{where}[{place}]")
    elif before != now:
        old, new = _order(before), _order(now)
        if old is None or new is None or len(old) != len(new):
            yield "unknown", f"{at}{_short(before)} → {_short(now)}, which cannot be compared"
        elif new < old:
            yield "fail", f"{at}went back from {_short(before)} to {_short(now)}: what lies between comes twice"


def _counted(before: Mapping[str, Any], now: Mapping[str, Any], at: str) -> Iterator[tuple[Verdict, str]]:
    """A consumer that counts what it processed: position and count must have grown alike."""
    numbers = [before["position"], now["position"], before["processed"], now["processed"]]
    if any(isinstance(one, bool) or not isinstance(one, int) for one in numbers):
        yield "unknown", f"{at}position and processed are not whole numbers"
        return
    old, new, had, has = numbers
    moved, done = new - old, has - had
    if moved < 0:
        yield "fail", f"{at}went back from {old} to {new}: what lies between comes twice"
    elif done > moved:
        yield "fail", f"{at}{done} processed for {moved} consumed: {done - moved} doubled"
    elif done < moved:
        yield "fail", f"{at}{done} processed for {moved} consumed: {moved - done} lost"


def _order(value: Any) -> tuple[float, ...] | None:
    """What `value` is compared by, None where nothing is known of its order."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value,)
    if not isinstance(value, str):
        return None
    if _NUMBER.fullmatch(value):
        return (int(value),)
    if found := _STREAM_ID.fullmatch(value):
        return (int(found[1]), int(found[2]))
    if found := _LOG_POSITION.fullmatch(value):
        return (int(found[1], 16), int(found[2], 16))
    return None


def _wanted(case: Case, before: Any) -> str:
    """What is expected, in words."""
    kept = "the position that was set" if case.positions == "reset" else "the recorded position, or grown from it"
    value = (before or {}).get("value")
    return f"{kept}: {_short(value)}" if value is not None else kept


def _declared(case: Case) -> dict[str, Position]:
    found = case.means.settings.positions
    return {name: one for name, one in found.items() if matches(one.workflows, case.workflow.slug)}


def _ask_all(declared: Mapping[str, Position]) -> Sequence[Any]:
    return together(
        [Job(partial(_ask, one.command, one.timeout), one.timeout + _MARGIN_SECONDS) for one in declared.values()]
    )


def _ask(command: Sequence[str], seconds: float) -> Any:
    return _read(output_of(command, seconds))


def _set(one: Position, value: Any) -> dict[str, Any]:
    was = _ask(one.command, one.timeout)
    said = output_of(one.reset, one.timeout, input=json.dumps(value))
    with suppress(ValueError):  # most say nothing
        value = _read(said)
    return {"value": value, "was": was}


def _read(said: str) -> Any:
    """What JSON says; NaN and infinity are none."""

    def refuse(name: str) -> Any:
        raise ValueError(name)

    return json.loads(said, parse_constant=refuse)


def _words(error: Exception) -> str:
    if isinstance(error, Late | subprocess.TimeoutExpired):
        return "the command did not end in its time"
    if isinstance(error, subprocess.CalledProcessError):
        return f"the command ended with {error.returncode}"
    if isinstance(error, FileNotFoundError | PermissionError):
        return f"the command cannot be run ({type(error).__name__})"
    if isinstance(error, ValueError):
        return "the command printed no JSON"
    return f"the command could not be run ({type(error).__name__})"


def _short(value: Any) -> str:
    said = json.dumps(value, ensure_ascii=False)
    return said if len(said) <= _LONGEST else said[:_LONGEST] + "…"
