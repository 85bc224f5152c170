"""The checklist as people read it, somebody just woken up first of all: the verdict, what failed, then the rest."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lastgood.release.checks.case import Checked

_HEADLINES = {
    "passed": "WELL: {place} serves {version}, and every check passed",
    "failed": "NOT WELL: {place} serves {version}, and {number}",
    "inconclusive": "NOT KNOWN: {place} serves {version}, and {number} could not be answered",
    "none": "NOTHING CHECKED: {place} serves {version}",
}


def as_data(
    found: Sequence[Checked], verdict: str, *, workflow: str, channel: str, version: str, generation: int
) -> dict[str, Any]:
    """The report as JSON values. `smoked`: smoke requests were sent and all of them passed."""
    smokes = [one.verdict for one in found if one.check == "smoke"]
    return {
        "workflow": workflow,
        "channel": channel,
        "version": version,
        "generation": generation,
        "verdict": verdict,
        "smoked": bool(smokes) and set(smokes) == {"pass"},
        "sentence": sentence(found),
        "checks": [one.as_data() for one in found],
    }


def sentence(found: Iterable[Checked]) -> str:
    """The outcome in one sentence: what failed, what is not known, or that all is well."""
    counted = [one for one in found if one.required]
    for verdict, words in (("fail", "failed"), ("unknown", "not known")):
        bad = [one for one in counted if one.verdict == verdict]
        if bad:
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            return f"{words}: {_name(bad[0].as_data())}: {bad[0].found}{more}"
    passed = sum(1 for one in counted if one.verdict == "pass")
    return f"{_count(passed, 'check')} passed" if passed else "nothing was checked"


def markdown(report: Mapping[str, Any]) -> str:
    """A report (`as_data`) as Markdown: the verdict first, then what to do, then what failed with what it should be,
    then everything else."""
    checks = report["checks"]
    failed = [one for one in checks if one["verdict"] == "fail"]
    unknown = [one for one in checks if one["verdict"] == "unknown"]
    counted = [one for one in (failed if report["verdict"] == "failed" else unknown) if one["required"]]
    number = _count(len(counted), "check")
    headline = _HEADLINES[report["verdict"]].format(
        place=f"{report['channel']} of {report['workflow']}",
        version=report["version"],
        number=f"{number} failed" if report["verdict"] == "failed" else number,
    )
    lines = [f"# {headline}", "", *_next(report)]
    for title, some in (("Failed", failed), ("Not known", unknown)):
        if some:
            lines += [f"## {title}", "", *(line for one in some for line in _told(one)), ""]
    rest = [one for one in checks if one["verdict"] in ("pass", "skipped")]
    if rest:
        lines += ["## The rest", "", "| check | verdict | found | took |", "|---|---|---|---|"]
        lines += [
            f"| {_cell(_name(one))} | {one['verdict']} | {_cell(one['found'])} | {_took(one)} |" for one in rest
        ]
    return "\n".join(lines).rstrip() + "\n"


def _next(report: Mapping[str, Any]) -> Iterator[str]:
    """What the reader may do now."""
    channel = "" if report["channel"] == "live" else f" --channel {report['channel']}"
    if report["verdict"] == "failed":
        yield f"- To go back to the last good version: `lastgood rollback {report['workflow']}{channel}`"
    if report["verdict"] != "passed":
        yield f"- To look again: `lastgood verify {report['workflow']}{channel}`"
    if report["verdict"] == "passed" and not report["smoked"]:
        yield f"- {report['version']} answered no smoke request in this check, so it is no better proven than before."
    if report["verdict"] != "passed" or not report["smoked"]:
        yield ""


def _told(one: Mapping[str, Any]) -> Iterator[str]:
    """An item that is not well, with what was wanted and what was found."""
    note = "" if one["required"] else " (told only: it is not required)"
    yield f"- **{_name(one)}**{note}"
    yield f"  - got: {one['found'].removeprefix('got ')}"
    yield f"  - want: {one['expected'].removeprefix('want ')}"


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['check']} {one['subject']}".strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _took(one: Mapping[str, Any]) -> str:
    return f"{one['elapsed_ms']:.0f} ms" if one["elapsed_ms"] else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
