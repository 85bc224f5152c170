"""Runs every rule on a document, and leaves out what is silenced: in the description of the node
(`lastgood: allow unused-input`), for a whole document in a sticky note, or by a setting."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from lastgood.dsl.document import Document, is_note, node_data
from lastgood.dsl.index import text
from lastgood.dsl.keys import redacted
from lastgood.dsl.lint import clear, code, contract, handles, needs, plain, settings, structure, templates, values
from lastgood.dsl.lint.rules import Problem, Rule, Severity, Subject
from lastgood.dsl.places import Places

THEMES: Final = (structure, handles, values, contract, code, templates, clear, needs, settings, plain)
RULES: Final[Mapping[str, Rule]] = MappingProxyType({rule.id: rule for theme in THEMES for rule in theme.RULES})

_ALLOWED: Final = re.compile(r"lastgood:\s*allow\s+([a-z0-9-]+(?:\s*,\s*[a-z0-9-]+)*)")
_DIGITS: Final = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Report:
    """What lint found: the problems in the order of the document, how many are `silenced`, and notes on what it
    could not look at."""

    problems: tuple[Problem, ...]
    silenced: int
    notes: tuple[str, ...]


def lint(
    document: Document,
    *,
    allow: Collection[str] = (),
    severities: Mapping[str, Severity] = MappingProxyType({}),
    places: Places | None = None,
) -> Report:
    """Look at `document` by every rule but those that `allow` names; `severities` gives rules another severity, and
    `places` (of the text that it was read from) problems their lines. Never raises for a document that `parse`
    takes, however broken."""
    subject = Subject(document)
    everywhere, by_node = set(allow) | _noted(document), _described(subject)
    kept, silenced = [], 0
    for theme in THEMES:
        for problem in theme.find(subject):
            if problem.rule in everywhere or problem.rule in by_node.get(problem.node, ()):
                silenced += 1
            else:
                severity = severities.get(problem.rule, problem.severity)
                line = places.line(problem.path) if places else None
                kept.append(replace(problem, severity=severity, sentence=redacted(problem.sentence), line=line))
    order = {problem.path: _place(problem.path) for problem in kept}
    problems = sorted(dict.fromkeys(kept), key=lambda problem: order[problem.path])
    return Report(tuple(problems), silenced, tuple(_notes(everywhere.union(*by_node.values()))))


def _place(path: str) -> list[tuple[int, str]]:
    """A key that sorts paths by the numbers in them."""
    parts = _DIGITS.split(path)
    return [(int(part), "") if i % 2 and len(part) < 10 else (0, part) for i, part in enumerate(parts)]


def _notes(allowed: Collection[str]) -> Iterator[str]:
    if not templates.available():
        yield "Jinja templates were not looked at: Jinja2 is not installed."
    for rule in sorted(set(allowed) - RULES.keys()):
        yield f"There is no rule {rule} to allow."


def _allowed(said: str) -> set[str]:
    return {rule.strip() for found in _ALLOWED.findall(said) for rule in found.split(",")}


def _described(subject: Subject) -> dict[str, set[str]]:
    """The rules that the descriptions of nodes silence."""
    return {node.id: _allowed(text(node.data.get("desc"))) for node in subject.index.nodes.values()}


def _noted(document: Document) -> set[str]:
    """The rules that sticky notes silence."""
    notes = (text(node_data(node).get("text")) for node in document.nodes if is_note(node))
    return {rule for note in notes for rule in _allowed(note)}
