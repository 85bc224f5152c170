"""Every action that doors ask for, and what may be done by it."""

from collections.abc import Mapping
from typing import Final

from lastgood.access import globs
from lastgood.errors import InvalidRequest

# By name: what the action is, as `lastgood role show` and the documentation say it.
CATALOGUE: Final[Mapping[str, str]] = {
    "access:admin": "Make and remove roles, grant and revoke them.",
    "access:push": "Push events of roles as the source does whose signature they bear.",
    "access:read": "See roles, grants, their sources and what others may do.",
    "audit:export": "Take the audit log out, and its proofs.",
    "audit:prune": "Take rows out of the audit log that were exported.",
    "audit:read": "Read the audit log.",
    "backup:read": "See backups and take their contents out.",
    "backup:restore": "Put a backup back.",
    "channel:break-glass": "Move a protected channel without approval, with a reason, loudly.",
    "channel:move:*": "Move the channel of that name (channel:move:live), beside the action that moves it.",
    "cluster:read": "See Lastgood's own processes, the doctor and the check of the store.",
    "draft:restore": "Put a kept state or a version into the draft in Dify.",
    "key:create": "Make app keys for the gateway.",
    "key:revoke": "End app keys.",
    "operation:read": "See operations, their steps and reports.",
    "person:admin": "Add, change and disable people; to give a password to one with grants, access:admin too.",
    "person:read": "See people.",
    "plan:approve": "Approve or reject plans for protected channels.",
    "run:read": "Read what a recorded run was sent.",
    "secret:reveal": "See the value of a secret.",
    "target:capture": "Capture what runs on a Dify server.",
    "target:connect": "Connect servers and targets, and bind apps to channels.",
    "target:read": "See servers and targets.",
    "token:create": "Make API tokens; with a role also access:admin is asked for.",
    "token:read": "See API tokens, without their values.",
    "token:revoke": "End API tokens.",
    "trigger:fire": "Run a workflow by its schedule; our own jobs do that.",
    "trigger:read": "See what starts a workflow, addresses included.",
    "workflow:archive": "Archive versions, bring them back, and pin them.",
    "workflow:export": "Take documents out as files.",
    "workflow:mark": "Say of a version that it is stable, failed or unproven, and run its smoke requests.",
    "workflow:plan": "Make plans, and begin what they plan where the action of that is allowed too.",
    "workflow:promote": "Carry a version from one channel to another.",
    "workflow:publish": "Point a channel to a version, and give versions their numbers.",
    "workflow:push": "Keep documents as versions, and keep smoke requests.",
    "workflow:read": "Read workflows: definitions, versions, channels, moves, and what they mean.",
    "workflow:rehearse": "Rehearse a rollback on the shadow channel.",
    "workflow:rollback": "Point a channel back, undo and resume operations, put ours back on Dify.",
    "workflow:rollback:force": "Go to a failed version, or on where a check refuses.",
    "workflow:verify": "Hold the checklist against what is live.",
}

MOVE: Final = "channel:move:"
FORCE: Final = "workflow:rollback:force"
# What a channel of a name is moved by, beside `channel:move:<name>`: by the kind of the operation.
OF_KIND: Final[Mapping[str, str]] = {
    "rollback": "workflow:rollback",
    "publish": "workflow:publish",
    "rehearsal": "workflow:rehearse",
    "heal": "workflow:rollback",
    "converge": "workflow:publish",
}
LONGEST: Final = 127


def check_pattern(pattern: str) -> str:
    """`pattern`, if it stands for an action at least. Raises `InvalidRequest`."""
    matches = globs.matcher(pattern)
    if pattern and len(pattern) <= LONGEST and pattern.isprintable():
        # A name of a channel is anybody's, so a pattern of one is held to its beginning only.
        if globs.begins(pattern, MOVE) and len(pattern) > len(MOVE):
            return pattern
        if any(matches(name) for name in CATALOGUE):
            return pattern
    raise InvalidRequest(where="actions", reason=f"{pattern!r} stands for no action; docs/access.md lists them")


def full_name(word: str) -> str:
    """The action that people mean by `word`: ``workflow:rollback`` by ``rollback``. Raises `InvalidRequest`."""
    if word in CATALOGUE or (word.startswith(MOVE) and len(word) > len(MOVE)):
        return word
    found = [name for name in CATALOGUE if name.partition(":")[2] == word]
    chosen = next((name for name in found if name.startswith("workflow:")), found[0] if len(found) == 1 else None)
    if chosen is None:
        reason = f"{word!r} may mean {', '.join(found)}" if found else f"there is no action {word!r}"
        raise InvalidRequest(where="action", reason=f"{reason}; write it whole, such as workflow:rollback")
    return chosen
