"""Each built-in role, each action, one's own, another and an unknown workflow, at each door: no door differs."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import httpx
import pytest

from lastgood.access import decisions, grants, roles
from lastgood.access.actions import CATALOGUE, LONGEST, MOVE
from lastgood.access.grants import Grant
from lastgood.access.roles import Role
from lastgood.access.rules import BUILT_IN, Rule
from lastgood.cli.client import Client as Command
from lastgood.cli.local import InProcess
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import LastgoodError, ServerRefused
from lastgood.history import versions, workflows
from lastgood.server import asking
from lastgood.server.app import make_app
from support.documents import document
from support.scene import ALICE, Scene, scene
from support.stores import on_sqlite

from .conftest import Client
from .test_doors import a_token, audited

PLACES: Final = ("own", "other", "unknown")
READS = {"workflow:read", "operation:read", "trigger:read", "target:read", "cluster:read"}
EDITS = READS | {
    *("workflow:export", "workflow:push", "workflow:plan", "workflow:rehearse", "draft:restore", "run:read"),
}
RELEASES = EDITS | {
    *("workflow:publish", "workflow:rollback", "workflow:promote", "workflow:verify", "workflow:archive"),
    *("workflow:mark", "channel:move:live", "channel:move:staging", "channel:break-glass", "target:capture"),
}
ACTIONS: Final = (set(CATALOGUE) - {"channel:move:*"}) | {"channel:move:live", "channel:move:staging"}
# What the documentation says of each role, apart from the code.
MAY: Final[dict[str, set[str]]] = {
    "viewer": READS,
    "editor": EDITS,
    "releaser": RELEASES,
    "approver": READS | {"plan:approve"},
    "auditor": {"audit:read", "audit:export", "access:read", "person:read", "token:read", "workflow:read"},
    "admin": ACTIONS,
    "service": {
        *("workflow:read", "workflow:push", "workflow:publish", "workflow:rollback", "workflow:rehearse"),
        *("workflow:verify", "workflow:mark", "workflow:archive", "channel:move:live", "channel:move:staging"),
        *("operation:read", "trigger:fire", "trigger:read", "target:read", "target:capture", "access:push"),
    },
}
SMOKE = {"from_run": "r-1"}
FORCED = {"version": "v-20990101-01", "force": True, "reason": "I must"}
_AT_ONE = {"headers": {"If-Match": '"0"'}}


# A request for each action about the workflow {w}, or something of it ({v}: a version): method, path, body, and what
# it asks for beside the action. Allowed, it fails of something else or does no harm; denied, it fails with 403.
DOORS: Final[dict[str, tuple[str, str, dict[str, Any] | None, tuple[str, ...]]]] = {
    "workflow:read": ("GET", "/v1/workflows/{w}", None, ()),
    "workflow:export": ("GET", "/v1/versions/{v}/document", None, ()),
    "workflow:push": ("POST", "/v1/workflows/{w}/versions", None, ()),
    "workflow:publish": ("POST", "/v1/workflows/{w}/channels/live/publish", None, ("channel:move:live",)),
    "channel:move:live": ("POST", "/v1/workflows/{w}/channels/live/adopt", None, ("workflow:publish",)),
    "channel:move:staging": ("POST", "/v1/workflows/{w}/channels/staging/heal", None, ("workflow:rollback",)),
    "workflow:rollback": ("POST", "/v1/workflows/{w}/channels/live/rollback", None, ("channel:move:live",)),
    "workflow:rollback:force": (
        *("POST", "/v1/workflows/{w}/channels/live/publish", FORCED),
        ("workflow:publish", "channel:move:live"),
    ),
    "workflow:mark": ("POST", "/v1/versions/{v}/mark", None, ()),
    "workflow:archive": ("POST", "/v1/versions/{v}/pin", None, ()),
    "workflow:plan": ("POST", "/v1/plans", {"moves": [{"workflow": "{w}"}]}, ()),
    "workflow:rehearse": ("POST", "/v1/workflows/{w}/rehearse", None, ()),
    "workflow:verify": ("POST", "/v1/workflows/{w}/verify", None, ()),
    "workflow:promote": ("POST", "/v1/workflows/{w}/promotions/preview", None, ()),
    "draft:restore": ("POST", "/v1/workflows/{w}/draft", None, ()),
    "key:create": ("POST", "/v1/workflows/{w}/keys", None, ()),
    "key:revoke": ("DELETE", "/v1/workflows/{w}/keys/nothing", None, ()),
    "operation:read": ("GET", "/v1/operations?workflow={w}", None, ()),
    "run:read": ("POST", "/v1/workflows/{w}/smokes", SMOKE, ("workflow:push",)),
    "trigger:read": ("GET", "/v1/workflows/{w}/triggers", None, ()),
    "target:connect": ("POST", "/v1/workflows/{w}/apps", None, ()),
}
# These are about no workflow: (method, path, the resource).
BESIDE: Final[dict[str, tuple[str, str, str]]] = {
    "access:admin": ("POST", "/v1/grants", "access:*"),
    "access:read": ("GET", "/v1/roles", "access:*"),
    "audit:export": ("GET", "/v1/audit/rows", "audit:log"),
    "audit:prune": ("POST", "/v1/audit/prune", "audit:log"),
    "audit:read": ("GET", "/v1/audit/span", "audit:log"),
    "cluster:read": ("GET", "/v1/fsck", "server:fsck"),
    "person:admin": ("POST", "/v1/people", "access:*"),
    "person:read": ("GET", "/v1/people", "access:*"),
    "target:capture": ("POST", "/v1/servers/own/look", "target:own"),
    "target:read": ("GET", "/v1/servers/own/capture", "target:own"),
    "token:create": ("POST", "/v1/tokens", "access:*"),
    "token:read": ("GET", "/v1/tokens", "access:*"),
    "token:revoke": ("DELETE", "/v1/tokens/nothing", "access:*"),
}


def _make(tx: Tx, role: Role) -> None:
    roles.create(tx, ALICE, role)


class World:
    """The workflows `own` and `other`, tokens for each role on `own` and on everything, and one application for
    each way in."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.versions = {name: self._workflow(name) for name in ("own", "other")}
        self.versions["unknown"] = "v-20990101-01"
        self.tokens = {
            (role, on): a_token(store, f"{role}-{on}", (role, "workflow:own" if on == "own" else "*"))
            for role in BUILT_IN
            for on in ("own", "all")
        }
        for role in BUILT_IN.values():  # as far as `own`, for who needs no grant
            rules = tuple(Rule(rule.effect, rule.actions, ("workflow:own",)) for rule in role.rules)
            made = Role(f"own-{role.name}", "", rules)
            store.write(partial(_make, role=made))
        self.api = Client(make_app(store))
        self.local = make_app(store, trusted=True)

    def _workflow(self, name: str) -> str:
        place: Scene = scene(self.store, name, target="engine")
        return place.push(name).version.id

    def as_local(self, role: str) -> None:
        """From now on whoever works on the data directory has `role`."""
        for part in self.store.beside.values():
            part.close()
        self.store.beside.clear()
        self.store.settings = self.store.settings.model_copy(update={"local_role": role})

    def filled(self, value: Any, place: str) -> Any:
        """A path or body about `place`."""
        if isinstance(value, str):
            return value.replace("{w}", place).replace("{v}", self.versions[place])
        if isinstance(value, dict):
            return {key: self.filled(one, place) for key, one in value.items()}
        return [self.filled(one, place) for one in value] if isinstance(value, list) else value


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


