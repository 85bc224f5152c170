"""How sentences tell a changed value."""

from collections import Counter
from typing import Any, Final

from lastgood.dsl.compare import Change
from lastgood.dsl.rules.rule import shown

# Rules whose values are told; of the others only the place, for they may hold keys or long texts.
_OPEN: Final = frozenset(
    {"temperature-changed", "completion-params-changed", "model-mode-changed", "retries-changed", "timeouts-changed"}
    | {"error-strategy-changed", "retrieval-changed", "iteration-changed", "loop-changed", "memory-changed"}
    | {"code-language-changed", "classes-changed", "condition-changed", "extraction-changed", "reading-changed"}
    | {"agent-strategy-changed", "tool-version-changed", "certificate-check-changed", "request-method-changed"}
    | {"schedule-changed", "vision-changed", "agent-mode-changed", "title-changed"}
    | {"app-name-changed", "format-version-raised", "format-version-lowered", "list-changed", "tool-changed"}
    | {"voice-changed", "node-moved-inside", "indexing-changed"}
)
_MOST: Final = 4


def detail(rule: str, change: Change) -> str:
    """One value within a sentence: where it is, and what became of it."""
    where = change.where or "it"
    if change.kind == "moved":
        return f"{where} stands elsewhere"
    if rule in _OPEN:
        if change.kind == "changed":
            return f"{where} is {_value(change.new)}, {_value(change.old)} before"
        value = change.new if change.kind == "added" else change.old
        return f"{where} {'is new' if change.kind == 'added' else 'is gone'} ({_value(value)})"
    if isinstance(change.old, int | float) and isinstance(change.new, int | float):
        return f"{where} is {shown(change.new)}, {shown(change.old)} before"
    if isinstance(change.old, str) and isinstance(change.new, str):
        return f"{where} ({_words(change.old, change.new)})"
    return (
        f"{where} {'is new' if change.kind == 'added' else 'is gone' if change.kind == 'removed' else 'is another'}"
    )


def details(said: list[str]) -> str:
    """Several details, the first few of them."""
    more = f"; and {len(said) - _MOST} more" if len(said) > _MOST else ""
    return "; ".join(said[:_MOST]) + more


def _value(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return shown(".".join(value))
    return shown(value)


def _words(old: str, new: str) -> str:
    """How far two texts differ, without a word of them."""
    before, after = Counter(old.split()), Counter(new.split())
    come, gone = (after - before).total(), (before - after).total()
    if not come and not gone:
        return "the same words, set or ordered otherwise"
    return " and ".join(
        f"{count} {'word' if count == 1 else 'words'} {what}"
        for count, what in ((come, "new"), (gone, "gone"))
        if count
    )
