"""A promotion between two Dify servers from the command line, with secrets, variables, tools and knowledge bases."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from cli.conftest import Run
from dify_server import Answer, FakeDify
from dify_server.graphs import edge, node
from dify_server.rows import HIDDEN, MASK, FakeApp, Row
from dify_server.world import ADMIN_KEY
from lastgood import dsl
from lastgood.dsl import datasets
from lastgood.targets.dify.wire import Wire

NAMES = {"dev": ("Prices", "Old prices"), "prod": ("Prices", "Price list 2")}


def id_of(*parts: str) -> str:
    return str(uuid5(NAMESPACE_URL, "/".join(parts)))


@dataclass
class Side:
    """A Dify with the app `Mail`, a workflow tool `Sub`, and two knowledge bases; `kept` is the draft as it was."""

    name: str
    dify: FakeDify
    app: FakeApp = field(init=False)
    tool: str = ""
    kept: Any = None

    @property
    def bases(self) -> tuple[str, str]:
        one, other = (id_of(self.name, name) for name in NAMES[self.name])
        return one, other

    def graph(self, output: str) -> dict[str, Any]:
        """What uses the tool and the knowledge bases of this side."""
        nodes = [
            node("start", "start", variables=[]),
            node(
                "look", "knowledge-retrieval", dataset_ids=list(self.bases), query_variable_selector=["sys", "query"]
            ),
            node(
                "sub", "tool", provider_type="workflow", provider_id=self.tool, provider_name="Sub", tool_name="sub"
            ),
            node("end", "end", outputs=[{"variable": output, "value_selector": ["env", "REGION"]}]),
        ]
        return {"nodes": nodes, "edges": [edge(a, b) for a, b in pairwise(one["id"] for one in nodes)]}

    def variables(self, *more: tuple[str, str, Any], **values: Any) -> list[dict[str, Any]]:
        """Its environment: a secret, a text and a number, each under an id of its own."""
        given = {"TOKEN": f"the {self.name} token", "REGION": self.name, "LIMIT": 10, **values}
        kinds = {"TOKEN": "secret", "REGION": "string", "LIMIT": "number"}
        all = [*((name, kinds[name], value) for name, value in given.items()), *more]
        return [
            {"id": id_of(self.name, name), "name": name, "value_type": kind, "value": value, "description": ""}
            for name, kind, value in all
        ]

    def publish(self, output: str, variables: list[dict[str, Any]]) -> None:
        self.dify.world.editor_saves(self.app, self.graph(output), environment=variables)
        self.dify.world.somebody_publishes(self.app)

    def knowledge(self, request: Any) -> Answer | None:
        """The list of knowledge bases, as Dify's own pages ask for it."""
        if getattr(request, "path", "") != "/console/api/datasets":
            return None
        data = [{"id": id, "name": name} for id, name in zip(self.bases, NAMES[self.name], strict=True)]
        return Answer(200, {"data": data, "has_more": False, "page": 1, "limit": 100, "total": len(data)})


def values(row: Row | None) -> dict[str, Any]:
    assert row is not None
    return {one["name"]: one["value"] for one in row.environment_variables}


def whole(row: Row | None) -> Any:
    assert row is not None
    return deepcopy((row.graph, row.features, row.environment_variables, row.conversation_variables))


@pytest.fixture(params=[("1.13.0", "1.14.2"), ("1.14.2", "1.13.0")], ids=["to a newer", "to an older"])
def sides(
    request: pytest.FixtureRequest, lastgood: Run, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Side, Side]]:
    """Staging on one Dify, live on another, both captured into `mail`; live's draft holds work."""
    from server.test_promotion import publish_tool

    with FakeDify(request.param[0]) as first, FakeDify(request.param[1]) as second:
        found = Side("dev", first), Side("prod", second)
        monkeypatch.setenv("LASTGOOD_DIFY_SECRET", ADMIN_KEY)
        monkeypatch.setattr(Wire, "_wait_turn", lambda wire: None)  # the stand-in needs no rest between calls
        for side, channel in zip(found, ("staging", "live"), strict=True):
            sub = side.dify.world.add_app("Sub")
            side.dify.world.somebody_publishes(sub)
            side.tool = publish_tool(side.dify, sub.id)
            side.app = side.dify.world.add_app("Mail")
            side.publish("old", side.variables())
            side.dify.hook = side.knowledge
            space = side.dify.world.workspace_id
            done = lastgood("connect", side.dify.url, "--name", side.name, "--admin-key", "--workspace-id", space)
            assert done.code == 0, done.err
            assert lastgood("bind", "mail", "--on", side.name, "--app", "Mail", "--channel", channel).code == 0
        dev, prod = found
        dev.publish("new", dev.variables(("EXTRA", "secret", "the dev extra")))
        prod.dify.world.editor_saves(prod.app, prod.graph("work"), environment=prod.variables(TOKEN="a token tried"))
        prod.kept = whole(prod.app.draft)
        for side in found:
            done = lastgood("capture", side.name)
            assert done.code == 0, done.err
        yield found