def cells(role: str) -> Iterator[tuple[str, str, bool]]:
    """(action, place, whether the role on `own` allows all that the door asks for)."""
    for action, (*_, also) in DOORS.items():
        for place in PLACES:
            yield action, place, place == "own" and {action, *also} <= MAY[role]


def passes(answer: httpx.Response) -> bool:
    assert answer.status_code < 500, answer.text
    return answer.status_code != 403


def test_the_matrix_is_whole() -> None:
    assert MAY.keys() == BUILT_IN.keys()
    # Jobs, signatures and plans ask for these, or nobody yet.
    elsewhere = {"access:push", "channel:break-glass", "plan:approve", "trigger:fire"}
    nobody_yet = {"backup:read", "backup:restore", "secret:reveal"}
    assert DOORS.keys() | BESIDE.keys() | elsewhere | nobody_yet == ACTIONS


@on_sqlite
def test_asked_directly(world: World) -> None:
    for role in BUILT_IN:
        for action in sorted(ACTIONS):
            for place in PLACES:
                for on in ("own", "all"):
                    who = Principal(f"{role}-{on}", "token")
                    wanted = action in MAY[role] and (on == "all" or place == "own")
                    door = decisions.check_permission(world.store, who, action, f"workflow:{place}")
                    assert door.allowed is wanted, (role, on, action, place, door.reason)


