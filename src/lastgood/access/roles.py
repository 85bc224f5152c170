"""Roles: those built in, and those that people made."""

import json
import re
from collections.abc import Collection
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from lastgood.access import actions
from lastgood.access.grants import holders_of, next_revision
from lastgood.access.rules import BUILT_IN, Role, Rule, check_resource
from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import BuiltInRole, IdTaken, InvalidId, InvalidRequest, RoleHeld, UnknownRole

__all__ = ("BUILT_IN", "Role", "Rule", "changed", "create", "find", "listing", "named", "remove", "rules_of")

_NAME = re.compile(r"[a-z][a-z0-9._-]{0,62}")
_MOST_RULES = 100
_MOST_PATTERNS = 100

_COLUMNS = (t.role.c.pk, t.role.c.name, t.role.c.description, t.role.c.rules, t.role.c.present)
_FIND = select(*_COLUMNS).where(t.role.c.workspace_pk == bindparam("workspace"), t.role.c.name == bindparam("name"))
_LIST = (
    select(*_COLUMNS).where(t.role.c.workspace_pk == bindparam("workspace"), t.role.c.present).order_by(t.role.c.name)
)
_SINCE = select(*_COLUMNS).where(
    t.role.c.workspace_pk == bindparam("workspace"), t.role.c.revision > bindparam("since")
)
_NAMED = select(*_COLUMNS).where(
    t.role.c.workspace_pk == bindparam("workspace"),
    t.role.c.present,
    t.role.c.name.in_(bindparam("names", expanding=True)),
)
_ADD = insert(t.role)
_CHANGE = update(t.role).where(t.role.c.pk == bindparam("row"))


def find(tx: Tx, name: str) -> Role:
    """The role `name`. Raises `UnknownRole`."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    row = tx.connection.execute(_FIND, {"workspace": tx.workspace, "name": name}).first()
    if row is None or not row.present:
        raise UnknownRole(role=name)
    return _role(row)


def listing(tx: Tx) -> list[Role]:
    """All roles: the built-in ones, then those that people made, each by name."""
    made = [_role(row) for row in tx.connection.execute(_LIST, {"workspace": tx.workspace})]
    return [*BUILT_IN.values(), *made]


def changed(tx: Tx, since: int) -> list[tuple[str, tuple[Rule, ...] | None]]:
    """The roles that changed after the revision `since`, with their rules; None for one that was taken away."""
    rows = tx.connection.execute(_SINCE, {"workspace": tx.workspace, "since": since})
    return [(row.name, _rules(row.rules) if row.present else None) for row in rows]


def named(tx: Tx, wanted: Collection[str]) -> list[tuple[str, tuple[Rule, ...]]]:
    """Those of the roles `wanted` that people made, with their rules."""
    asked = {"workspace": tx.workspace, "names": [name for name in wanted if name not in BUILT_IN]}
    rows = tx.connection.execute(_NAMED, asked) if asked["names"] else ()
    return [(row.name, _rules(row.rules)) for row in rows]


def create(tx: Tx, who: Principal, role: Role, *, replace: bool = False) -> Role:
    """Make `role`; with `replace`, or in place of the one of that name. Whoever holds it has its rules from now on.

    Raises `InvalidId`, `InvalidRequest`, `BuiltInRole`, `IdTaken`."""
    _check(role)
    row = tx.connection.execute(_FIND, {"workspace": tx.workspace, "name": role.name}).first()
    before = None
    if row is not None and row.present:
        if not replace:
            raise IdTaken(kind="role", value=role.name, by="")
        before = json.loads(row.rules)
    values = {
        "description": role.description,
        "rules": json.dumps([rule.as_data() for rule in role.rules]),
        "present": True,
        "revision": next_revision(tx),
        "changed_at": tx.now,
        "changed_by": who.name,
    }
    if row is None:
        tx.connection.execute(_ADD, {"workspace_pk": tx.workspace, "name": role.name, **values})
    else:
        tx.connection.execute(_CHANGE.values(**values), {"row": row.pk})
    rules = [rule.as_data() for rule in role.rules]
    audit.append(tx, who, "access:role", f"access/role/{role.name}", before=before, after=rules)
    return role


def remove(tx: Tx, who: Principal, name: str) -> None:
    """Take a role away that nobody holds. Raises `BuiltInRole`, `UnknownRole`, `RoleHeld`."""
    if name in BUILT_IN:
        raise BuiltInRole(role=name)
    find(tx, name)
    held = holders_of(tx, name)
    if held:
        raise RoleHeld(role=name, count=held, grants="grants" if held > 1 else "grant")
    row = tx.connection.execute(_FIND, {"workspace": tx.workspace, "name": name}).one()
    values = {"present": False, "revision": next_revision(tx), "changed_at": tx.now, "changed_by": who.name}
    tx.connection.execute(_CHANGE.values(**values), {"row": row.pk})
    audit.append(tx, who, "access:role", f"access/role/{name}", reason="removed")


def rules_of(data: Any) -> tuple[Rule, ...]:
    """The rules in JSON values: a list of ``{"effect", "actions", "resources"}``. Raises `InvalidRequest`."""
    if not isinstance(data, list) or not 0 < len(data) <= _MOST_RULES:
        raise InvalidRequest(where="rules", reason=f"a role has a list of 1 to {_MOST_RULES} rules")
    return tuple(_rule(one) for one in data)


def _rule(data: Any) -> Rule:
    if not isinstance(data, dict) or not {"effect", "actions"} <= data.keys() <= {"effect", "actions", "resources"}:
        raise InvalidRequest(where="rules", reason="a rule has an effect, actions and, if not on all, resources")
    if data["effect"] not in ("allow", "deny"):
        raise InvalidRequest(where="effect", reason=f"{data['effect']!r} is neither allow nor deny")
    on = data.get("resources", ["*"])
    return Rule(data["effect"], _patterns("actions", data["actions"]), _patterns("resources", on))


def _patterns(where: str, data: Any) -> tuple[str, ...]:
    found = [data] if isinstance(data, str) else data
    if not isinstance(found, list) or not 0 < len(found) <= _MOST_PATTERNS:
        raise InvalidRequest(where=where, reason=f"give a list of 1 to {_MOST_PATTERNS} patterns")
    if not all(isinstance(one, str) for one in found):
        raise InvalidRequest(where=where, reason="each pattern is a text")
    return tuple(found)


def _check(role: Role) -> None:
    if not _NAME.fullmatch(role.name):
        raise InvalidId(kind="role", value=role.name, example="release-manager")
    if role.name in BUILT_IN:
        raise BuiltInRole(role=role.name)
    if not role.rules:
        raise InvalidRequest(where="rules", reason="a role without a rule gives nothing; give it one at least")
    for rule in role.rules:
        for pattern in rule.actions:
            actions.check_pattern(pattern)
        for pattern in rule.resources:
            check_resource(pattern)


def _rules(text: str) -> tuple[Rule, ...]:
    return tuple(Rule(one["effect"], tuple(one["actions"]), tuple(one["resources"])) for one in json.loads(text))


def _role(row: Any) -> Role:
    return Role(row.name, row.description, _rules(row.rules))
