"""The stable code of each kind of audit row: ``LG``, the number of the action, and how it went: ``A`` allowed, ``D``
denied, ``F`` allowed and then failed. Alerts and reports stand on them, so a number is never given to another action;
that of one which is gone goes to `RETIRED`."""

from typing import Final

NUMBERS: Final[dict[str, int]] = {
    # What a workflow is.
    "workflow:read": 100,
    "workflow:export": 101,
    "workflow:create": 102,
    "workflow:push": 103,
    "workflow:snapshot": 104,
    "workflow:archive": 105,
    "workflow:restore": 106,
    "workflow:mark": 107,
    "workflow:smoke": 108,
    "workflow:smoke-remove": 109,
    "workflow:verify": 110,
    "workflow:rehearse": 111,
    "workflow:plan": 112,
    "version:mark": 120,
    "version:tag": 121,
    "version:pin": 122,
    "version:unpin": 123,
    "version:failed-again": 124,
    # Which version serves.
    "workflow:publish": 140,
    "workflow:rollback": 141,
    "workflow:rollback:force": 142,
    "workflow:promote": 143,
    "workflow:undo": 144,
    "workflow:adopt": 145,
    "workflow:heal": 146,
    "rollback:force": 149,  # as earlier releases called it
    "channel:move": 150,
    "channel:break-glass": 151,
    "plan:approve": 160,
    "plan:reject": 161,
    "approval:ask": 162,
    "operation:read": 170,
    "operation:publish": 171,
    "operation:rollback": 172,
    "operation:rehearsal": 173,
    "operation:heal": 174,
    "operation:converge": 175,
    "operation:undo": 176,
    "operation:keep": 177,
    "operation:resume": 178,
    "operation:promote": 179,
    # Who calls, and what starts it.
    "key:create": 200,
    "key:revoke": 201,
    "trigger:read": 210,
    "run:read": 211,
    "trigger:fire": 212,
    # Where it runs.
    "target:read": 230,
    "target:connect": 231,
    "target:bind": 232,
    "target:capture": 233,
    "app:serves": 240,
    "app:gone": 241,
    "placement:gone": 242,
    "integration:changed": 243,
    "placement:back": 244,
    "draft:keep": 250,
    "draft:restore": 251,
    # The installation.
    "cluster:read": 270,
    "backup:read": 280,
    "backup:restore": 281,
    "backup:create": 282,
    "secret:reveal": 290,
    "ring:rotate": 292,
    "ring:retire": 293,
    # Who may do what.
    "access:read": 300,
    "access:admin": 301,
    "access:grant": 302,
    "access:revoke": 303,
    "access:role": 304,
    "access:push": 305,
    "access:drop-event": 306,
    "access:secret": 307,
    "token:create": 310,
    "token:revoke": 311,
    "token:read": 312,
    "person:create": 320,
    "person:disable": 322,
    "person:enable": 323,
    "person:password": 324,
    "person:read": 325,
    "person:admin": 326,
    "session:create": 330,
    "session:end": 331,
    # This log.
    "audit:read": 400,
    "audit:export": 401,
    "audit:prune": 402,
}
# What ends in a name of the user's choice: the number is that of what stands before it.
NAMED: Final = ("channel:move",)
RETIRED: Final[frozenset[int]] = frozenset()
UNKNOWN: Final = 0
_LETTERS: Final[dict[str, str]] = {"allowed": "A", "denied": "D", "failed": "F"}


def code_of(action: str, result: str) -> str:
    """The code of a row: ``LG141A`` for a rollback that was allowed. What has no number is ``LG000`` (a row without
    a code is better than none; a test holds that nothing of ours is).

    Raises `KeyError` for an unknown `result`."""
    number = NUMBERS.get(action, UNKNOWN)
    if number == UNKNOWN and (head := action.rpartition(":")[0]) in NAMED:
        number = NUMBERS[head]
    return f"LG{number:03d}{_LETTERS[result]}"


def action_of(code: str) -> str | None:
    """The action that a code stands for; None for one that was never given."""
    return _ACTIONS.get(code[2:5]) if code[:2] == "LG" and code[5:] in _LETTERS.values() else None


_ACTIONS = {f"{number:03d}": action for action, number in NUMBERS.items()}