@on_sqlite
@pytest.mark.parametrize("role", BUILT_IN)
def test_at_the_api(world: World, role: str) -> None:
    for action, place, wanted in cells(role):
        method, path, body, _ = DOORS[action]
        sent: dict[str, Any] = {} if body is None else {"json": world.filled(body, place)}
        headers = {"If-Match": '"0"'} if body is FORCED else {}
        for on in ("own", "all") if place == "own" else ("own",):
            headers["Authorization"] = f"Bearer {world.tokens[role, on]}"
            answer = world.api.request(method, world.filled(path, place), headers=headers, **sent)
            assert passes(answer) is wanted, (action, place, on, answer.text)
    for action, (method, path, _) in BESIDE.items():
        for on in ("own", "all"):
            headers = {"Authorization": f"Bearer {world.tokens[role, on]}"}
            answer = world.api.request(method, path, headers=headers)
            assert passes(answer) is (on == "all" and action in MAY[role]), (action, on, answer.text)


@on_sqlite
def test_one_action_opens_its_own_door_alone(world: World) -> None:
    for action in BESIDE:
        name = action.replace(":", "-")
        world.store.write(partial(_make, role=Role(name, "", (Rule("allow", (action,)),))))
        headers = {"Authorization": f"Bearer {a_token(world.store, name, (name, '*'))}"}
        opened = {
            other
            for other, (method, path, _) in BESIDE.items()
            if passes(world.api.request(method, path, headers=headers))
        }
        assert opened == {action}
        if action == "token:create":
            for body, status in (({"name": "t1"}, 201), ({"name": "t2", "role": "admin"}, 403)):
                assert world.api.post("/v1/tokens", json=body, headers=headers).status_code == status
        if action == "person:admin":  # who gives a password comes in as that person
            world.store.write(lambda tx: grants.put(tx, ALICE, Grant("granted", "admin")))
            for name, status in (("eve", 201), ("granted", 403)):
                body = {"name": name, "password": "a long enough one"}
                assert world.api.post("/v1/people", json=body, headers=headers).status_code == status
            assert world.api.post("/v1/people", json={"name": "granted"}, headers=headers).status_code == 201
            for name, status in (("eve", 200), ("granted", 403)):
                path, body = f"/v1/people/{name}/password", {"password": "another long one"}
                assert world.api.post(path, json=body, headers=headers).status_code == status


@on_sqlite
@pytest.mark.parametrize("role", BUILT_IN)
def test_at_the_command_line_in_process(world: World, role: str) -> None:
    world.as_local(f"own-{role}")
    with httpx.Client(transport=InProcess(world.local), base_url="http://local") as http:
        command = Command(http)
        for action, place, wanted in cells(role):
            method, path, body, _ = DOORS[action]
            path, _, query = world.filled(path, place).removeprefix("/v1/").partition("?")
            params = {"workflow": place} if query else {}
            ask: dict[str, Callable[..., Any]] = {"GET": command.file, "POST": command.post, "DELETE": command.delete}
            more = {"expected": 0 if body is FORCED else None, "body": world.filled(body, place)}
            try:
                ask[method](*path.split("/"), **(more if method == "POST" else params))
                passed = True
            except ServerRefused as refused:
                assert refused.data["status"] < 500
                passed = refused.data["status"] != 403
            assert passed is wanted, (action, place)
        for action, (method, path, _) in BESIDE.items():
            world.as_local(role)
            try:
                ask[method](*path.removeprefix("/v1/").split("/"))
            except ServerRefused as refused:
                assert (refused.data["status"] != 403) is (action in MAY[role]), action


UNKNOWN: Final = {"{w}": "nothing", "{i}": "wf-zzzzzz", "{v}": "v-20990101-01", "{s}": "snap_20990101_v1"}
NAMING: Final = (
    *("/v1/workflows/{w}", "/v1/workflows/{i}", "/v1/workflows/{i}/versions", "/v1/versions/{v}"),
    *("/v1/versions/{v}/document", "/v1/snapshots/{s}", "/v1/operations?workflow={i}"),
    *("/v1/workflows/own/diff?old={v}", "/v1/versions/{own}/drawing?against={v}"),
)


@on_sqlite
def test_what_is_hidden_looks_like_what_is_not_there(world: World) -> None:
    """For who may read one workflow only, and for who may read all but one."""
    store = world.store
    store.write(lambda tx: roles.create(tx, ALICE, Role("but", "", (Rule("deny", ("*",), ("workflow:other",)),))))
    with store.read() as tx:
        other = workflows.find(tx, "other")
        version = versions.newest(tx, other)
    hidden = {"{w}": "other", "{i}": other.id, "{v}": version.id, "{s}": version.snapshot_id}
    for granted, by_name in (((("editor", "workflow:own"),), 403), ((("admin", "*"), ("but", "*")), 404)):
        token = a_token(store, f"limited-{by_name}", *granted)
        for path in NAMING:
            told = []
            for names in (hidden, UNKNOWN):
                asked = path.replace("{own}", world.versions["own"])
                for mark, name in names.items():
                    asked = asked.replace(mark, name)
                answer = world.api.get(asked, headers={"Authorization": f"Bearer {token}"})
                text = answer.text
                for mark, name in names.items():
                    text = text.replace(name, mark)
                told.append((answer.status_code, text))
            if by_name == 404 and "{w}" in path:
                assert [status for status, _ in told] == [403, 404]  # the rule names it, so it is no secret
            else:
                assert told[0] == told[1], path
                assert told[0][0] in (by_name, 404)


