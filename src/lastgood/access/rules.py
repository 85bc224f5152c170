"""The rules of a role, and roles made ready for quick answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from lastgood.access import globs
from lastgood.errors import InvalidRequest

Effect = Literal["allow", "deny"]
EVERYTHING: Final = "*"
LONGEST: Final = 255
_MOST = 1000  # answers kept for each role: names of channels are anybody's


@dataclass(frozen=True, slots=True)
class Rule:
    """What a role allows or denies: `actions` and `resources` are patterns, each of which is enough."""

    effect: Effect
    actions: tuple[str, ...]
    resources: tuple[str, ...] = (EVERYTHING,)

    def as_data(self) -> dict[str, Any]:
        """Its JSON form."""
        return {"effect": self.effect, "actions": list(self.actions), "resources": list(self.resources)}


@dataclass(frozen=True, slots=True)
class Role:
    """A named list of rules. `built_in`: it stands in the code, and cannot be changed."""

    name: str
    description: str
    rules: tuple[Rule, ...]
    built_in: bool = False

    def public(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "name": self.name,
            "description": self.description,
            "built_in": self.built_in,
            "rules": [rule.as_data() for rule in self.rules],
        }


def allow(*patterns: str) -> Rule:
    """A rule that allows actions on everything that the role is granted on."""
    return Rule("allow", patterns)


def check_resource(pattern: str, where: str = "resources") -> str:
    """`pattern`, if it can stand for resources: ``*``, ``workflow:prod-*``. Raises `InvalidRequest`."""
    kind, colon, name = pattern.partition(":")
    good = pattern == EVERYTHING or (colon and name and kind.replace("*", "").replace("?", "").isalpha())
    if not good or len(pattern) > LONGEST or not pattern.isprintable() or any(c.isspace() for c in pattern):
        reason = f"{pattern!r} is no pattern for resources; write * or a kind and a name, such as workflow:prod-*"
        raise InvalidRequest(where=where, reason=reason)
    return pattern


@dataclass(frozen=True, slots=True, eq=False)  # each is only itself, which makes it a quick key
class Part:
    """One rule for one action: on which resources (`matches` None: on all), and the patterns that say so."""

    allows: bool
    matches: Callable[[str], bool] | None
    action: str
    resource: str

    @property
    def sentence(self) -> str:
        """``allows workflow:*`` or ``denies workflow:push on workflow:prod-*``."""
        on = "" if self.resource == EVERYTHING else f" on {self.resource}"
        return f"{'allows' if self.allows else 'denies'} {self.action}{on}"


class Ready(dict[str, tuple[Part, ...]]):
    """The rules of one role by action, what it denies first; each is found out when first asked for."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        super().__init__()
        self._rules = sorted(rules, key=lambda rule: rule.effect == "allow")

    def __missing__(self, action: str) -> tuple[Part, ...]:
        found = tuple(
            Part(rule.effect == "allow", None if on == EVERYTHING else globs.matcher(on), pattern, on)
            for rule in self._rules
            for pattern in rule.actions
            if globs.matcher(pattern)(action)
            for on in rule.resources
        )
        if len(self) >= _MOST:
            self.clear()
        self[action] = found
        return found


_READS: Final = ("workflow:read", "operation:read", "trigger:read", "target:read", "cluster:read")
_EDITS: Final = (
    *("workflow:export", "workflow:push", "workflow:plan", "workflow:rehearse"),
    *("draft:restore", "run:read"),
)
_RELEASES: Final = (
    *("workflow:publish", "workflow:rollback", "workflow:promote", "workflow:verify", "workflow:archive"),
    *("workflow:mark", "channel:move:*", "channel:break-glass", "target:capture"),
)

BUILT_IN: Final = {
    role.name: role
    for role in (
        Role("admin", "Everything.", (allow("*"),), True),
        Role("approver", "Reads, and approves plans.", (allow(*_READS, "plan:approve"),), True),
        Role(
            "auditor",
            "Reads the audit log, roles and grants, and workflows.",
            (allow("audit:read", "audit:export", "access:read", "workflow:read"),),
            True,
        ),
        Role("editor", "Reads, keeps versions, plans and rehearses.", (allow(*_READS, *_EDITS),), True),
        Role(
            "releaser",
            "Edits, publishes, rolls back and promotes, on every channel.",
            (allow(*_READS, *_EDITS, *_RELEASES),),
            True,
        ),
        Role(
            "service",
            "Lastgood's own jobs: what they do by themselves, and nothing by force.",
            (
                allow(
                    *("workflow:read", "workflow:push", "workflow:publish", "workflow:rollback", "workflow:rehearse"),
                    *("workflow:verify", "workflow:mark", "workflow:archive", "channel:move:*", "operation:read"),
                    *("trigger:fire", "trigger:read", "target:read", "target:capture"),
                ),
            ),
            True,
        ),
        Role("viewer", "Reads.", (allow(*_READS),), True),
    )
}
