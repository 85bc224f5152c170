"""The kit's script, really run beside a Dify, while nothing of ours runs."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import pytest

from dify_server import FakeDify
from dify_server.graphs import graph
from dify_server.world import ADMIN_KEY, EMAIL, MASK, PASSWORD, FakeApp, Row
from lastgood import dsl
from lastgood.cli import kit as files
from lastgood.db.store import Store
from lastgood.history import apps, channels, versions, workflows
from lastgood.release.kit import making
from lastgood.targets.dify import AdminKey, connect, servers
from lastgood.targets.dify.contents import document_of
from support.scene import ALICE
from support.stores import on_sqlite

pytestmark = on_sqlite
SECRET, NEWER = "s3cr3t-A", "s3cr3t-of-the-draft"
SYNC, PUBLISH = "POST /workflows/draft", "POST /workflows/publish"


@dataclass(frozen=True)
class Done:
    """What a run of the script did."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Case:
    """An app whose version `good` is in the kit, whose bad one is live, and whose draft holds unpublished work."""

    dify: FakeDify
    app: FakeApp
    good: Row
    bad: Row
    draft: Row
    folder: Path
    version: str

    def run(self, *args: str, admin: bool = False, **more: str) -> Done:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DIFY_", "LASTGOOD_"))}
        way = {"ADMIN_API_KEY": ADMIN_KEY} if admin else {"DIFY_EMAIL": EMAIL, "DIFY_PASSWORD": PASSWORD}
        done = subprocess.run(
            (sys.executable, "-I", str(self.folder / "rollback.py"), *args),
            check=False, env={**kept, **way, **more}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert "Traceback" not in said, said
        for value in (SECRET, NEWER, PASSWORD, ADMIN_KEY):
            assert value not in said, "a secret was printed"
        return Done(done.returncode, done.stdout, done.stderr)

    @property
    def live(self) -> Row:
        assert self.app.live
        return self.app.live

    @property
    def now(self) -> Row:
        assert self.app.draft
        return self.app.draft

    def is_rolled_back(self) -> bool:
        """The good content is live, with the draft's own secret."""
        same = (self.live.graph, self.live.features) == (self.good.graph, self.good.features)
        return same and values(self.live).items() >= {"REGION": "eu", "TOKEN": NEWER, "LIMIT": 3}.items()

    def has_its_draft(self) -> bool:
        """The draft is the one from before, secrets too."""
        parts = ("graph", "features", "environment_variables", "conversation_variables")
        return all(getattr(self.now, part) == getattr(self.draft, part) for part in parts)


def values(row: Row) -> dict[str, Any]:
    return {one["name"]: one["value"] for one in row.environment_variables}


def variable(name: str, value: Any, kind: str = "string") -> dict[str, Any]:
    return {"id": str(uuid5(NAMESPACE_DNS, name)), "name": name, "value": value,
            "value_type": kind, "description": ""}  # fmt: skip


@pytest.fixture(params=["1.13.0", "1.14.2"])
def case(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Iterator[Case]:
    with FakeDify(request.param) as dify:
        world = dify.world
        app = world.add_app("Invoices")
        token, limit = variable("TOKEN", SECRET, "secret"), variable("LIMIT", 3, "number")
        world.editor_saves(app, graph("good"), environment=[variable("REGION", "eu"), token, limit])
        good = world.somebody_publishes(app, "good")
        made = kit_of(store, dify, app)
        files._write(tmp_path / "kit", made.files)
        features = {**deepcopy(good.features), "opening_statement": "broken"}
        world.editor_saves(app, graph("bad"), environment=[variable("REGION", "xx"), token, limit], features=features)
        bad = world.somebody_publishes(app, "bad")
        work = [variable("REGION", "yy"), {**token, "value": NEWER}, limit, variable("LATER", "its own", "secret")]
        draft = world.editor_saves(app, graph("half done"), environment=work).copy()
        yield Case(dify, app, good.copy(), bad, draft, tmp_path / "kit", made.version.id)


def kit_of(store: Store, dify: FakeDify, app: FakeApp) -> making.Kit:
    """The kit for what `app` serves now."""
    way = AdminKey(ADMIN_KEY, dify.world.workspace_id)
    with connect(dify.url, way) as client:
        live = client.console.published(app.id)
    assert live

    def work(tx: Any) -> making.Kit:
        facts = {"workspace_id": dify.world.workspace_id, "version": dify.world.version}
        servers.save(tx, ALICE, "prod", dify.url, way, facts=facts)
        workflow = workflows.create(tx, ALICE, "invoices", name="Invoices", mode="workflow", target="prod")
        document = document_of(workflow, live, {"TOKEN": SECRET})
        version = versions.push(tx, ALICE, workflow, document, origin="capture").version
        version = versions.set_state(tx, ALICE, version, "stable", kind="mark", reason="it is good")
        apps.bind(tx, ALICE, workflow, "live", target="prod", app=app.id, name=app.name, mode=app.mode)
        channels.move(tx, ALICE, workflow, channels.get(tx, workflow), version, expected=0, kind="publish")
        return making.make(tx, workflow, "live")

    return store.write(work)


def autosave(case: Case, text: str = "intruder") -> Callable[[], object]:
    return lambda: case.dify.world.editor_saves(case.app, graph(text))


def test_it_makes_the_good_version_live_and_puts_the_draft_back(case: Case) -> None:
    done = case.run("--yes")
    assert (done.code, done.err) == (0, "")
    assert case.is_rolled_back() and case.has_its_draft()
    assert case.live.marked_name.startswith("rollback") and case.version in case.live.marked_comment
    assert f"LIVE: {case.version} is live as {case.live.id}" in done.out
    assert "The secret LATER is newer than the kit" in done.out and values(case.now)["LATER"] == "its own"
    assert not (case.folder / "unfinished.json").exists()


def test_it_saves_what_was_there_first_where_only_the_owner_can_read_it(case: Case) -> None:
    case.run("--yes", admin=True)
    (folder,) = case.folder.glob("saved-*")
    for name, row in (("draft", case.draft), ("published", case.bad)):
        file = folder / f"{name}.json"
        assert json.loads(file.read_text())["graph"] == row.graph
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert MASK not in (folder / "draft.json").read_text()


def test_a_dry_run_changes_nothing(case: Case) -> None:
    before = len(case.app.versions)
    done = case.run("--dry-run")
    assert done.code == 0 and "nothing was changed" in done.out and "node end" in done.out
    assert len(case.app.versions) == before and case.has_its_draft() and not list(case.folder.glob("saved-*"))
    assert not any(one.method == "POST" and "/apps/" in one.path for one in case.dify.requests)


def test_it_may_be_run_again(case: Case) -> None:
    case.run("--yes")
    versions_then = len(case.app.versions)
    done = case.run("--yes")
    assert done.code == 0 and "is live already" in done.out
    assert len(case.app.versions) == versions_then and case.has_its_draft()


def test_a_wrong_password_is_tried_once(case: Case) -> None:
    done = case.run("--yes", DIFY_PASSWORD="wrong")
    assert done.code == 1 and "tried once" in done.err
    assert case.dify.asked("/console/api/login") == 1 and case.live is case.bad and case.has_its_draft()


def test_a_wrong_admin_key_changes_nothing(case: Case) -> None:
    done = case.run("--yes", admin=True, ADMIN_API_KEY="wrong")
    assert done.code == 1 and "401" in done.err and case.live is case.bad


def test_without_a_terminal_and_without_yes_it_does_nothing(case: Case) -> None:
    done = case.run()
    assert done.code == 1 and "no terminal" in done.err and case.live is case.bad and case.has_its_draft()


def test_a_draft_that_was_saved_meanwhile_is_not_overwritten(case: Case) -> None:
    case.dify.faults.before(SYNC, autosave(case))
    done = case.run("--yes")
    assert done.code == 1 and "Somebody saved the draft" in done.err
    assert case.live is case.bad and case.now.graph == graph("intruder")


def test_an_editor_between_draft_and_publish_is_found_before_the_publish(case: Case) -> None:
    case.dify.faults.after(SYNC, autosave(case))
    done = case.run("--yes")
    assert done.code == 3 and "nothing was published" in done.err
    assert case.live is case.bad and case.now.graph == graph("intruder")
    assert case.run("--yes").code == 0 and case.is_rolled_back()


def test_an_editor_in_the_very_moment_of_the_publish_is_told_of(case: Case) -> None:
    case.dify.faults.before(PUBLISH, autosave(case))
    done = case.run("--yes")
    assert done.code == 3 and "THAT is live now" in done.err and "node end" in done.err
    assert case.live.graph == graph("intruder") == case.now.graph
    (folder,) = case.folder.glob("saved-*")
    assert json.loads((folder / "draft.json").read_text())["graph"] == case.draft.graph
    assert case.run("--yes").code == 0 and case.live.graph == case.good.graph


@pytest.mark.parametrize(("what", "nth"), [(SYNC, 1), (SYNC, 2), (PUBLISH, 1)])
def test_a_lost_reply_is_made_good_by_looking(case: Case, what: str, nth: int) -> None:
    case.dify.faults.drop(what, nth=nth)
    done = case.run("--yes")
    assert done.code == 0 and case.is_rolled_back() and case.has_its_draft()
    assert len(case.app.versions) == 3


def test_a_lost_publish_leaves_a_run_that_is_gone_on_with(case: Case) -> None:
    case.dify.faults.drop(PUBLISH, took_effect=False)
    done = case.run("--yes")
    assert done.code == 3 and "Nothing was published" in done.err and case.live is case.bad
    assert (case.folder / "unfinished.json").exists()
    again = case.run("--yes")
    assert again.code == 0 and case.is_rolled_back() and case.has_its_draft()


def test_a_run_that_was_cut_off_after_the_publish_puts_the_draft_back(case: Case) -> None:
    case.dify.faults.fail(SYNC, nth=2)
    done = case.run("--yes")
    assert done.code == 3 and "could not be put back" in done.out and case.is_rolled_back()
    assert case.run("--yes").code == 0 and case.has_its_draft() and len(case.app.versions) == 3


def test_a_refused_publish_leaves_everything_as_it_was(case: Case) -> None:
    case.dify.faults.fail(PUBLISH, 400)
    done = case.run("--yes")
    assert done.code == 1 and "refused to publish" in done.out and case.live is case.bad and case.has_its_draft()


def test_a_secret_that_the_draft_lost_is_asked_for(case: Case) -> None:
    left = [one for one in case.now.environment_variables if one["name"] != "TOKEN"]
    case.dify.world.editor_saves(case.app, environment=left)
    done = case.run("--yes")
    assert done.code == 1 and "no secret TOKEN" in done.err and case.live is case.bad
    assert case.run("--yes", DIFY_SECRET_TOKEN=SECRET).code == 0
    assert values(case.live)["TOKEN"] == SECRET and "[__HIDDEN__]" not in str(case.live.environment_variables)


def test_a_redirection_is_not_followed_with_the_key(case: Case) -> None:
    from dify_server import Answer

    case.dify.hook = lambda request: Answer(302, None, [("Location", "http://127.0.0.1:9/")])
    done = case.run("--yes", admin=True)
    assert done.code == 1 and "302" in done.err


def test_the_document_can_be_imported_and_holds_no_secret(case: Case) -> None:
    text = (case.folder / "document.yml").read_text()
    assert SECRET not in text and SECRET not in (case.folder / "kit.json").read_text()
    document = dsl.parse(text, source="document.yml")
    held = {one["name"]: one["value"] for one in document.environment_variables}
    assert held["TOKEN"] == "[__HIDDEN__]" and held["REGION"] == "eu"
    with connect(case.dify.url, AdminKey(ADMIN_KEY, case.dify.world.workspace_id)) as client:
        assert client.console.import_document(text, app=case.app.id).status.startswith("completed")
    assert values(case.now)["TOKEN"] == NEWER
