"""Every route, every command and every background job is bound to an action: what is new and is not fails here."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

import lastgood
from lastgood.access import decisions, roles
from lastgood.access.actions import CATALOGUE
from lastgood.access.grants import Grant, put
from lastgood.access.roles import Role
from lastgood.access.rules import Rule
from lastgood.cli.main import command
from lastgood.db.store import Store
from lastgood.errors import Denied
from lastgood.gateway.knowledge import StoreKnowledge
from lastgood.history import workflows
from lastgood.release import rehearsal
from lastgood.server import watching
from lastgood.server.app import make_app
from lastgood.server.firing import Firing
from support.scene import ALICE
from support.stores import on_sqlite

from .conftest import Api
from .test_doors import OPEN, actions, methods_of, routes

SOURCE: Final = Path(lastgood.__file__).parent

# Commands that ask no route, by the action that they ask for themselves, or why they need none.
LOCAL: Final = {
    "completion": "prints a script for the shell",
    "init": "for whoever owns a data directory that nobody has a key to yet",
    "demo": "makes a data directory of its own and throws it away",
    "serve": "starts the doors; whoever may start a process on the data directory owns it",
    "token reset": "for whoever owns the data directory and has no token left",
}
# Threads by what they run: the action that they ask for as a service, or why they need none.
THREADS: Final = {
    "cli/demo.py self._ask": "a client of its own demonstration",
    "db/presence.py self._run": "keeps the row of its own process",
    "gateway/lease.py self._run": "reads the routes",
    "gateway/recorder.py self._run": "writes what this worker served",
    "gateway/rehasher.py self._run": "hashes keys anew by another ring key",
    "gateway/server.py _wait_for_eof": "ends its own process",
    "release/checks/together.py run": "works for the operation that waits for it",
    "release/listeners/http.py run": "works for the operation that waits for it",
    "release/operation.py renew": "renews the lease of an operation that runs",
    "release/paging.py run": "works for the operation that pages",
    "server/children.py self._retire": "ends its own children",
    "server/children.py self._run": "watches its own children",
    "server/firing.py self._fire": "trigger:fire",
    "server/operators.py self._run": "acts for who asked for the operation",
    "server/supervisor.py Firing(context.operators.means).run": "trigger:fire",
    "server/supervisor.py _tidy": "packs and tidies; changes no workflow",
    "server/supervisor.py context.operators.take_over": "workflow:rehearse",
    "server/supervisor.py context.watching.run": "target:capture",
    "server/supervisor.py engine.warm": "imports modules",
    "server/supervisor.py Sequencing(store, over).run": "gives audit rows their places",
    "server/syncing.py self._loop": "access:push",
    "server/watching.py self._capture": "target:capture",
    "server/watching.py self._watch": "target:capture",
    "targets/engine/__main__.py _parent_gone": "ends its own process",
    "targets/engine/records.py self._write": "writes what this engine ran",
}
SERVICES: Final = {"gateway", "jobs", "watch"}


@on_sqlite
def test_every_route_asks_for_an_action_of_the_catalogue(api: Api) -> None:
    for route in routes(api.app):
        if route.path not in OPEN:
            assert set(actions(route)) <= CATALOGUE.keys(), route.path
            moving = any(getattr(part.call, "moves", False) for part in route.dependant.dependencies)
            changes = "{channel}" in route.path and methods_of(route) != ["GET"]
            assert moving is changes, f"{route.path} moves a channel: may(…, moves=True)"


def commands(group: Any = None, *path: str) -> Iterator[tuple[str, Any]]:
    for name, found in (group or command()).commands.items():
        if hasattr(found, "commands"):
            yield from commands(found, *path, name)
        else:
            yield " ".join((*path, name)), found


def asked(function: Any, seen: set[Any]) -> Iterator[tuple[str, tuple[str | None, ...]]]:
    """(method, parts of the path; None for what is no literal) of what a command asks of the API, also by functions
    of the command line that it calls."""
    function = inspect.unwrap(function)
    if function in seen:
        return
    seen.add(function)
    around = vars(import_module(function.__module__))
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            name, method = node.func.value.id, node.func.attr
            if name == "api" and method in ("get", "items", "file", "post", "delete"):
                parts = tuple(str(p.value) if isinstance(p, ast.Constant) else None for p in node.args)
                starred = any(isinstance(p, ast.Starred) for p in node.args)
                yield {"post": "POST", "delete": "DELETE"}.get(method, "GET"), (None,) if starred else parts
                continue
            called = getattr(around.get(name), method, None)
        else:
            called = around.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if inspect.isfunction(called) and called.__module__.startswith("lastgood.cli"):
            yield from asked(called, seen)


@on_sqlite
def test_every_command_asks_routes_that_are_bound_or_is_known_to_ask_none(store: Store) -> None:
    bound = [
        (method, route.path.removeprefix("/v1/").split("/"))
        for route in routes(make_app(store))
        if route.path not in OPEN
        for method in methods_of(route)
    ]

    def is_bound(method: str, parts: tuple[str | None, ...]) -> bool:
        return parts == (None,) or any(
            method == its
            and len(path) == len(parts)
            and all(one.startswith("{") or said in (None, one) for one, said in zip(path, parts, strict=True))
            for its, path in bound
        )

    found = dict(commands())
    for name, one in found.items():
        if name in LOCAL or name.startswith("ring "):  # whoever has the key ring's file has all that it opens
            continue
        asks = list(asked(one.function, set()))
        assert asks, f"`lastgood {name}` asks no route: say in LOCAL why, or what it asks for itself"
        for method, parts in asks:
            assert is_bound(method, parts), f"`lastgood {name}` asks {method} {parts}, which is no route"


def test_every_thread_is_known_by_what_it_asks_for() -> None:
    found = set()
    for file in SOURCE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "Thread" in text else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Thread"):
                target = next(word.value for word in node.keywords if word.arg == "target")
                found.add(f"{file.relative_to(SOURCE)} {ast.unparse(target)}")
    assert found == THREADS.keys()
    for why in THREADS.values():
        assert " " in why or why in CATALOGUE


def test_every_service_is_known() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py"))
    assert set(re.findall(r'Principal\("(\w+)", (?:kind=)?"service"\)', text)) == SERVICES


def a(**facts: Any) -> Any:
    """Something with these attributes."""
    return SimpleNamespace(**facts)


@pytest.fixture
def denied(store: Store) -> Store:
    """A store in which our own jobs may do nothing."""

    def work(tx: Any) -> None:
        roles.create(tx, ALICE, Role("stop", "", (Rule("deny", ("*",)),)))
        for name in SERVICES:
            put(tx, ALICE, Grant(f"service:{name}", "stop"))

    store.write(work)
    return store


@on_sqlite
def test_jobs_ask_as_everybody_does(denied: Store, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    context = api.app.state.context
    with pytest.raises(Denied):
        context.watching.source("dify", watching.WATCH)
    with pytest.raises(Denied):
        StoreKnowledge(denied).deleted(a(target="dify", app="a1", slug="greet"), "p")
    answer = Firing(context.operators.means)._ask(a(slug="greet", node="n", version="v-20261123-01"))
    assert (answer.state, "denied by role stop" in answer.detail) == ("failed", True)
    rehearsed: list[str] = []
    monkeypatch.setattr(rehearsal, "due", lambda tx, hours: ["wf-abc123"])
    monkeypatch.setattr(workflows, "find", lambda tx, id: a(slug="greet", id=id))
    monkeypatch.setattr(rehearsal, "rehearse", lambda means, who, id: rehearsed.append(id))
    changed = denied.settings.model_copy(
        update={"rollback": denied.settings.rollback.model_copy(update={"rehearse_hours": 1})}
    )
    monkeypatch.setattr(context.operators.means.store, "settings", changed)
    context.operators._rehearse()
    assert rehearsed == []
    denied.write(lambda tx: put(tx, ALICE, Grant("service:jobs", "stop"), present=False))
    context.operators._next = 0.0
    context.operators._rehearse()
    assert rehearsed == ["wf-abc123"]
    assert not decisions.check_permission(denied, watching.WATCH, "target:capture", "target:dify").allowed
