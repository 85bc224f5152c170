"""What principals may do, in memory: found out for each at first use, and asked in a microsecond.

A table stands for one revision of roles and grants. When the store is at a newer one, the next table takes over who
did not change, and is put in its place in one step: who is being answered goes on with the table it began with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Final

from lastgood.access import globs
from lastgood.access.rules import BUILT_IN, EVERYTHING, LONGEST, Part, Ready, Rule
from lastgood.db.audit import Principal
from lastgood.db.tx import parse_time

SERVICE: Final = "service"  # the role of our own jobs
LOCAL: Final = "local"
_MOST_KEPT = 100_000  # answers that a table keeps
_MOST = 200  # what a holder keeps of actions, and a role held of answers: names of channels are anybody's


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, and the rule that gave it."""

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A role that somebody has on what `pattern` stands for, until a time (Unix seconds); `how` it is theirs is told
    in reasons. `answers` keeps what was said by it, because to make a sentence takes longer than to decide."""

    role: str
    pattern: str
    until: float | None = None
    how: str = "granted"
    answers: dict[Part, Decision] = field(default_factory=dict)

    def answer(self, part: Part) -> Decision:
        """What `part`, a rule of the role, answers."""
        told = f"role {self.role}, {self.how} on {self.pattern}, {part.sentence}"
        found = Decision(part.allows, told if part.allows else f"denied by {told}")
        if len(self.answers) >= _MOST:
            self.answers.clear()
        self.answers[part] = found
        return found


def held(role: str, pattern: str, expires_at: str | None) -> Held:
    """What a row of the store says."""
    return Held(role, pattern, parse_time(expires_at).timestamp() if expires_at else None)


type Parts = tuple[tuple[Held, Part], ...]


class Holder:
    """All that one subject has, by what it is on, so that only what concerns a resource is looked at."""

    __slots__ = ("_everywhere", "_exact", "_globs", "_merged", "_prefixes", "all", "lasting")

    def __init__(self, all: Iterable[Held]) -> None:
        self.all = tuple(all)
        self.lasting = all_last(self.all)
        self._everywhere = tuple(one for one in self.all if one.pattern == EVERYTHING)
        self._merged: tuple[Mapping[str, Ready], dict[str, Parts]] = ({}, {})
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

    def everywhere(self, roles: Mapping[str, Ready], action: str) -> Parts:
        """The rules for `action` of what is held on everything, those that deny first: of many roles, few say
        something of an action."""
        of, merged = self._merged
        if of is not roles:  # a role changed
            merged = {}
            self._merged = roles, merged
        found = merged.get(action)
        if found is None:
            parts = [(one, part) for one in self._everywhere if one.role in roles for part in roles[one.role][action]]
            found = tuple(sorted(parts, key=lambda pair: pair[1].allows))
            if len(merged) >= _MOST:
                merged.clear()
            merged[action] = found
        return found

    def on(self, resource: str) -> tuple[Held, ...]:
        """What concerns `resource`, beside what is held on everything."""
        found = self._exact.get(resource, ())
        for length, heads in self._prefixes:
            more = heads.get(resource[:length])
            if more is not None:
                found += more
        for matches, one in self._globs:
            if matches(resource):
                found += (one,)
        return found


def all_last(found: Iterable[Held]) -> bool:
    """Whether none of it ends by itself, so that an answer holds as long as the table does."""
    return all(one.until is None for one in found)


_READY: Final = {name: Ready(role.rules) for name, role in BUILT_IN.items()}


@dataclass(frozen=True, slots=True)
class Table:
    """Roles and holders at `revision`. `holders` grows by those who are asked for, `kept` by what they were answered;
    `local_role` is what the principal `local` has."""

    revision: int
    local_role: str
    roles: Mapping[str, Ready] = field(default_factory=lambda: _READY)
    holders: dict[str, Holder] = field(default_factory=dict)
    kept: dict[tuple[Holder, str, str], Decision] = field(default_factory=dict)

    def decide(self, subject: str, holder: Holder, action: str, resource: str) -> Decision:
        """Whether the subject, who has what `holder` says, may do `action` on `resource`. What denies wins, whichever
        role it is in."""
        key = (holder, action, resource)
        found = self.kept.get(key)
        if found is None:
            found = self._find_out(subject, holder, action, resource)
            if holder.lasting and len(resource) <= LONGEST:
                if len(self.kept) >= _MOST_KEPT:
                    self.kept.clear()
                self.kept[key] = found
        return found

    def _find_out(self, subject: str, holder: Holder, action: str, resource: str) -> Decision:
        found: Decision | None = None
        roles = self.roles
        for one, part in holder.everywhere(roles, action):
            if part.matches is None or part.matches(resource):
                if one.until is not None and one.until <= time():
                    continue
                found = one.answers.get(part) or one.answer(part)
                break
        if found is not None and not found.allowed:
            return found
        for one in holder.on(resource):
            rules = roles.get(one.role)
            if rules is None or not (parts := rules[action]):
                continue
            if one.until is not None and one.until <= time():
                continue
            for part in parts:
                if part.matches is None or part.matches(resource):
                    answer = one.answers.get(part) or one.answer(part)
                    if not answer.allowed:
                        return answer
                    found = found or answer
                    break
        return found or Decision(False, f"no role of {subject} allows {action} on {resource}")

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
                    found = found or one.answer(part)
                elif not part.allows and _covers(one.pattern, head) and _covers(part.resource, head):
                    return one.answer(part)
        return found or Decision(False, f"no role of {subject} allows {action} on any {kind}")


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
