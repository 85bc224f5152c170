"""What the stand-in does that no recording shows in one exchange: slots that fill, runs that are under way."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from dify_server import FakeDify, Timing
from dify_server.graphs import calling, chat, failing, graph, slow
from dify_server.rows import HIDDEN, MASK, FakeApp

from .asking import NEWER, Client, live, until


def environment(app: FakeApp) -> Any:
    assert app.draft is not None
    return app.draft.environment_variables


def test_the_answer_tells_which_version_ran(dify: FakeDify) -> None:
    app = live(dify)
    first = app.versions[0]
    dify.world.editor_saves(app, graph("renamed"))
    second = dify.world.somebody_publishes(app, "v2")
    client = Client(dify, app)
    assert (client.run()["workflow_id"], client.run()["outputs"]) == (second.id, {"renamed": "bob"})
    assert client.post(f"/v1/workflows/{first.id}/run").json()["data"]["outputs"] == {"name": "bob"}
    assert client.run(workflow_id=first.id)["workflow_id"] == second.id  # it is ignored there
    dify.world.point(app, first)  # as an UPDATE in Dify's database would
    assert client.run()["workflow_id"] == first.id


def test_a_node_that_fails_is_no_error_of_http(dify: FakeDify) -> None:
    client = Client(dify, live(dify, failing()))
    answer = client.post("/v1/workflows/run")
    assert answer.status_code == 200
    assert (answer.json()["data"]["status"], answer.json()["data"]["outputs"]) == ("failed", {})
    said = list(client.events("/v1/workflows/run"))
    assert said[-1]["data"]["status"] == "failed"


def test_a_stream_says_what_happens_in_order(dify: FakeDify) -> None:
    said = list(Client(dify, live(dify)).events("/v1/workflows/run"))
    names = [one if isinstance(one, str) else one["event"] for one in said]
    assert names == [
        "ping", "workflow_started", "node_started", "text_chunk", "node_finished", "node_started", "node_finished",
        "workflow_finished",
    ]  # fmt: skip
    assert len({one["task_id"] for one in said[1:]}) == 1


def test_a_slow_node_is_bridged_by_pings(older: FakeDify) -> None:
    older.world.timing = Timing(nap=1.0, ping=0.05, linger=0.0)
    said = list(Client(older, live(older, slow(0.22))).events("/v1/workflows/run"))
    names = [one if isinstance(one, str) else one["event"] for one in said]
    quiet = names[names.index("text_chunk") : names.index("workflow_finished")]
    assert quiet.count("ping") == 4


@pytest.mark.parametrize("version", NEWER)
def test_a_missing_input_is_refused_or_hangs(version: str) -> None:
    with FakeDify(version) as dify:
        client = Client(dify, live(dify))
        refused = client.post("/v1/workflows/run", inputs={})
        assert (refused.status_code, refused.json()["message"]) == (400, "name is required in input form")
        said: list[Any] = []
        with ThreadPoolExecutor() as pool:
            listening = pool.submit(lambda: said.extend(client.events("/v1/workflows/run", inputs={})))
            until(lambda: dify.busy == 1)
            with pytest.raises(TimeoutError):
                listening.result(timeout=0.2)  # it stays open
            dify.unhang()
            listening.result()
        told = [one if isinstance(one, str) else one["event"] for one in said]
        assert told == (["ping", "error"] if NEWER[version] else ["ping"])


@pytest.mark.parametrize("version", NEWER)
def test_calls_that_hang_fill_the_slots_after_their_clients_left(version: str) -> None:
    with FakeDify(version, slots=10) as dify:
        app = live(dify)
        client = Client(dify, app)
        for _ in range(10):
            said = client.events("/v1/workflows/run", inputs={})
            assert next(said) == "ping"
            said.close()  # type: ignore[attr-defined]  # a generator: its client leaves
        until(lambda: dify.busy == 10)
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{dify.url}/health", timeout=0.3, trust_env=False)
        dify.unhang()
        assert httpx.get(f"{dify.url}/health", timeout=10, trust_env=False).status_code == 200
        assert dify.most_busy == 10


def test_a_stream_holds_its_slot_after_its_last_event(older: FakeDify) -> None:
    older.world.timing = Timing(linger=30.0)
    client = Client(older, live(older))
    said = client.events("/v1/workflows/run")
    while (one := next(said)) == "ping" or one["event"] != "workflow_finished":
        pass
    said.close()  # type: ignore[attr-defined]  # a generator
    assert older.busy == 1


@pytest.mark.parametrize("version", NEWER)
def test_a_blocking_message_hangs_on_the_older_server_alone(version: str) -> None:
    with FakeDify(version) as dify:
        client = Client(dify, live(dify, chat("A {{#sys.query#}}"), "advanced-chat"))
        if NEWER[version]:
            assert client.post("/v1/chat-messages", query="q").json()["answer"] == "A q"
            return
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(client.post, "/v1/chat-messages", query="q")
            until(lambda: dify.busy == 1)
            dify.unhang()
            assert asked.result().text == "event: ping\n\n"


def test_a_conversation_is_not_pinned_and_remembers(dify: FakeDify) -> None:
    world, a = dify.world, {"id": "1", "name": "a", "value_type": "string", "value": "a-0"}
    app = world.add_app("talk", mode="advanced-chat", graph=chat("1 {{#conversation.a#}}", remember="a"))
    world.editor_saves(app, conversation=[a])
    first = world.somebody_publishes(app)
    client = Client(dify, app)

    def say(query: str, **more: Any) -> tuple[str, str]:
        said = [one for one in client.events("/v1/chat-messages", query=query, **more) if one != "ping"]
        text = "".join(one["answer"] for one in said if one["event"] == "message")
        assert said[-1]["event"] == "message_end"
        return said[0]["conversation_id"], text

    talk, text = say("q1")
    assert text == "1 q1"
    world.editor_saves(app, chat("2 {{#conversation.a#}} {{#conversation.b#}}"))
    world.editor_saves(app, conversation=[a, {**a, "id": "2", "name": "b", "value": "b-0"}])
    world.somebody_publishes(app)
    assert say("q2", conversation_id=talk) == (talk, "2 q1 b-0")
    assert say("q3", conversation_id=talk, workflow_id=first.id) == (talk, "1 q3")
    headers = {"Authorization": f"Bearer {client.key}"}
    known = client.http.get(f"/v1/conversations/{talk}/variables?user=u", headers=headers).json()["data"]
    assert {one["name"]: one["value"] for one in known} == {"a": "q3", "b": "b-0"}


def test_a_run_that_is_stopped(older: FakeDify) -> None:
    older.world.timing = Timing(nap=30.0, linger=0.0)
    client = Client(older, live(older, slow(1)))
    said = []
    for one in client.events("/v1/workflows/run"):
        said.append(one)
        if one != "ping" and one["event"] == "node_started" and one["data"]["node_id"] == "http":
            answer = Client(older).http.post(
                f"/v1/workflows/tasks/{one['task_id']}/stop", json={"user": "u"},
                headers={"Authorization": f"Bearer {client.key}"},
            )  # fmt: skip
            assert answer.json() == {"result": "success"}
    assert said[-1]["data"]["status"] == "stopped"
    assert said[-1]["data"]["total_steps"] == 2


def test_a_run_ends_on_the_version_it_began_with(dify: FakeDify) -> None:
    dify.world.timing = Timing(nap=0.3)
    app = live(dify, slow(1, "old"))
    old, client = app.versions[0], Client(dify, app)
    with ThreadPoolExecutor() as pool:
        under_way = pool.submit(client.run)
        until(lambda: len(dify.world.going) == 1)
        dify.world.editor_saves(app, graph("new"))
        dify.world.somebody_publishes(app)
        dify.world.somebody_deletes(app, old)
        assert client.run()["outputs"] == {"new": "bob"}
        assert (under_way.result()["workflow_id"], under_way.result()["outputs"]) == (old.id, {"old": "bob"})


def test_more_runs_at_once_than_an_app_may(dify: FakeDify) -> None:
    dify.world.timing = Timing(nap=30.0)
    app = live(dify, slow(1))
    app.max_active_requests, client = 2, Client(dify, app)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(client.post, "/v1/workflows/run") for _ in range(3)]  # the limit lets one in too many
        until(lambda: app.active == 3 and len(dify.world.going) == 3)
        refused = client.post("/v1/workflows/run")
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_param")
        for one in list(dify.world.going.values()):
            one.stopped = True
        assert [one.result().json()["data"]["status"] for one in asked] == ["stopped"] * 3
    dify.world.timing = Timing()
    assert client.post("/v1/workflows/run").status_code == 200


SECRETS = [
    # what is sent, with the id that is known, and what each server keeps of it
    (HIDDEN, True, "old", "old"),
    (MASK, True, MASK, "old"),
    ("*" * 19, True, "*" * 19, "*" * 19),
    (HIDDEN, False, HIDDEN, HIDDEN),
    (MASK, False, MASK, HIDDEN),
    ("", True, "", ""),
    ("new", True, "new", "new"),
]


@pytest.mark.parametrize(("sent", "known", "older", "newer"), SECRETS)
@pytest.mark.parametrize("version", NEWER)
def test_what_is_kept_of_a_secret(version: str, sent: str, known: bool, older: str, newer: str) -> None:
    with FakeDify(version) as dify:
        app, secret = dify.world.add_app("a"), {"id": str(uuid4()), "name": "K", "value_type": "secret"}
        dify.world.editor_saves(app, environment=[{**secret, "value": "old"}])
        client = Client(dify, app)
        draft = client.console("GET", "/workflows/draft").json()
        assert draft["environment_variables"][0]["value"] == MASK
        again = {**secret, "value": sent, **({} if known else {"id": str(uuid4())})}
        body = {"graph": draft["graph"], "features": draft["features"], "hash": draft["hash"]}
        answer = client.console("POST", "/workflows/draft", {**body, "environment_variables": [again]})
        assert answer.status_code == 200
        assert environment(app)[0]["value"] == (newer if NEWER[version] else older)
        assert client.console("POST", "/workflows/draft", body).status_code == 200
        assert environment(app) == []  # left out is emptied
        assert client.console("POST", "/workflows/draft", {**body, "environment_variables": None}).status_code == 400


@pytest.mark.parametrize("version", NEWER)
def test_what_the_hash_of_a_draft_sees(version: str) -> None:
    with FakeDify(version) as dify:
        app = dify.world.add_app("a")
        one = dify.world.hash(dify.world.editor_saves(app))
        variables = [{"id": "1", "name": "T", "value": "t", "value_type": "string"}]
        assert dify.world.hash(dify.world.editor_saves(app, environment=variables)) == one
        features = dify.world.hash(dify.world.editor_saves(app, features={"opening_statement": "hi"}))
        assert (features == one) is NEWER[version]
        assert dify.world.hash(dify.world.editor_saves(app, graph("x"))) not in (one, features)


@pytest.mark.parametrize("version", NEWER)
def test_when_a_webhook_loses_its_url(version: str) -> None:
    with FakeDify(version) as dify:
        world, app = dify.world, live(dify, graph("one", trigger="webhook"))
        client, url = Client(dify), app.webhooks["start"]["webhook_url"]
        assert client.http.post(url, json={}).json() == {"tag": "one"}
        world.editor_saves(app, graph("two"))
        assert client.http.post(url, json={}).status_code == (200 if NEWER[version] else 404)
        world.editor_saves(app, graph("one", trigger="webhook"))
        assert (app.webhooks["start"]["webhook_url"] == url) is NEWER[version]
        world.editor_saves(app, graph("two"))
        world.somebody_publishes(app)
        assert app.triggers == []
        world.editor_saves(app, graph("one", trigger="webhook"))
        world.somebody_publishes(app)
        assert app.webhooks["start"]["webhook_url"] != url
        assert client.http.post(url, json={}).status_code == 404
        app.triggers[0]["status"] = "disabled"
        world.somebody_publishes(app)
        assert app.triggers[0]["status"] == "disabled"


def test_webhooks_run_the_newest_version_wherever_the_pointer_stands(dify: FakeDify) -> None:
    app = live(dify, graph("one", trigger="webhook"))
    old = app.versions[0]
    dify.world.editor_saves(app, graph("two", trigger="webhook"))
    newest = dify.world.somebody_publishes(app)
    dify.world.point(app, old)
    Client(dify).http.post(app.webhooks["start"]["webhook_url"], json={})
    assert app.runs[0]["version"] == newest.version


def test_the_log_tells_what_ran_and_what_started_it(dify: FakeDify) -> None:
    app = live(dify)
    client, row = Client(dify, app), app.versions[0]
    client.run()
    code = {"X-App-Code": app.site["code"]}
    sent = {"inputs": {"name": "n"}, "response_mode": "streaming"}
    client.http.post("/api/workflows/run", json=sent, headers=code)
    client.console("POST", "/workflows/draft/run", {"inputs": {"name": "n"}})
    listed = client.console("GET", "/workflow-app-logs?page=1&limit=5").json()
    told = [(one["created_from"], one["workflow_run"]["triggered_from"]) for one in listed["data"]]
    assert told == [("web-app", "app-run"), ("service-api", "app-run")]
    assert {one["workflow_run"]["version"] for one in listed["data"]} == {row.version}
    tried = client.console("GET", "/workflow-runs?limit=5").json()["data"]
    assert [one["version"] for one in tried] == ["draft"]
    assert client.console("GET", "/workflow-app-logs?page=1&limit=5&status=failed").json()["total"] == 0
    dify.world.pass_time(3600)
    client.run()
    for name, total in (("after", 1), ("before", 2)):
        path = f"/workflow-app-logs?page=1&limit=5&created_at__{name}=2026-11-23T17:30:00Z"
        assert client.console("GET", path).json()["total"] == total


def test_another_workspace_sees_nothing(dify: FakeDify) -> None:
    people, app = dify.world.people, live(dify)
    other = people.add_workspace("Other")
    people.add("other", "other@example.com", other)
    client = Client(dify, app)
    for path in ("", "/workflows/draft", "/workflows?page=1&limit=1", "/workflows/publish", "/api-keys", "/triggers"):
        assert client.console("GET", path, workspace=other).status_code == 404
    assert client.console("GET", "/console/api/apps", workspace=other).json()["total"] == 0


def test_a_thousand_apps_in_pages(dify: FakeDify) -> None:
    for number in range(1000):
        dify.world.add_app(f"app {number}")
    client, seen, number = Client(dify), [], 1
    while True:
        page = client.console("GET", f"/console/api/apps?page={number}&limit=100").json()
        seen += [one["id"] for one in page["data"]]
        number += 1
        if not page["has_more"]:
            break
    assert (len(seen), len(set(seen)), number) == (1000, 1000, 11)
    assert page["total"] == 1000


def test_an_http_node_answers_what_it_was_asked(dify: FakeDify) -> None:
    app = dify.world.add_app("a", graph=calling("http://echo/echo?who={{#start.name#}}&key={{#env.K#}}"))
    dify.world.editor_saves(app, environment=[{"id": "1", "name": "K", "value": "s", "value_type": "secret"}])
    dify.world.somebody_publishes(app)
    told = json.loads(Client(dify, app).run()["outputs"]["result"])
    assert told["query"] == {"who": ["bob"], "key": ["s"]}


def test_as_a_process() -> None:
    command = [sys.executable, "-m", "dify_server", "--version", "1.14.2", "--port", "0", "--latency-ms", "1"]
    folder = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline() for _ in range(4)]
            url, key = lines[0].split()[0], lines[2].split()[-1]
            head = {"Authorization": f"Bearer {key}"}
            sent = {"inputs": {"name": "bob"}, "user": "u"}
            answer = httpx.post(f"{url}/v1/workflows/run", json=sent, headers=head, trust_env=False)
            assert answer.json()["data"]["outputs"] == {"name_0": "bob"}
        finally:
            process.terminate()
