"""`lastgood acl` on a data directory of its own."""

import json
from pathlib import Path

import pytest

from lastgood.access.sync import dead, sources
from lastgood.access.sync.events import Around
from lastgood.cli import main
from lastgood.db.store import open_store
from lastgood.db.tx import Tx
from support.stores import clean_settings, copy_sqlite


def test_what_people_see_of_sources_and_dead_events(
    sqlite_template: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_sqlite(sqlite_template, home)
    monkeypatch.setenv("LASTGOOD_HOME", str(home))

    def lastgood(*words: str, code: int = 0) -> str:
        done = main.run(["acl", *words])
        told = capsys.readouterr()
        assert done == code, told
        return told.out + told.err

    assert "No source of permissions is declared" in lastgood("status")
    (home / "lastgood.toml").write_text('[grants.hr]\nkind = "push"\n')
    assert "unchecked" in lastgood("status")
    assert "whsec_" in lastgood("secret", "hr")
    assert "no source has a list to compare with" in lastgood("check", code=2)
    assert "tells events only" in lastgood("repair", "--source", "hr", code=1)
    store = open_store(clean_settings(home))

    def bury(tx: Tx) -> None:
        sources.ensure(tx, "hr", "push")
        dead.keep(tx, "hr", "m/0", 0, b"{", Around(), "it is not JSON")

    store.write(bury)
    store.close()
    assert "it is not JSON" in lastgood("dead", "list")
    assert "not JSON" in lastgood("dead", "retry", "--source", "hr")
    (row,) = json.loads(lastgood("dead", "list", "--json"))
    assert "1 event dropped" in lastgood("dead", "drop", str(row["id"]))
    assert "No event is dead" in lastgood("dead", "list")
