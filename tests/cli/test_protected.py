"""`approvals`, `approve`, `reject` and `ring` on a data directory."""

import json
from pathlib import Path

import pytest

from lastgood.db.store import open_store
from lastgood.release import approvals
from lastgood.settings import load
from support.scene import BOB

from .conftest import LIVE, NEW, OLD, SLUG, Run


@pytest.fixture
def protected(home: Path, lastgood: Run) -> Run:
    (home / "lastgood.toml").write_text('[protected.prod]\nworkflows = ["prod-*"]\n')
    return lastgood


def asked(run: Run) -> str:
    refused = run("publish", SLUG, NEW, "--no-verify", "-m", "better")
    assert refused.code == 4, refused.err
    assert "it needs the approval of another identity, and is kept as ap-" in refused.err
    return str(run("approvals", "--waiting", "--json").json[0]["id"])


def test_from_the_question_to_the_move(protected: Run) -> None:
    id = asked(protected)
    assert asked(protected) == id
    (line,) = protected("approvals").lines[1:]
    assert all(part in line for part in (id, "waiting", "local", f"publish live of {SLUG} to {NEW}", "better"))
    shown = protected("approvals", "show", id)
    assert f"publish: live of {SLUG} from {LIVE} to {NEW}, if it is still at generation 2" in shown.out
    assert "three {{ text }}" in shown.out, "what differs"
    own = protected("approve", id)
    assert own.code == 1 and "cannot answer it too" in own.err
    store = open_store(load())
    store.write(lambda tx: approvals.approve(tx, BOB, id))
    store.close()
    done = protected("publish", SLUG, NEW, "--no-verify", "-m", "better", "--approval", id)
    assert done.code == 0, done.err
    assert protected("approvals", "show", id, "--json").json["state"] == "used"


def test_who_asked_may_take_it_back(protected: Run) -> None:
    id = asked(protected)
    assert protected("reject", id).code == 2
    assert protected("reject", id, "-m", "not today").out == f"{id}: publish live of {SLUG} to {NEW} is rejected.\n"
    assert protected("approvals", "--waiting").err == "No approval is waited for.\n"


def test_back_waits_for_nobody_and_glass_is_broken_with_a_reason(protected: Run) -> None:
    refused = protected("rollback", SLUG, "--to", OLD, "--force", "-m", "why", "--no-verify", "--yes")
    assert refused.code == 4 and "protected: live of prod-invoice is protected" in refused.err
    assert protected("rollback", SLUG, "--no-verify", "--yes").code == 0
    assert protected("publish", SLUG, NEW, "--no-verify", "--break-glass").code == 1
    assert protected("publish", SLUG, NEW, "--no-verify", "--break-glass", "-m", "fire").code == 0
    assert "BREAK-GLASS: fire" in protected("log", SLUG).lines[1]


def test_the_ring(lastgood: Run, home: Path) -> None:
    old = next(one for one in lastgood("ring", "status", "--json").json["keys"] if one["purpose"] == "seal")
    refused = lastgood("ring", "retire", old["id"])
    assert refused.code == 1 and "it is the one that seal writes with" in refused.err
    rotated = lastgood("ring", "rotate")
    assert rotated.code == 0 and "is the newest key; 0 data keys wrapped again, no secret rewritten" in rotated.out
    assert lastgood("ring", "rotate", "--purpose", "lookup").code == 0
    line = next(line for line in lastgood("ring", "status").lines if line.startswith(old["id"]))
    assert line.endswith("nothing: it can be retired")
    assert lastgood("ring", "retire", old["id"]).code == 0
    assert old["id"] not in (home / "keyring.json").read_text()
    entry = json.loads(lastgood("ring", "key").out)
    assert entry["purpose"] == "seal" and entry["key"] not in (home / "keyring.json").read_text()
