"""A lint report as lines, as JSON and as annotations of GitHub."""

from dataclasses import asdict
from typing import Any, Final

from lastgood.dsl.lint.linter import Report
from lastgood.dsl.lint.rules import Problem

_GITHUB: Final = {"error": "error", "warning": "warning", "info": "notice"}


def as_lines(report: Report, source: str) -> str:
    """One problem a line, ``source:line: severity rule: node (path): sentence``, the line where it is known; then
    the notes and a sum."""
    lines = [_line(problem, source) for problem in report.problems]
    lines += [f"{source}: note: {note}" for note in report.notes]
    return "\n".join([*lines, f"{source}: {summary(report)}"])


def as_json(report: Report, source: str) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "source": source,
        "problems": [asdict(problem) for problem in report.problems],
        "silenced": report.silenced,
        "notes": list(report.notes),
    }


def as_github(report: Report, source: str) -> str:
    """One workflow command of GitHub Actions a line, which shows as an annotation of the file, at the line where
    that is known."""
    return "\n".join(
        f"::{_GITHUB[problem.severity]} file={_property(source)}{_at(problem)},title={_property(_title(problem))}::"
        f"{_message(f'{problem.sentence} ({problem.path})')}"
        for problem in report.problems
    )


def summary(report: Report) -> str:
    """The sum of a report, ``2 errors, 1 warning, 0 infos; 1 silenced``."""
    kinds = [problem.severity for problem in report.problems]
    counts = [(kinds.count(kind), kind) for kind in ("error", "warning", "info")]
    told = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for count, kind in counts)
    return f"{told}; {report.silenced} silenced" if report.silenced else told


def _line(problem: Problem, source: str) -> str:
    where = f"{_flat(problem.title)} ({problem.path})" if problem.title else problem.path
    at = source if problem.line is None else f"{source}:{problem.line}"
    return f"{at}: {problem.severity} {problem.rule}: {where}: {_flat(problem.sentence)}"


def _at(problem: Problem) -> str:
    return "" if problem.line is None else f",line={problem.line}"


def _title(problem: Problem) -> str:
    return f"{problem.rule}: {problem.title}" if problem.title else problem.rule


def _flat(words: str) -> str:
    return " ".join(words.split())


def _message(words: str) -> str:
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(words: str) -> str:
    return _message(words).replace(":", "%3A").replace(",", "%2C")
