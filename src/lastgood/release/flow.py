"""Which step of an operation comes next: a rule on what the journal says, no I/O.

```
plan → preflight → pre-hook → backup → move → listeners → data-checks → verification ─┬→ post-hook → notify → report
                                  │                                                    │
            (one of these failed: nothing has moved) → notify → report                 └→ undo → undo-listeners →
                                                                  undo-verification → undo-notify → undo-report
```
A person may ask for the undo at any time, also when the operation is over; before the move, nothing is moved then."""

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

from lastgood.release.plan import OnFailure

BEFORE: Final = ("preflight", "pre-hook", "backup", "move")
AFTER: Final = ("listeners", "data-checks", "verification")
CLOSING: Final = ("notify", "report")
UNDOING: Final = ("undo", "undo-listeners", "undo-verification", "undo-notify", "undo-report")
ALL: Final = ("plan", *BEFORE, *AFTER, "post-hook", *CLOSING, *UNDOING)
LAST: Final = frozenset({"report", "undo-report"})

# What has an effect outside the store, so that its beginning is written down before it is begun.
OUTSIDE: Final = frozenset(ALL) - {"plan", "move", "undo", *LAST}


class Standing(Protocol):
    """What of a step counts here."""

    @property
    def state(self) -> str: ...


def next_step(steps: Mapping[str, Standing], on_failure: OnFailure, wish: str) -> str | None:
    """The name of the step to run now, ``ask`` when a person must decide first, None when all is done."""

    for name in BEFORE:
        if _left(steps, (name,)):
            return _left(steps, CLOSING) if wish == "undo" else name
        if steps[name].state == "failed":
            return _left(steps, CLOSING)
    if wish == "undo" or "undo" in steps:
        return _left(steps, UNDOING)
    return _left(steps, AFTER) or _closing(steps, on_failure, wish)


def _closing(steps: Mapping[str, Standing], on_failure: OnFailure, wish: str) -> str | None:
    """The next step once all that follows the move was looked at."""
    if all(steps[name].state != "failed" for name in AFTER):
        return _left(steps, ("post-hook", *CLOSING))
    if on_failure == "undo" and wish != "keep":
        return _left(steps, UNDOING)
    return "ask" if on_failure == "ask" and wish == "" else _left(steps, CLOSING)


def _left(steps: Mapping[str, Standing], names: tuple[str, ...]) -> str | None:
    """The first of `names` that is not over."""
    return next((name for name in names if name not in steps or steps[name].state == "begun"), None)


def ended(steps: Mapping[str, Any]) -> Literal["succeeded", "kept", "undone", "failed"]:
    """What became of an operation whose steps are done."""
    if "undo" in steps:
        return "undone" if steps["undo"].state == "done" else "kept"
    if "move" not in steps or steps["move"].state != "done":
        return "failed"
    return "kept" if any(steps[name].state == "failed" for name in AFTER if name in steps) else "succeeded"
