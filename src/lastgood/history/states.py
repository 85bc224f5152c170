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
    """A stable version as a possible way back for one channel. `order` is its place in history (growing);
    `proven` and `left` are the growing numbers, in one common order of events, of the evidence that made it stable
    and of the last rollback that left it (0: none); `served` says whether the channel ever pointed to it."""

    order: int
    proven: int
    left: int
    served: bool


def choose_last_good(active: int | None, stable: Iterable[Standing]) -> Standing | None:
    """The last good version for a channel that points to the version with order `active`: the newest stable one,
    but not the active one; not one that a rollback left and nothing has proven since (going back twice must not
    return to the trouble); and not one beyond the active that this channel never served (that would be going
    forward). None when there is none."""
    ways = [
        one
        for one in stable
        if one.order != active and one.left <= one.proven and (active is None or one.order < active or one.served)
    ]
    return max(ways, key=lambda one: one.order, default=None)