def test_from_one_dify_to_another_with_secrets(lastgood: Run, sides: tuple[Side, Side], tmp_path: Path) -> None:
    dev, prod = sides
    source = whole(dev.app.live)
    tested = next(one["id"] for one in lastgood("versions", "mail", "--json").json if "staging" in one["channels"])
    before = len(prod.app.versions)
    refused = lastgood("promote", "mail", "--yes")
    assert refused.code == 1
    assert f"the knowledge base {dev.bases[1]} (Old prices) is not mapped" in refused.err
    assert "live has no value for the secret EXTRA" in refused.err
    assert len(prod.app.versions) == before and whole(prod.app.draft) == prod.kept

    file, overlay = tmp_path / "m.yaml", tmp_path / "live.yaml"
    assert lastgood("promote", "mail", "--write-mapping", file).code == 0
    drafted = dsl.yamltext.load_yaml(file.read_text(), "m", dsl.limits.Limits())
    assert {here: one["to"] for here, one in drafted["knowledge_bases"].items()} == {
        dev.bases[0]: prod.bases[0], dev.bases[1]: "",
    }  # fmt: skip
    assert drafted["tools"][dev.tool]["to"] == prod.tool
    # As somebody may copy it from an export of the other workspace.
    there = datasets.encrypted(prod.bases[1], prod.dify.world.workspace_id)
    drafted["knowledge_bases"][dev.bases[1]]["to"] = there
    file.write_text(dsl.export.write_yaml(drafted))
    overlay.write_text("environment:\n  REGION: eu\n  EXTRA: file:extra.txt\n")
    (tmp_path / "extra.txt").write_text("the prod extra\n")
    args = ("promote", "mail", "--mapping", file, "--overlay", overlay, "--yes", "--no-verify", "--reason", "tested")
    done = lastgood(*args)
    assert done.code == 0, done.err + done.out
    live = prod.app.live
    assert live is not None and live.graph == prod.graph("new")
    assert values(live) == {"TOKEN": "the prod token", "REGION": "eu", "LIMIT": 10, "EXTRA": "the prod extra"}
    ids = {one["name"]: one["id"] for one in live.environment_variables}
    assert all(ids[name] == id_of("prod", name) for name in ("TOKEN", "REGION", "LIMIT"))
    assert whole(prod.app.draft) == prod.kept and whole(dev.app.live) == source
    stored = [one["value"] for side in sides for row in side.app.rows for one in row.environment_variables]
    assert not {MASK, HIDDEN, ""} & set(stored)

    made = next(one["id"] for one in lastgood("versions", "mail", "--json").json if "live" in one["channels"])
    shown = lastgood("show", made)
    assert f"promoted from  {tested} in staging (dev)" in shown.out
    assert f"It is what {tested} is, but for 3 mapped values, 2 variables, 2 secrets" in shown.out
    digest = lastgood("show", tested, "--json").json["digest"]
    assert lastgood("show", made, "--json").json["promoted_from"]["digest"] == digest
    told = shown.out + shown.err + done.out + done.err + refused.err
    assert not any(secret in told for secret in stored if isinstance(secret, str) and " token" in secret)
    stood = [one for one in lastgood("status", "--json").json["workflows"] if one["slug"] == "mail"]
    assert {one["channel"]: (one["version"], one["app"]["state"]) for one in stood} == {
        "staging": (tested, "in step"), "live": (made, "in step"),
    }  # fmt: skip

    # The next one needs no overlay: the target keeps what it has, the mapping is the same.
    dev.publish("newer", dev.variables(("EXTRA", "secret", "another dev extra"), TOKEN="another dev token"))
    assert lastgood("capture", "dev").code == 0 and lastgood("adopt", "mail", "--channel", "staging").code == 0
    done = lastgood("promote", "mail", "--mapping", file, "--yes", "--no-verify")
    assert done.code == 0, done.err
    assert prod.app.live is not None and prod.app.live.graph == prod.graph("newer")
    assert values(prod.app.live) == values(live) and whole(prod.app.draft) == prod.kept
    back = lastgood("rollback", "mail", "--to", made, "--no-verify", "--reason", "worse", "--yes")
    assert back.code == 0, back.err
    assert whole(prod.app.live) == whole(live)
