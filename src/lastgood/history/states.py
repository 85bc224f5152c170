"""The states of a version and what they allow: rules on values, no I/O.

| state     | meaning                              | target of a rollback            |
|-----------|--------------------------------------|---------------------------------|
| candidate | saved, not yet proven                | only when named                 |
| active    | a channel points at it (derived)     | never                           |
| stable    | proven                               | yes; chosen when none is named  |
| failed    | verification or a person condemned it| only when forced with a reason  |
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["candidate", "stable", "failed"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A stable version as a possible way back for one channel. `order` is its place in history (growing); `proven` is
    the number of the last move before the newest evidence for it, `left` that of the last rollback that left it
    (moves count from 1; 0: none); `served` says whether the channel ever pointed to it."""

    order: int
    proven: int
    left: int
    served: bool


def choose_last_good(active: int | None, stable: Iterable[Standing]) -> Standing | None:
    """The last good version for a channel that points to the version with order `active`, None when there is none.

    It is the newest stable one, but never the active one, nor one that a rollback left and nothing has proven since
    (going back twice must not return to the trouble). One that lies beyond the active and that this channel never
    served counts only when nothing lies behind: going to it would be going forward."""
    ways = [one for one in stable if one.order != active and one.left <= one.proven]
    back = [one for one in ways if active is None or one.order < active or one.served]
    return max(back or ways, key=lambda one: one.order, default=None)
