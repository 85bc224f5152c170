"""Which step of an operation comes next: a rule on what the journal says, no I/O.

```
plan → preflight → pre-hook → backup → move → listeners → data-checks → verification ─┬→ post-hook → notify → report
                                  │                                                    │
            (one of these failed: nothing has moved) → notify → report                 └→ undo → undo-listeners →
                                                                  undo-verification → undo-notify → undo-report
```
A person may ask for the undo at any time, also when the operation is over; before the move, nothing is moved then.

Where the pointer of a Dify app is written (`writes`), its steps come before the move, each of which can be learnt to
be done by looking at Dify; then the draft is put back. The undo takes the same way:

```
… backup → hold → keep-draft → write-draft → publish → read-back → move → put-draft-back → listeners → …
             └─ (one of these failed) → put-draft-back → release → notify → report
```
What is published is moved to and then taken back, not left: a word comes too late for less once `publish` began."""

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

from lastgood.release.plan import OnFailure

WRITING: Final = ("hold", "keep-draft", "write-draft", "publish", "read-back")
PUT_BACK: Final = "put-draft-back"
BEFORE: Final = ("preflight", "pre-hook", "backup", "move")
AFTER: Final = ("listeners", "data-checks", "verification")
CLOSING: Final = ("notify", "report")
UNDOING: Final = ("undo", "undo-listeners", "undo-verification", "undo-notify", "undo-report")
ALL: Final = ("plan", *BEFORE, *AFTER, "post-hook", *CLOSING, *UNDOING)
LAST: Final = frozenset({"report", "undo-report"})

_LETTING_GO: Final = (PUT_BACK, "release")
_FORWARD: Final = (*BEFORE[:-1], *WRITING, BEFORE[-1])
_BACK: Final = (*(f"undo-{name}" for name in WRITING), "undo")
_BACK_STOPPED: Final = (*(f"undo-{name}" for name in _LETTING_GO), *UNDOING[1:])
_BACK_DONE: Final = (f"undo-{PUT_BACK}", *UNDOING[1:])

# Every step that only some operations have.
ON_DIFY: Final = (*WRITING, *_LETTING_GO, *(f"undo-{name}" for name in (*WRITING, *_LETTING_GO)))
# What only changes the store: it commits together with its record.
INSIDE: Final = frozenset({"move", "undo", "hold", "release", "undo-hold", "undo-release", *LAST})
# What has an effect outside the store, so that its beginning is written down before it is begun.
OUTSIDE: Final = frozenset((*ALL, *ON_DIFY)) - INSIDE - {"plan"}


class Standing(Protocol):
    """What of a step counts here."""

    @property
    def state(self) -> str: ...


def next_step(steps: Mapping[str, Standing], on_failure: OnFailure, wish: str, *, writes: bool = False) -> str | None:
    """The name of the step to run now, ``ask`` when a person must decide first, None when all is done. `writes`: it
    moves the pointer of a Dify app by writing there."""

    for name in _FORWARD if writes else BEFORE:
        if _left(steps, (name,)):
            # Once a publish began, what is live may be ours already.
            stopped = wish == "undo" and "publish" not in steps
            return _stop(steps) if stopped else name
        if steps[name].state == "failed":
            return _stop(steps)
    if writes and (left := _left(steps, (PUT_BACK,))):
        return left  # before an undo too, or the draft that was there would not be the one to put back after it
    if wish == "undo" or is_undoing(steps):
        return _undo(steps, writes=writes)
    return _left(steps, AFTER) or _closing(steps, on_failure, wish, writes=writes)


def is_undoing(steps: Mapping[str, Any]) -> bool:
    """Whether an undo has begun."""
    return any(name == "undo" or name.startswith("undo-") for name in steps)


def _stop(steps: Mapping[str, Standing]) -> str | None:
    """The next step where nothing moves."""
    held = "hold" in steps and steps["hold"].state == "done"
    return _left(steps, (*_LETTING_GO, *CLOSING) if held else CLOSING)


def _undo(steps: Mapping[str, Standing], *, writes: bool) -> str | None:
    if not writes:
        return _left(steps, UNDOING)
    for name in _BACK:
        if _left(steps, (name,)):
            return name
        if steps[name].state == "failed":
            held = steps["undo-hold"].state == "done"
            return _left(steps, _BACK_STOPPED if held else UNDOING[1:])
    return _left(steps, _BACK_DONE)


def _closing(steps: Mapping[str, Standing], on_failure: OnFailure, wish: str, *, writes: bool) -> str | None:
    """The next step once all that follows the move was looked at."""
    if all(steps[name].state != "failed" for name in AFTER):
        return _left(steps, ("post-hook", *CLOSING))
    if on_failure == "undo" and wish != "keep":
        return _undo(steps, writes=writes)
    return "ask" if on_failure == "ask" and wish == "" else _left(steps, CLOSING)


def _left(steps: Mapping[str, Standing], names: tuple[str, ...]) -> str | None:
    """The first of `names` that is not over."""
    return next((name for name in names if name not in steps or steps[name].state == "begun"), None)


def ended(steps: Mapping[str, Any]) -> Literal["succeeded", "kept", "undone", "failed"]:
    """What became of an operation whose steps are done."""
    if is_undoing(steps):
        return "undone" if "undo" in steps and steps["undo"].state == "done" else "kept"
    if "move" not in steps or steps["move"].state != "done":
        return "failed"
    return "kept" if any(steps[name].state == "failed" for name in AFTER if name in steps) else "succeeded"
