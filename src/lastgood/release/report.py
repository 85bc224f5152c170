"""What an operation did, as a person just woken up reads it: the outcome first, then what to do, then the rest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lastgood.release import flow
from lastgood.release.journal import Operation, Step
from lastgood.release.plan import Plan

_DONE = {
    "rollback": "Rolled back",
    "publish": "Published",
    "rehearsal": "Rehearsed",
    "heal": "Put back",
    "converge": "Given",
}
_NOUN = {
    "rollback": "rollback",
    "publish": "publish",
    "rehearsal": "rehearsal",
    "heal": "healing",
    "converge": "convergence",
}
_MARKS = {"done": "done", "failed": "FAILED", "skipped": "–", "begun": "not finished"}
_MOST_SHOWN = 20
_UNDO = ("undo", *(f"undo-{name}" for name in flow.WRITING))


@dataclass(frozen=True, slots=True)
class Said:
    """One sentence for lists, and the whole report as Markdown."""

    summary: str
    markdown: str


def of(operation: Operation) -> Said:
    """The report of an operation whose other steps are over. Pure."""
    outcome = flow.ended(operation.steps)
    summary = _summary(operation, outcome)
    lines = [f"# {_headline(operation, outcome)}", "", *_now(operation, outcome), "", *_next(operation, outcome)]
    lines += ["", f"Operation `{operation.id}`, by {operation.actor}, begun {_time(operation.created_at)}."]
    if operation.reason:
        lines.append(f"Reason given: {_flat(operation.reason)}")
    lines += _passed(operation)
    for one in operation.plan.moves:
        lines.append(f"Why {one.to_version}: {_flat(one.why).rstrip('.') or 'named'}.")
    for section in (_failures, _told, _findings, _services, _kept_as_is, _steps):
        part = list(section(operation))
        if part:
            lines += ["", *part]
    return Said(summary, "\n".join(lines) + "\n")


def reason_of(plan: Plan) -> str:
    """The reason of a plan as logs tell it: one that was done by break-glass says so."""
    return f"BREAK-GLASS: {plan.reason}" if plan.break_glass else plan.reason


def foretold(plan: Plan) -> Iterator[str]:
    """What a plan would do, in sentences, before it is done."""
    for one in plan.moves:
        force = " BY FORCE" if plan.force else ""
        yield (
            f"{plan.kind}{force}: {one.channel} of {one.workflow} from {one.from_version or 'nothing'} to "
            f"{one.to_version}, if it is still at generation {one.expected_generation}"
        )
        if one.why:
            yield f"why {one.to_version}: {_flat(one.why)}"
        if one.adopts:
            yield f"Dify serves {one.adopts}, which is adopted first"
        if one.way:
            yield f"on Dify by `{one.way}`"
    if plan.promoted_from:
        yield f"promoted from {plan.promoted_from}"
    if plan.semver:
        yield f"as SemVer {plan.semver}"
    if not plan.verify:
        yield "it is NOT verified afterwards"
    yield f"when its verification fails: {plan.on_verification_failure}"


def _passed(operation: Operation) -> Iterator[str]:
    """By what it passed the protection of its channels."""
    how = _of(operation, "plan")
    if "approval" in how:
        yield f"Approved by {', '.join(how['approved_by'])} (`{how['approval']}`)."
    for sentence in how.get("break_glass", ()):
        yield f"**BREAK-GLASS**: passed, although {_flat(sentence)}."


def _headline(operation: Operation, outcome: str) -> str:
    names = sorted({one.workflow for one in operation.plan.moves})
    what = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return {
        "succeeded": f"{_DONE[operation.kind]}: {what}",
        "kept": f"NOT WELL: the {_NOUN[operation.kind]} of {what} failed its verification and was kept",
        "undone": f"UNDONE: the {_NOUN[operation.kind]} of {what} was taken back",
        "failed": f"NOTHING MOVED: the {_NOUN[operation.kind]} of {what} was stopped",
    }[outcome]


def _now(operation: Operation, outcome: str) -> Iterator[str]:
    """What is live, a short line for each channel, and then why."""
    moved = _moved(operation, "undo" if outcome == "undone" else "move")
    back = " again" if outcome == "undone" else ""
    for one in moved[:_MOST_SHOWN]:
        was = f"was {one['from'] or 'nothing'}"
        yield f"- Now {one['channel']} of {one['workflow']} serves {one['to']}{back} ({was})"
    if len(moved) > _MOST_SHOWN:
        yield f"- and {len(moved) - _MOST_SHOWN} more channels"
    if outcome == "failed":
        serves = _of(operation, flow.PUT_BACK).get("serves")
        for planned in operation.plan.moves[:_MOST_SHOWN]:
            where = f"{planned.channel} of {planned.workflow}"
            if serves:
                yield f"- {where} was not moved; {_flat(serves)}"
                continue
            yield f"- Now {where} serves {planned.from_version or 'nothing'}, as before"
    yield ""
    yield _capital(_why(operation, outcome))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _why(operation: Operation, outcome: str) -> str:
    """How it came to its outcome, as one sentence."""
    if outcome == "failed":
        stopped = _any_failed(operation, (*flow.BEFORE, *flow.WRITING))
        return (
            _reason(operation, (*flow.BEFORE, *flow.WRITING)) if stopped else "a person took it back before the move."
        )
    if outcome == "succeeded":
        hook = operation.steps.get("post-hook")
        late = " The hook afterwards FAILED." if hook and hook.state == "failed" else ""
        return f"{_proof(operation, 'verification')}{late}"
    if outcome == "undone":
        why = _reason(operation, flow.AFTER) if _any_failed(operation, flow.AFTER) else "a person asked for it."
        if _any_failed(operation, ("undo-verification",)):
            why += " What is live again is NOT WELL either."
        return why
    if flow.is_undoing(operation.steps):
        return f"it could not be taken back: {_reason(operation, _UNDO)}"
    return _reason(operation, flow.AFTER)


def _summary(operation: Operation, outcome: str) -> str:
    moved = _moved(operation, "undo" if outcome == "undone" else "move")
    now = "; ".join(
        f"{m['channel']} of {m['workflow']} serves {m['to']} (was {m['from'] or 'nothing'})" for m in moved
    )
    why = _why(operation, outcome)
    serves = _of(operation, flow.PUT_BACK).get("serves")
    if outcome == "failed":
        return f"Nothing was moved: {why}{f' {_capital(serves)}.' if serves else ''}"
    if outcome == "succeeded" and not moved:
        planned = operation.plan.moves[0]
        return f"{planned.channel} of {planned.workflow}: the app itself serves {planned.to_version}. {why}"
    if outcome == "succeeded":
        return f"{now}. {why}"
    if outcome == "undone":
        back = "; ".join(f"{m['channel']} of {m['workflow']} is back on {m['to']}" for m in moved)
        return f"{back}, because {why}"
    return f"{now}, and {why.removeprefix('it ')}" if flow.is_undoing(operation.steps) else f"{now}, but {why}"


def _next(operation: Operation, outcome: str) -> Iterator[str]:
    """What the reader may do now, as commands."""
    if outcome == "kept" and not flow.is_undoing(operation.steps):
        yield f"- To go back to where it was: `lastgood operation {operation.id} --undo`"
    if outcome in ("kept", "undone"):
        for one in operation.plan.moves[:5]:
            channel = "" if one.channel == "live" else f" --channel {one.channel}"
            yield f"- To choose another version: `lastgood rollback {one.workflow} --to VERSION{channel}`"
    if outcome == "failed":
        yield "- Mend what is said above and begin again; nothing needs to be taken back."
    if outcome == "succeeded" and operation.kind == "rollback":
        for one in operation.plan.moves[:5]:
            shown = f"lastgood diff {one.workflow} {one.to_version} {one.from_version}"
            yield f"- What {one.from_version} had changed: `{shown}`"


def _failures(operation: Operation) -> Iterator[str]:
    failed = [item for item in _items(operation) if item["verdict"] == "fail"]
    unknown = [item for item in _items(operation) if item["verdict"] == "unknown"]
    if failed or unknown:
        yield "## What is not well"
        yield ""
    for item in failed:
        yield f"- **{_name(item)}**"
        yield f"  - found: {_flat(item['found'])}"
        yield f"  - wanted: {_flat(item['expected'])}"
    for item in unknown:
        yield f"- {_name(item)}: not known ({_flat(item['found'])})"


def _steps(operation: Operation) -> Iterator[str]:
    yield "## Step by step"
    yield ""
    yield "| step | outcome | took | |"
    yield "|---|---|---|---|"
    for step in operation.steps.values():
        took = "" if step.elapsed_ms is None or step.state == "skipped" else f"{step.elapsed_ms:,.1f} ms"
        again = f"attempt {step.attempts}" if step.attempts > 1 else ""
        said = "; ".join(part for part in (again, _cell(_detail(step))) if part)
        yield f"| {step.name} | {_MARKS[step.state]} | {took} | {said} |"


def _detail(step: Step) -> str:
    """What is worth saying of a step on one line."""
    told = "; ".join(_flat(step.detail[name]) for name in ("warning", "left", "corrected") if step.detail.get(name))
    return told or _plain_detail(step)


def _plain_detail(step: Step) -> str:
    if problem := step.detail.get("problem"):
        return str(problem.get("detail", ""))
    if step.state == "skipped":
        return str(step.detail.get("reason", ""))
    if "items" in step.detail:
        return _counted(step.detail["items"]) if step.detail["items"] else "nothing is declared to check"
    if step.detail.get("unconfirmed"):
        return "not confirmed by " + ", ".join(step.detail["unconfirmed"])
    if "hook" in step.detail and step.state == "failed":
        said = _flat(step.detail.get("output", ""))[-200:]
        return f"{step.detail['hook']} ended with {step.detail.get('code')}" + (f": {said}" if said else "")
    return ""


def _told(operation: Operation) -> Iterator[str]:
    told = [one for name in ("listeners", "undo-listeners") for one in _of(operation, name).get("told", [])]
    if not told:
        return
    yield "| listener | answer | took | |"
    yield "|---|---|---|---|"
    for one in told:
        yield f"| {one['name']} | {one['outcome']} | {one['elapsed_ms']:,.1f} ms | {_cell(one['detail'])} |"


def _findings(operation: Operation) -> Iterator[str]:
    findings = [one for one in operation.plan.findings if one.verdict != "pass"]
    if findings:
        yield "## Known before"
        yield ""
    for one in findings[:_MOST_SHOWN]:
        yield f"- {one.verdict}: {_flat(one.sentence)}"
    if len(findings) > _MOST_SHOWN:
        yield f"- and {len(findings) - _MOST_SHOWN} more"


def _services(operation: Operation) -> Iterator[str]:
    if operation.plan.services:
        yield "| module | affected service | risk | reason | responsible |"
        yield "|---|---|---|---|---|"
    for one in operation.plan.services:
        cells = (one.module, one.name, one.risk, one.reason, one.responsible)
        yield f"| {' | '.join(map(_cell, cells))} |"


def _kept_as_is(operation: Operation) -> Iterator[str]:
    if operation.kind == "publish":
        return
    yield "## Not rolled back"
    yield ""
    for one in operation.plan.not_rolled_back:
        yield f"- {_flat(one)}"


def _reason(operation: Operation, names: tuple[str, ...]) -> str:
    """Why the first failed step of `names` failed, as the end of a sentence."""
    for name in names:
        step = operation.steps.get(name)
        if step is None or step.state != "failed":
            continue
        if problem := step.detail.get("problem"):
            return str(problem.get("detail") or name)
        bad = [item for item in step.detail.get("items", []) if item["verdict"] == "fail"]
        if bad:
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            return f"{_name(bad[0])}: got {_flat(bad[0]['found'])}, want {_flat(bad[0]['expected'])}{more}."
        deaf = [one["name"] for one in step.detail.get("told", []) if one["outcome"] in ("failed", "timed out")]
        if deaf:
            return f"the listener {deaf[0]} did not acknowledge."
        return f"the step {name} failed: {_detail(step)}."
    return "no reason was kept."


def _proof(operation: Operation, name: str) -> str:
    step = operation.steps.get(name)
    if step is None or step.state == "skipped":
        return "Not verified."
    items = _items(operation)
    smoke = any(item["check"] == "smoke" and item["verdict"] == "pass" for item in items)
    said = f"Verified: {_counted(items)}."
    return said if smoke else f"{said} No smoke request ran, so nothing new is proven about the version."


def _counted(items: list[dict[str, Any]]) -> str:
    """``12 checks passed, 1 failed``."""
    count = {
        verdict: sum(1 for item in items if item["verdict"] == verdict) for verdict in ("pass", "fail", "unknown")
    }
    said = [f"{count['pass']} of {sum(count.values())} checks passed"]
    if count["unknown"]:
        said.append(f"{count['unknown']} not known")
    return ", ".join(said)


def _items(operation: Operation) -> list[dict[str, Any]]:
    """The checklist that counts: after an undo, the one of the undo."""
    names = ("undo-verification",) if "undo-verification" in operation.steps else ("data-checks", "verification")
    return [item for name in names for item in _of(operation, name).get("items", [])]


def _moved(operation: Operation, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _of(operation, name).get("moves", [])
    return found


def _of(operation: Operation, name: str) -> Mapping[str, Any]:
    step = operation.steps.get(name)
    return step.detail if step else {}


def _any_failed(operation: Operation, names: tuple[str, ...]) -> bool:
    return any(name in operation.steps and operation.steps[name].state == "failed" for name in names)


def _name(item: Mapping[str, Any]) -> str:
    subject = f" {item['subject']}" if item["subject"] else ""
    return f"{item['check']}{subject}"


def _time(at: str) -> str:
    return f"{at[:19].replace('T', ' ')} UTC"


def _flat(text: Any) -> str:
    return " ".join(str(text).split())


def _cell(text: Any) -> str:
    return _flat(text).replace("|", "\\|")
