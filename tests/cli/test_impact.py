"""`lastgood impact`, as people and programs read it."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.conftest import LIVE, NEW, OLD, SLUG, Run

CATALOGUE = """
[services.order-api]
module = "orders"
owner = "Ada Lovelace"
criticality = "high"
keys = ["web"]

[services.shop]
module = "orders"
owner = "Cy"
depends_on = ["order-api"]

[services.reconciliation]
owner = "treasury@example.com"
workflows = ["prod-*"]
"""


@pytest.fixture
def declared(home: Path, lastgood: Run) -> None:
    (home / "lastgood.toml").write_text(CATALOGUE, encoding="utf-8")
    for name in ("web", "batch"):
        assert lastgood("key", "create", SLUG, "--name", name).code == 0


def test_people_read_who_what_and_how_much(lastgood: Run, declared: None) -> None:
    done = lastgood("impact", SLUG)
    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == f"live of {SLUG}: {LIVE} → {OLD}"
    assert done.lines[1].startswith("Callers need not change what they do: ")
    rows = [line.split() for line in done.lines]
    assert ["module", "affected", "services", "risk", "responsible"] in rows
    assert ["orders", "order-api,", "shop", "low", "Ada", "Lovelace,", "Cy"] in rows
    reasons = {row[0]: " ".join(row) for row in rows if row[1:2] == ["low"]}
    assert reasons.keys() == {"order-api", "shop", "reconciliation", "batch"}
    assert reasons["order-api"].endswith(
        f"low It calls {SLUG}; it made no request in 7 days; callers need not change; its criticality is high. "
        "Ada Lovelace"
    )
    assert "It depends on order-api (2 steps away)" in reasons["shop"]
    assert reasons["batch"].endswith("the catalogue does not know it. nobody declared")
    assert ["web", "-", SLUG, "0", "0", "-", "order-api"] in rows


def test_programs_read_the_same_as_json_and_as_yaml(lastgood: Run, declared: None) -> None:
    told = lastgood("impact", SLUG, "--to", NEW, "--json").json
    assert told["services_affected"] == [one["name"] for one in told["services"]]
    assert set(told["services_affected"]) == {"order-api", "shop", "reconciliation", "batch"}
    assert [(one["from"], one["to"]) for one in told["moves"]] == [(LIVE, NEW)]
    assert yaml.safe_load(lastgood("impact", SLUG, "--to", NEW, "--yaml").out) == told


def test_markdown_is_for_a_ticket(lastgood: Run, declared: None) -> None:
    lines = lastgood("impact", SLUG, "--markdown").lines
    assert lines[0].startswith(f"- live of {SLUG}: {LIVE} → {OLD}.")
    assert "| module | affected services | risk | reason | responsible |" in lines


def test_it_changes_nothing_and_is_audited(home: Path, lastgood: Run) -> None:
    def standing() -> Any:
        return [lastgood(*args, "--json").json for args in (("log", SLUG), ("versions", SLUG))]

    before = standing()
    assert lastgood("impact", SLUG).code == 0
    assert standing() == before
    with sqlite3.connect(home / "lastgood.db") as store:
        rows = store.execute("SELECT actor, result FROM audit WHERE resource = ?", (f"workflow/{SLUG}/impact",))
        assert rows.fetchall() == [("alice", "allowed")]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("nope",), 1, "nope"),
        ((SLUG, "--channel", "staging"), 1, "has no channel 'staging'"),
        ((SLUG, "--to", "v-20200101-01"), 1, "v-20200101-01"),
        ((SLUG, "--json", "--yaml"), 2, "choose one of --json, --yaml and --markdown"),
    ],
)
def test_what_cannot_be_told_is_one_sentence(lastgood: Run, args: tuple[str, ...], code: int, said: str) -> None:
    done = lastgood("impact", *args)
    assert (done.code, done.out) == (code, "")
    assert said in done.err and len(done.err.splitlines()) == 1


def test_a_channel_that_points_nowhere_yet_can_be_told_of(lastgood: Run) -> None:
    done = lastgood("impact", SLUG, "--channel", "staging", "--to", NEW)
    assert (done.code, done.lines[0]) == (0, f"staging of {SLUG}: nothing → {NEW}")