@on_sqlite
def test_what_is_told_as_not_there_is_kept_as_refused(world: World) -> None:
    store = world.store
    store.write(lambda tx: roles.create(tx, ALICE, Role("but", "", (Rule("deny", ("*",), ("workflow:other",)),))))
    headers = {"Authorization": f"Bearer {a_token(store, 'but', ('admin', '*'), ('but', '*'))}"}
    for path, resource in (
        (f"/v1/versions/{world.versions['other']}", f"version/{world.versions['other']}"),
        (f"/v1/versions/{world.versions['other']}/document", f"version/{world.versions['other']}"),
    ):
        before = len(audited(store))
        assert world.api.get(path, headers=headers).status_code == 404
        action = "workflow:export" if path.endswith("/document") else "workflow:read"
        assert audited(store)[before:] == [("but", action, resource, "denied")]


@on_sqlite
def test_a_new_workflow_is_asked_for_by_the_name_that_it_gets(world: World) -> None:
    """Pushed under an id it gets the name of its app, which is what rules speak of."""
    made = Role("no-greeter", "", (Rule("deny", ("*",), ("workflow:greeter",)),))
    world.store.write(lambda tx: roles.create(tx, ALICE, made))
    headers = {"Authorization": f"Bearer {a_token(world.store, 'ci', ('admin', '*'), ('no-greeter', '*'))}"}
    for name, status in (("Greeter", 403), ("Other Greeter", 201)):
        body = {"document": document(name=name).data, "workflow_id": "wf-abc123"}
        answer = world.api.post("/v1/workflows/wf-abc123/versions", json=body, headers=headers)
        assert answer.status_code == status, answer.text


@on_sqlite
def test_lists_show_what_may_be_read(world: World) -> None:
    def shown(role: str, on: str) -> dict[str, set[str]]:
        headers = {"Authorization": f"Bearer {world.tokens[role, on]}"}
        found = {path: world.api.get(f"/v1/{path}", headers=headers).json() for path in ("workflows", "status")}
        changes = world.api.get("/v1/changes?limit=1", headers=headers).json()["items"]
        return {
            "workflows": {one["slug"] for one in found["workflows"]["items"]},
            "status": {one["slug"] for one in found["status"]["workflows"]},
            "newest change": {one["workflow"] for one in changes},
        }

    assert shown("viewer", "own") == {"workflows": {"own"}, "status": {"own"}, "newest change": {"own"}}
    everything = shown("admin", "all")
    assert everything == {"workflows": {"own", "other"}, "status": {"own", "other"}, "newest change": {""}}
    headers = {"Authorization": f"Bearer {world.tokens['viewer', 'own']}"}
    assert world.api.get("/v1/status", headers=headers).json()["processes"] == []
    assert set(world.api.get("/v1/status", headers=headers).json()["server"]) <= {"version", "gateway", "started_at"}


@on_sqlite
def test_who_is_allowed_by_name_is_told_by_whom(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.tokens['viewer', 'own']}"}
    for params, allowed, words in (
        ({"action": "read", "resource": "workflow:own"}, True, "role viewer, granted on workflow:own"),
        ({"action": "rollback", "resource": "workflow:own"}, False, "allows workflow:rollback on workflow:own"),
        ({"action": "read", "resource": "workflow:other"}, False, "no role of token:viewer-own"),
    ):
        found = world.api.get("/v1/can", params=params, headers=headers).json()
        assert (found["allowed"], words in found["reason"]) == (allowed, True), found
    asked = {"action": "read", "resource": "workflow:own", "subject": "u1002"}
    assert world.api.get("/v1/can", params=asked, headers=headers).status_code == 403
    headers["Authorization"] = f"Bearer {world.tokens['auditor', 'all']}"
    assert world.api.get("/v1/can", params=asked, headers=headers).json()["allowed"] is False


def test_moves_end_in_the_same_rule_as_their_door() -> None:
    """The action of a channel is made of its name, which can be no pattern."""
    from lastgood.ids import check_channel

    for name in ("*", "a*", "a:b", "", "?"):
        with pytest.raises(LastgoodError):
            check_channel(name)
    assert MOVE == "channel:move:"
    longest = check_channel("c" * 63)
    assert asking.moving(longest) == MOVE + longest
    assert len(asking.moving("c" * 60_000)) == LONGEST, "what a path says is kept with its answer"
