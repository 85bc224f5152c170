"""What principals may do, in memory: found out for each at first use, and asked in a microsecond.

A table stands for one revision of roles and grants. When the store is at a newer one, the next table takes over who
did not change, and is put in its place in one step: who is being answered goes on with the table it began with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Final, NamedTuple

from lastgood.access import globs
from lastgood.access.rules import BUILT_IN, EVERYTHING, Part, Ready, Rule
from lastgood.db.audit import Principal
from lastgood.db.tx import parse_time

SERVICE: Final = "service"  # the role of our own jobs
LOCAL: Final = "local"


@dataclass(slots=True)
class Decision:
    """The answer, and the rule that gave it."""

    allowed: bool
    reason: str


class Held(NamedTuple):
    """A role that somebody has on what `pattern` stands for, until a time (Unix seconds); `how` it is theirs is told
    in reasons."""

    role: str
    pattern: str
    until: float | None = None
    how: str = "granted"


def held(role: str, pattern: str, expires_at: str | None) -> Held:
    """What a row of the store says."""
    return Held(role, pattern, parse_time(expires_at).timestamp() if expires_at else None)


class Holder:
    """All that one subject has, by what it is on, so that only what concerns a resource is looked at."""

    __slots__ = ("_everywhere", "_exact", "_globs", "_prefixes", "all")

    def __init__(self, all: Iterable[Held]) -> None:
        self.all = tuple(all)
        self._everywhere = tuple(one for one in self.all if one.pattern == EVERYTHING)
        self._exact: dict[str, tuple[Held, ...]] = {}
        prefixes: dict[int, dict[str, tuple[Held, ...]]] = {}
        others = []
        for one in self.all:
            if one.pattern == EVERYTHING:
                continue
            if globs.is_plain(one.pattern):
                self._exact[one.pattern] = (*self._exact.get(one.pattern, ()), one)
            elif head := globs.prefix_of(one.pattern):
                of_length = prefixes.setdefault(len(head), {})
                of_length[head] = (*of_length.get(head, ()), one)
            else:
                others.append((globs.matcher(one.pattern), one))
        self._prefixes = tuple(prefixes.items())
        self._globs = tuple(others)

    def on(self, resource: str) -> tuple[Held, ...]:
        """What concerns `resource`."""
        found = self._everywhere
        if self._exact and resource in self._exact:
            found += self._exact[resource]
        for length, heads in self._prefixes:
            more = heads.get(resource[:length])
            if more is not None:
                found += more
        for matches, one in self._globs:
            if matches(resource):
                found += (one,)
        return found


NOTHING: Final = Holder(())
_READY: Final = {name: Ready(role.rules) for name, role in BUILT_IN.items()}


@dataclass(frozen=True, slots=True)
class Table:
    """Roles and holders at `revision`. `holders` grows by those who are asked for; `local_role` is what the
    principal `local` has."""

    revision: int
    local_role: str
    roles: Mapping[str, Ready] = field(default_factory=lambda: _READY)
    holders: dict[str, Holder] = field(default_factory=dict)

    def decide(self, subject: str, holder: Holder, action: str, resource: str) -> Decision:
        """Whether the subject, who has what `holder` says, may do `action` on `resource`. What denies wins, whichever
        role it is in."""
        found: tuple[Held, Part] | None = None
        roles = self.roles
        for one in holder.on(resource):
            rules = roles.get(one.role)
            if rules is None or (one.until is not None and one.until <= time()):
                continue
            for part in rules[action]:
                if part.matches is None or part.matches(resource):
                    if not part.allows:
                        return Decision(False, f"denied by {_told(one, part)}")
                    found = found or (one, part)
                    break
        if found is None:
            return Decision(False, f"no role of {subject} allows {action} on {resource}")
        return Decision(True, _told(*found))

    def anywhere(self, subject: str, holder: Holder, action: str, kind: str) -> Decision:
        """Whether there can be a resource of `kind` on which the subject may do `action`."""
        head = f"{kind}:"
        found: Decision | None = None
        for one in holder.all:
            rules = self.roles.get(one.role)
            if (
                rules is None
                or (one.until is not None and one.until <= time())
                or not globs.begins(one.pattern, head)
            ):
                continue
            for part in rules[action]:
                if part.allows and globs.begins(part.resource, head):
                    found = found or Decision(True, _told(one, part))
                elif not part.allows and _covers(one.pattern, head) and _covers(part.resource, head):
                    return Decision(False, f"denied by {_told(one, part)}")
        return found or Decision(False, f"no role of {subject} allows {action} on any {kind}")


def _told(one: Held, part: Part) -> str:
    return f"role {one.role}, {one.how} on {one.pattern}, {part.sentence}"


def _covers(pattern: str, head: str) -> bool:
    return pattern in (EVERYTHING, f"{head}*")


def ready(own: Iterable[tuple[str, Sequence[Rule] | None]], before: Mapping[str, Ready] = _READY) -> dict[str, Ready]:
    """The roles by name: those of `before`, and `own` in place of them; None takes one away."""
    found = dict(before)
    for name, rules in own:
        if rules is None:
            found.pop(name, None)
        elif name not in BUILT_IN:
            found[name] = Ready(rules)
    return found


def besides(who: Principal, local_role: str) -> tuple[Held, ...]:
    """What `who` has without a grant in the store: the roles of its session, `local_role` for whoever works on the
    data directory itself, and `service` for our own jobs."""
    found = tuple(Held(role, EVERYTHING, None, "of the session") for role in sorted(who.roles))
    if who.kind == LOCAL:
        found += (Held(local_role, EVERYTHING, None, "by the setting local_role"),)
    elif who.kind == SERVICE:
        found += (Held(SERVICE, EVERYTHING, None, "which our own jobs have"),)
    return found
