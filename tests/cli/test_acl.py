"""`lastgood acl` on a data directory of its own."""

import json
from pathlib import Path

from lastgood.access.sync import dead, sources
from lastgood.access.sync.events import Around
from lastgood.db.store import open_store
from support.stores import clean_settings

from .conftest import script


def test_what_people_see_of_sources_and_dead_events(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()

    def lastgood(*words: str, code: int = 0) -> str:
        done = script(home, "lastgood", "acl", *words)
        assert done.code == code, done.err + done.out
        return done.out + done.err

    assert "No source of permissions is declared" in lastgood("status")
    (home / "lastgood.toml").write_text('[grants.hr]\nkind = "push"\n')
    assert "unchecked" in lastgood("status")
    assert "whsec_" in lastgood("secret", "hr")
    assert "no source has a list to compare with" in lastgood("check", code=2)
    assert "tells events only" in lastgood("repair", "--source", "hr", code=1)
    store = open_store(clean_settings(home))

    def bury(tx: object) -> None:
        sources.ensure(tx, "hr", "push")  # type: ignore[arg-type]
        dead.keep(tx, "hr", "m/0", 0, b"{", Around(), "it is not JSON")  # type: ignore[arg-type]

    store.write(bury)
    store.close()
    assert "it is not JSON" in lastgood("dead", "list")
    assert "not JSON" in lastgood("dead", "retry", "--source", "hr")
    (row,) = json.loads(lastgood("dead", "list", "--json"))
    assert "1 event dropped" in lastgood("dead", "drop", str(row["id"]))
    assert "No event is dead" in lastgood("dead", "list")
