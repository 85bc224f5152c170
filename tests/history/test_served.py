"""What runs in a server's logs prove, and how they add up."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.history import apps, captured, drafts, integrations, served, versions, workflows
from lastgood.history.apps import App
from lastgood.history.integrations import Seen
from lastgood.history.served import Runs, upper
from lastgood.history.versions import Version
from lastgood.targets.dify import AdminKey, servers
from support.documents import document

WHO = Principal("alice")
T0, T1 = "2026-11-23T10:00:00.000000Z", "2026-11-23T11:00:00.000000Z"


@pytest.fixture
def app(store: Store) -> App:
    """An app on a Dify server that nobody asks here."""

    def work(tx: Any) -> App:
        servers.save(tx, WHO, "prod", "http://dify.test", AdminKey("k", "w"), facts={})
        workflow = workflows.create(tx, WHO, "greet", name="Greeter", mode="workflow", target="prod")
        return apps.bind(tx, WHO, workflow, "live", target="prod", app="a1", name="Greeter", mode="workflow")

    return store.write(work)


@pytest.fixture
def kept(store: Store, app: App) -> Callable[..., Version]:
    """Captures a document that says a text, with secrets."""

    def keep(says: str, **secrets: str) -> Version:
        def work(tx: Any) -> Version:
            workflow = workflows.by_pk(tx, app.workflow_pk)
            made = with_secrets(says, *secrets)
            return captured.keep(tx, WHO, workflow, made, secrets, author="bob", authored_at=T0).version

        return store.write(work)

    return keep


def with_secrets(says: str, *names: str) -> Any:
    from lastgood import dsl

    made = document(says).data
    items = [{"id": name, "name": name, "value": "********************", "value_type": "secret"} for name in names]
    return dsl.Document({**made, "workflow": {**made["workflow"], "environment_variables": items}})


@pytest.mark.parametrize(
    ("failed", "runs", "bound"),
    [(0, 0, 1.0), (0, 1, 0.793), (0, 30, 0.114), (0, 35, 0.099), (2, 412, 0.018), (30, 30, 1.0), (15, 30, 0.669)],
)
def test_the_upper_bound(failed: int, runs: int, bound: float) -> None:
    assert upper(failed, runs) == pytest.approx(bound, abs=0.0006)


@pytest.mark.parametrize(
    ("runs", "failed", "proven"),
    [(29, 0, False), (34, 0, False), (35, 0, True), (100, 3, True), (100, 6, False), (412, 2, True), (60, 60, False)],
)
def test_what_proves_a_version(
    store: Store, app: App, kept: Callable[..., Version], runs: int, failed: int, proven: bool
) -> None:
    version = kept("hello")
    store.write(lambda tx: served.add(tx, app, version.pk, "web-app", Runs(runs, failed, 1.0, 0.5, T0, T1)))
    found = store.write(lambda tx: served.prove(tx, WHO, version, least=30, failures=0.10))
    assert (found is not None and found.state == "stable") is proven
    with store.read() as tx:
        assert versions.by_pk(tx, version.pk).state == ("stable" if proven else "candidate")


def test_counts_add_up_by_origin(store: Store, app: App, kept: Callable[..., Version]) -> None:
    version = kept("hello")
    for origin, runs in (
        ("webhook", Runs(3, 1, 1.5, 1.0, T1, T1)),
        ("webhook", Runs(2, 0, 0.5, 0.3, T0, T0)),
        ("web-app", Runs(5, 0, 2.0, 4.0, T1, T1)),
    ):
        store.write(partial(served.add, app=app, version_pk=version.pk, origin=origin, runs=runs))
    with store.read() as tx:
        assert served.total(tx, version) == Runs(10, 1, 4.0, 4.0, T0, T1)
        assert served.by_origin(tx, version) == {"web-app": (5, 0), "webhook": (5, 1)}
        assert served.total(tx, kept_other(tx, version)) is None


def kept_other(tx: Any, version: Version) -> Version:
    from dataclasses import replace

    return replace(version, pk=version.pk + 1000)


def test_the_same_content_and_secrets_are_one_version(kept: Callable[..., Version]) -> None:
    first = kept("hello", KEY="one")
    assert kept("hello", KEY="two").id != first.id
    assert kept("other").id not in (first.id,)
    assert kept("hello", KEY="one").id == first.id  # though others came since
    unknown = kept("hello", KEY="")
    assert unknown.id != first.id and kept("hello", KEY="").id == unknown.id


def test_a_secret_that_was_not_read_is_taken_from_no_other_version(
    store: Store, kept: Callable[..., Version]
) -> None:
    kept("hello", KEY="one")
    version = kept("other", KEY="")
    with store.read() as tx:
        assert versions.secrets_of(tx, version) == {}


def test_a_draft_that_did_not_change_adds_nothing(store: Store, app: App) -> None:
    def keep(says: str, why: Any = "seen", **secrets: str) -> str:
        made = with_secrets(says, *secrets)
        return store.write(lambda tx: drafts.keep(tx, app, made, secrets, "h", "bob", T0, why)).id

    first = keep("a", KEY="s3cr3t-1")
    assert keep("a", "operation", KEY="s3cr3t-1") == first
    assert keep("a", KEY="s3cr3t-2") != first
    assert keep("a", KEY="s3cr3t-1") != first  # what came between stays
    with store.read() as tx:
        found = drafts.listing(tx, workflows.by_pk(tx, app.workflow_pk))
        assert [drafts.secrets_of(tx, one)["KEY"] for one in found] == ["s3cr3t-1", "s3cr3t-2", "s3cr3t-1"]
        assert "s3cr3t-1" not in str(found[0].public()) and "s3cr3t-1" not in repr(found[0])
        assert found[0].author == "bob" and found[0].changed_at == T0


def test_changes_around_an_app_are_told_by_the_names_of_what_differs(store: Store, app: App) -> None:
    def observe(first: bool = False, **seen: Seen) -> list[tuple[str, str, tuple[str, ...]]]:
        found = store.write(lambda tx: integrations.observe(tx, WHO, app, "webhook", seen, first=first))
        return [(one.name, one.change, one.fields) for one in found]

    assert observe(first=True, a=Seen({"status": "on"}, "http://x/1")) == [("a", "new", ())]
    assert observe(a=Seen({"status": "on"}, "http://x/1")) == []
    assert observe(a=Seen({"status": "off"}, "http://x/2")) == [("a", "changed", ("secret", "status"))]
    assert observe(b=Seen({"status": "on"})) == [("b", "new", ()), ("a", "gone", ())]
    assert observe(b=Seen({"status": "on"})) == []
    assert observe(a=Seen({"status": "off"}, "http://x/2"), b=Seen({"status": "on"})) == [("a", "new", ())]
    with store.read() as tx:
        held = {one.name: one for one in integrations.listing(tx, app)}
        assert integrations.secret_of(tx, app, held["a"]) == "http://x/2"
        assert "http://x" not in str([one.public() for one in held.values()])
