"""A rollback on Dify from the command line, and what is told when Dify serves something else."""

from collections.abc import Iterator

import pytest

from cli.conftest import Run
from dify_server import FakeDify
from dify_server.graphs import graph
from dify_server.rows import FakeApp
from dify_server.world import ADMIN_KEY


@pytest.fixture(params=["1.13.0", "1.14.2"])
def dify(request: pytest.FixtureRequest) -> Iterator[FakeDify]:
    with FakeDify(request.param) as fake:
        yield fake


@pytest.fixture
def app(dify: FakeDify) -> FakeApp:
    made = dify.world.add_app("Invoice", graph=graph("total"))
    dify.world.add_key(made)
    dify.world.somebody_publishes(made)
    dify.world.editor_saves(made, graph("sum"))
    dify.world.somebody_publishes(made)
    dify.world.editor_saves(made, graph("work"))
    return made


@pytest.fixture
def captured(dify: FakeDify, app: FakeApp, lastgood: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("LASTGOOD_DIFY_SECRET", ADMIN_KEY)
    done = lastgood("connect", dify.url, "--name", "prod", "--admin-key", "--workspace-id", dify.world.workspace_id)
    assert done.code == 0, done.err
    done = lastgood("capture", "prod")
    assert done.code == 0, done.err
    return lastgood


def test_rolled_back_healed_adopted(dify: FakeDify, app: FakeApp, captured: Run) -> None:
    run = captured
    found = run("versions", "invoice", "--json").json
    bad, good = (one["id"] for one in found)
    assert run("smoke", "add", "invoice", "--input", "name=x").code == 0
    assert run("mark", good, "stable", "-m", "it is right").code == 0
    done = run("rollback", "invoice", "-m", "wrong totals")
    assert done.code == 0, done.err
    assert "by `" in done.err or "By `publish`" in run("plan", "invoice", "--to", bad, "--json").out
    assert f"{bad} → {good}" in done.out
    assert app.live is not None
    assert app.live.graph == graph("total")
    assert app.draft is not None
    assert app.draft.graph == graph("work")
    stood = next(one for one in run("status", "--json").json["workflows"] if one["slug"] == "invoice")
    assert (stood["app"]["state"], stood["version"]) == ("in step", good)

    dify.world.editor_saves(app, graph("theirs"))
    dify.world.somebody_publishes(app, "theirs")
    shown = run("drift", "invoice")
    assert shown.code == 1
    assert "published by Owner" in shown.out
    assert "theirs" in shown.out
    assert "lastgood adopt invoice" in shown.out
    told = run("status", "--ask")
    assert told.lines[0].startswith("Out of step: Invoice on prod serves ")
    healed = run("heal", "invoice", "-m", "by mistake")
    assert healed.code == 0, healed.err
    assert app.live.graph == graph("total")
    assert run("drift", "invoice").code == 0
    assert run("heal", "invoice").code == 1

    dify.world.editor_saves(app, graph("agreed"))
    dify.world.somebody_publishes(app)
    adopted = run("adopt", "invoice", "--json")
    assert adopted.code == 0, adopted.err
    assert adopted.json["standing"]["state"] == "in step"
    assert run("log", "invoice", "--json").json[0]["kind"] == "adopt"

    kept = run("drafts", "invoice", "--json").json
    restored = run("draft", "restore", "invoice", kept[-1]["id"])
    assert restored.code == 0, restored.err
    assert "lastgood draft restore invoice dr-" in restored.out
    audited = run("changes", "--json").out
    assert "draft:restore" in audited and "workflow:adopt" in audited
