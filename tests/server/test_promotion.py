"""Promotions through the API: on the engine to the end, and between two Difys up to what would be written."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from dify_server import FakeDify
from dify_server.graphs import edge, node
from dify_server.world import ADMIN_KEY
from lastgood import dsl
from lastgood.db import tables
from lastgood.dsl.identities import identities
from lastgood.history import apps, channels, versions, workflows
from lastgood.targets.dify import AdminKey, servers
from support.documents import document
from support.scene import ALICE
from support.stores import on_sqlite

from .conftest import Api

pytestmark = on_sqlite
STAGED, LIVE = "the staging secret", "the live secret"
BODY = {"from": "staging", "to": "live"}


def greeting(text: str = "hello", region: str = "dev", token: str | None = STAGED) -> dict[str, Any]:
    """A document with a variable and a secret."""
    made = document(text, secrets={"TOKEN": token})
    made.data["workflow"]["environment_variables"].append(
        {"id": "id-REGION", "name": "REGION", "value": region, "value_type": "string"}
    )
    return made.data


def staged(api: Api, text: str = "hello") -> str:
    """A version in staging."""
    pushed = api.post("/v1/workflows/greet/versions", {"document": greeting(text)}, status=201)["version"]["id"]
    path = "/v1/workflows/greet/channels/staging"
    answer = api.ask("GET", path)
    at = answer.json()["generation"] if answer.status_code == 200 else 0
    api.post(f"{path}/publish", {"version": pushed}, headers={"If-Match": f'"{at}"'})
    return str(pushed)


def promote(api: Api, generation: int, status: int = 200, **more: Any) -> Any:
    headers = {"If-Match": f'"{generation}"'}
    return api.post("/v1/workflows/greet/promotions", {**BODY, **more}, status=status, headers=headers)


def secret_of(api: Api, version: str) -> dict[str, str]:
    with api.store.read() as tx:
        return versions.secrets_of(tx, versions.find(tx, version))


OVERLAY: dict[str, Any] = {"environment": {"REGION": "eu"}, "secrets": {"TOKEN": LIVE}}


def test_from_staging_to_live_on_the_engine(api: Api) -> None:
    source = staged(api)
    done = promote(api, 0, reason="tested", **OVERLAY)
    made = done["version"]
    assert done["state"] == "succeeded" and done["move"]["kind"] == "promote" and made["channels"] == ["live"]
    assert (made["origin"], made["parent"]) == ("promote", source) and source in made["note"]
    assert secret_of(api, made["id"]) == {"TOKEN": LIVE} and secret_of(api, source) == {"TOKEN": STAGED}
    told = api.get(f"/v1/versions/{made['id']}")["promoted_from"]
    assert (told["version"], told["channel"], told["to"], told["same"]) == (source, "staging", "live", True)
    assert told["proof"].startswith(f"It is what {source} is, but for 1 variable, 1 secret")
    assert told["digest"] == api.get(f"/v1/versions/{source}")["digest"]
    assert [one["kind"] for one in api.get("/v1/workflows/greet/moves")["items"]] == ["promote", "publish"]
    assert LIVE not in str(done) + str(told)


def test_the_next_promotion_keeps_what_live_has(api: Api) -> None:
    staged(api)
    promote(api, 0, **OVERLAY)
    staged(api, "hello again")
    made = promote(api, 1)["version"]["id"]
    text = api.ask("GET", f"/v1/versions/{made}/document").text
    assert "hello again" in text and "value: eu" in text and secret_of(api, made) == {"TOKEN": LIVE}


def test_where_nothing_differs_the_tested_version_itself_goes_live(api: Api) -> None:
    source = staged(api)
    assert promote(api, 0, keep=["TOKEN"])["version"]["id"] == source
    told = api.get(f"/v1/versions/{source}")
    assert told["promoted_from"]["same"] and sorted(told["channels"]) == ["live", "staging"]


def test_a_secret_without_a_value_refuses_and_nothing_is_kept(api: Api) -> None:
    staged(api)
    shown = api.post("/v1/workflows/greet/promotions/preview", BODY)
    assert shown["refused"] and [one["subject"] for one in shown["findings"] if one["verdict"] == "refuse"] == [
        "TOKEN"
    ]
    answer = promote(api, 0, status=409)
    assert answer["type"].endswith("not-promotable") and "live has no value for the secret TOKEN" in answer["detail"]
    assert len(api.get("/v1/workflows/greet/versions")["items"]) == 1


@pytest.mark.parametrize(
    ("body", "generation", "status"),
    [
        ({"from": "live", "to": "live"}, 0, 400),
        ({"from": "nowhere"}, 0, 404),
        ({"mapping": "tools: [1]"}, 0, 400),
        ({"environment": {"TOKEN": "in the clear"}}, 0, 409),
        ({**OVERLAY, "environment": {"OTHER": "x"}}, 0, 409),
        ({**OVERLAY, "shown": "0" * 64}, 0, 409),
        ({"secrets": {"TOKEN": 4}}, 0, 400),
    ],
)
def test_what_is_refused_moves_nothing(api: Api, body: dict[str, Any], generation: int, status: int) -> None:
    staged(api)
    answer = promote(api, generation, status=status, **body)
    assert "in the clear" not in str(answer) and LIVE not in str(answer)
    assert {one["channel"] for one in api.get("/v1/workflows/greet/moves")["items"]} == {"staging"}


def test_a_stale_caller_moves_nothing_and_leaves_no_version(api: Api) -> None:
    staged(api)
    promote(api, 0, **OVERLAY)
    staged(api, "another text")
    before = len(api.get("/v1/workflows/greet/versions")["items"])
    assert promote(api, 0, status=412)["type"].endswith("channel-moved")
    assert len(api.get("/v1/workflows/greet/versions")["items"]) == before


def test_what_was_shown_is_what_is_done(api: Api) -> None:
    staged(api)
    shown = api.post("/v1/workflows/greet/promotions/preview", {**BODY, **OVERLAY})
    staged(api, "another text")
    assert "not what was shown" in promote(api, 0, status=409, shown=shown["digest"], **OVERLAY)["detail"]
    again = api.post("/v1/workflows/greet/promotions/preview", {**BODY, **OVERLAY})
    assert promote(api, 0, shown=again["digest"], **OVERLAY)["state"] == "succeeded"


def test_a_version_that_was_changed_otherwise_is_not_said_to_be_the_tested_one(api: Api) -> None:
    """The record of one promotion laid on another content."""
    source = staged(api)
    made = promote(api, 0, **OVERLAY)["version"]["id"]
    other = api.post("/v1/workflows/greet/versions", {"document": greeting("not tested")}, status=201)["version"][
        "id"
    ]
    with api.store.read() as tx:
        (detail,) = [one for one in versions.evidence_of(tx, versions.find(tx, made)) if one["kind"] == "promotion"]

    def forge(tx: Any) -> None:
        version = versions.find(tx, other)
        versions.add_evidence(tx, ALICE, version, kind="promotion", verdict="carried", detail=detail["detail"])

    api.store.write(forge)
    told = api.get(f"/v1/versions/{other}")["promoted_from"]
    assert told["version"] == source and not told["same"] and "differs" in told["proof"]


# between two Difys


@dataclass
class Pair:
    """Workflow `mail`, whose staging runs on one Dify and whose live on another."""

    staging: FakeDify
    live: FakeDify
    tools: tuple[str, str]
    member: tuple[str, str]


def mail(tool: str, member: str) -> dict[str, Any]:
    """A graph that calls a workflow tool and asks a person."""
    recipients = {"recipients": {"items": [{"type": "member", "user_id": member}]}}
    nodes = [
        node("start", "start", variables=[]),
        node("sub", "tool", provider_type="workflow", provider_id=tool, provider_name="Sub", tool_name="sub"),
        node("ask", "human-input", delivery_methods=[{"id": "m", "type": "email", "config": recipients}]),
        node("end", "end", outputs=[]),
    ]
    ends = [one["id"] for one in nodes]
    return {"nodes": nodes, "edges": [edge(a, b) for a, b in pairwise(ends)]}


@pytest.fixture
def pair(api: Api) -> Iterator[Pair]:
    with FakeDify("1.13.0") as staging, FakeDify("1.14.2") as live:
        tools, members = [], []
        for fake in (staging, live):
            sub = fake.world.add_app("Sub")
            fake.world.somebody_publishes(sub)
            tools.append(publish_tool(fake, sub.id))
            members.append(fake.world.add_account("alice").id)

        def work(tx: Any) -> None:
            for name, fake in (("dev", staging), ("prod", live)):
                way = AdminKey(ADMIN_KEY, fake.world.workspace_id)
                servers.save(tx, ALICE, name, fake.url, way, facts={"workspace_id": fake.world.workspace_id})
            workflow = workflows.create(tx, ALICE, "mail", name="Mail", mode="workflow", target="prod")
            for channel, name, fake in (("staging", "dev", staging), ("live", "prod", live)):
                app = fake.world.add_app("Mail")
                apps.bind(tx, ALICE, workflow, channel, target=name, app=app.id, name="Mail", mode="workflow")
            value = {"app": {"name": "Mail", "mode": "workflow"}, "kind": "app", "version": "0.6.0"}
            content = {"graph": mail(tools[0], members[0]), "features": {}, "environment_variables": []}
            made = dsl.Document({**value, "workflow": {**content, "conversation_variables": []}})
            version = versions.push(tx, ALICE, workflow, made).version
            pointer = channels.get(tx, workflow, "staging")
            channels.move(tx, ALICE, workflow, pointer, version, expected=0, kind="adopt")

        api.store.write(work)
        yield Pair(staging, live, (tools[0], tools[1]), (members[0], members[1]))


def publish_tool(fake: FakeDify, app: str) -> str:
    """Make a tool of an app; gives the id of its provider."""
    from lastgood.targets.dify import connect
    from lastgood.targets.dify.wire import Call

    way = AdminKey(ADMIN_KEY, fake.world.workspace_id)
    body = {
        "workflow_app_id": app, "name": "sub", "label": "Sub", "description": "d", "parameters": [], "labels": [],
        "icon": {"content": "x", "background": "#fff"}, "privacy_policy": "",
    }  # fmt: skip
    with connect(fake.url, way) as client:
        path = "/console/api/workspaces/current/tool-provider/workflow/create"
        client.caller.ask(Call("POST", path, "make a tool", json=body, writes=True))
        (made,) = client.integration.tools()
    return made.id


def test_between_two_servers_what_both_tell_by_name_is_mapped(api: Api, pair: Pair) -> None:
    shown = api.post("/v1/workflows/mail/promotions/preview", BODY)
    assert not shown["refused"], shown["findings"]
    assert (shown["from"]["server"], shown["to"]["server"], shown["same_workspace"]) == ("dev", "prod", False)
    for here, there in (pair.tools, pair.member):
        assert any(f"{here} becomes {there} on prod" in one["sentence"] for one in shown["findings"])
        assert here in shown["mapping"] and there in shown["mapping"]


def test_the_document_that_would_be_written_has_the_ids_of_the_other_server(api: Api, pair: Pair) -> None:
    from lastgood.release.promotion import promoting

    means = api.app.state.context.means()
    ready = promoting.prepare(means, promoting.Wanted("mail", "staging", "live"))
    version = promoting.keep(means, ALICE, ready)
    with api.store.read() as tx:
        written = versions.document_of(tx, version)
    assert [one.value for one in identities(written).identities] == [pair.tools[1], pair.member[1]]
    told = api.get(f"/v1/versions/{version.id}")["promoted_from"]
    assert told["same"] and "but for 2 mapped values" in told["proof"]
    assert promoting.keep(means, ALICE, ready).id == version.id, "a second time makes a second version"


def test_from_one_dify_to_the_other(api: Api, pair: Pair) -> None:
    shown = api.post("/v1/workflows/mail/promotions/preview", BODY)
    headers = {"If-Match": f'"{shown["to"]["generation"]}"'}
    body = {**BODY, "shown": shown["digest"], "verify": False}
    done = api.post("/v1/workflows/mail/promotions", body, headers=headers)
    assert done["state"] == "succeeded" and done["move"]["kind"] == "promote"
    (app,) = [one for one in pair.live.world.apps.values() if one.name == "Mail"]
    assert app.live and app.live.graph == mail(pair.tools[1], pair.member[1])
    told = api.get(f"/v1/versions/{done['version']['id']}")
    assert told["promoted_from"]["same"] and told["channels"] == ["live"]
    (other,) = [one for one in pair.staging.world.apps.values() if one.name == "Mail"]
    assert other.live is None, "the source was touched"


def test_a_server_that_cannot_be_asked_leaves_its_ids_to_the_file(api: Api, pair: Pair) -> None:
    pair.live.faults.fail(lambda request: "tools/workflow" in request.path, 404, times=100)
    shown = api.post("/v1/workflows/mail/promotions/preview", BODY)
    (refused,) = [one for one in shown["findings"] if one["verdict"] == "refuse"]
    assert refused["sentence"].startswith("Node 'sub' (sub), provider_id: the tool") and "Sub" in refused["sentence"]
    filled = f"from: dev\nto: prod\ntools: {{{pair.tools[0]}: {pair.tools[1]}}}\n"
    shown = api.post("/v1/workflows/mail/promotions/preview", {**BODY, "mapping": filled})
    assert not shown["refused"] and any("could not be asked" in one["sentence"] for one in shown["findings"])


def exports(api: Api) -> int:
    """How often an export of `mail` was audited."""
    with api.store.read() as tx:
        rows = tx.connection.execute(tables.audit.select().where(tables.audit.c.action == "workflow:export")).all()
    return sum(row.resource == "workflow/mail" for row in rows)


def test_the_kit_of_a_channel_on_dify(api: Api, pair: Pair) -> None:
    answer = api.ask("GET", "/v1/workflows/mail/emergency-kit?channel=staging")
    assert answer.status_code == 409 and answer.json()["type"].endswith("nothing-good"), answer.text
    (version,) = api.get("/v1/workflows/mail/versions")["items"]
    before = exports(api)
    kit = api.get(f"/v1/workflows/mail/emergency-kit?channel=staging&to={version['id']}")
    assert exports(api) == before + 1
    assert kit["files"].keys() == {"README.txt", "document.yml", "kit.json", "rollback.py"}
    assert api.ask("GET", "/v1/workflows/mail/emergency-kit?channel=live").status_code == 409
