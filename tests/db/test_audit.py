"""Audit rows: a code each, bytes that nothing breaks, and no secret in them."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import select

import lastgood
from lastgood.db import audit, codes, tables
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.history.channels import Kind
from lastgood.release.journal import Wish
from support.stores import on_sqlite

SOURCE = Path(lastgood.__file__).parent
ACTION = re.compile(r"[a-z]+(:[a-z-]+)+")
# Where among the arguments of a call the action stands.
ASKING = {"append": 2, "may": 0, "require": 2, "record_read": 2, "decide": 2, "check_permission": 2, "visible": 2}
# What looks like an action and is something else.
OTHERS = {"server:cluster", "server:doctor", "server:fsck", "audit:log"}
# What f-strings in the code may become.
KINDS = ("publish", "rollback", "rehearsal", "heal", "converge", "promote")
MADE = {
    "workflow:{kind}": [f"workflow:{kind}" for kind in get_args(Kind)],
    "operation:{plan.kind}": [f"operation:{kind}" for kind in KINDS],
    "operation:{operation.kind}": [f"operation:{kind}" for kind in KINDS],
    "operation:{wish or 'resume'}": [f"operation:{wish or 'resume'}" for wish in get_args(Wish)],
}


def used() -> Iterator[tuple[str, str]]:
    """Each action that the code asks for or audits, with the place: those that stand in the calls, and all else that
    is written like one."""
    nouns = {action.partition(":")[0] for action in codes.NUMBERS}
    for path in sorted(SOURCE.rglob("*.py")):
        name_of_file = path.relative_to(SOURCE)
        for part in ast.walk(ast.parse(path.read_text())):
            place = f"{name_of_file}:{getattr(part, 'lineno', 0)}"
            if isinstance(part, ast.Call):
                name = part.func.attr if isinstance(part.func, ast.Attribute) else getattr(part.func, "id", "")
                at = ASKING.get(name, len(part.args))
                for inner in ast.walk(part.args[at]) if at < len(part.args) else ():
                    if isinstance(inner, ast.JoinedStr) and name != "may":
                        text = ast.unparse(inner)[2:-1]
                        yield from ((one, place) for one in MADE.get(text, [text]))
            elif isinstance(part, ast.Constant) and isinstance(part.value, str) and ACTION.fullmatch(part.value):
                yield from ((one, place) for one in {part.value} - OTHERS if one.partition(":")[0] in nouns)


def test_every_action_that_the_code_uses_has_a_code() -> None:
    found = list(used())
    assert len({action for action, _ in found}) > 35
    assert [(action, place) for action, place in found if codes.code_of(action, "allowed") == "LG000A"] == []


def test_a_code_is_given_once() -> None:
    numbers = list(codes.NUMBERS.values())
    assert len(set(numbers)) == len(numbers)
    assert not codes.RETIRED & set(numbers)
    assert all(codes.UNKNOWN < number < 1000 for number in numbers)


def test_codes_that_were_given_stay() -> None:
    """Whoever alerts on one counts on it. Add to this list, never change it."""
    for action, result, code in (
        ("workflow:read", "allowed", "LG100A"),
        ("workflow:publish", "failed", "LG140F"),
        ("workflow:rollback", "denied", "LG141D"),
        ("workflow:rollback:force", "allowed", "LG142A"),
        ("channel:move:lts-1", "denied", "LG150D"),
        ("channel:break-glass", "allowed", "LG151A"),
        ("plan:approve", "allowed", "LG160A"),
        ("access:grant", "allowed", "LG302A"),
        ("audit:read", "allowed", "LG400A"),
        ("what:ever", "allowed", "LG000A"),
    ):
        assert codes.code_of(action, result) == code
        assert codes.action_of(code) == (None if code == "LG000A" else action.removesuffix(":lts-1"))
    with pytest.raises(KeyError):
        codes.code_of("workflow:read", "perhaps")


def test_the_documents_table_is_the_codes() -> None:
    text = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    told = re.findall(r"^\| `LG(\d{3})` \| `([a-z:-]+)` \|", text, re.MULTILINE)
    assert {action: int(number) for number, action in told} == codes.NUMBERS
    assert [number for number, _ in told] == sorted(number for number, _ in told)


def appended(store: Store, who: Principal, action: str = "workflow:read", resource: str = "x", **more: Any) -> Any:
    store.write(lambda tx: audit.append(tx, who, action, resource, **more))
    with store.read() as tx:
        return tx.connection.execute(select(tables.audit).order_by(tables.audit.c.pk.desc()).limit(1)).one()


def test_a_row_carries_the_request(store: Store) -> None:
    who = Principal("u1002", "person", "rq-1", "10.0.0.9", frozenset(), "GET", "/v1/workflows/prod-invoice")
    row = appended(store, who, result="denied", reason="no role", before="a", after=None)
    assert (row.code, row.result, row.place) == ("LG100D", "denied", None)
    assert json.loads(row.canonical) == {
        "at": row.at, "actor": "u1002", "kind": "person", "action": "workflow:read", "code": "LG100D",
        "resource": "x", "result": "denied", "reason": "no role", "request_id": "rq-1", "address": "10.0.0.9",
        "method": "GET", "path": "/v1/workflows/prod-invoice", "before": "a",
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", row.at)


HOSTILE = "x\r\n2026-01-01T00:00:00.000Z root PUBLISH /all allowed\x1b[2J\x00\u2028\x85\ud800"


def test_no_text_breaks_a_row_or_keeps_it_from_being_written(store: Store) -> None:
    row = appended(
        store,
        Principal(HOSTILE, path=HOSTILE),
        resource=HOSTILE,
        reason=HOSTILE,
        more=HOSTILE,
        asked={"in": [HOSTILE]},
    )
    assert not re.search(rb"[\x00-\x1f]", row.canonical)
    facts = json.loads(row.canonical)
    assert facts["actor"] == facts["more"] == facts["asked"]["in"][0] == HOSTILE.replace("\ud800", "?")
    assert row.actor == facts["actor"].replace("\0", "\ufffd")


@on_sqlite
@pytest.mark.parametrize(
    "secret",
    [
        "lg_" + "Ab0-_" * 8,
        "app-" + "a1" * 12,
        "sk-proj-" + "Zz9" * 10,
        "ghp_" + "x" * 36,
        "hunter2:pa55word",
    ],
)
def test_what_looks_like_a_secret_is_masked_wherever_it_stands(store: Store, secret: str) -> None:
    text = f"see https://{secret}@dify.test/x?token={secret}&y=1 and Bearer {secret}, thanks"
    who = Principal("u1", request_id=text, path=f"/v1/{secret}/x" if ":" not in secret else "/v1", address="::1")
    row = appended(store, who, resource=text, reason=text, url=text, asked={"actor": text, "all": [(text,)]})
    assert secret not in str(tuple(row))
    assert "thanks" in row.reason
    assert "dify.test" in row.reason


@on_sqlite
def test_ordinary_words_are_left_alone(store: Store) -> None:
    text = (
        "roll back app-1 to v-20240401-01, sha256:" + "a1" * 32 + " see https://wiki.test/a@b task-token app-invoice"
    )
    assert appended(store, Principal("u1"), reason=text).reason == text
