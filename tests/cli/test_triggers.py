"""The command that lists what starts a workflow."""

from pathlib import Path

import pytest

from cli.conftest import SLUG, Run
from dify_server import FakeDify
from dify_server.graphs import graph
from dify_server.world import ADMIN_KEY
from lastgood import dsl
from support.triggered import triggered


def push(lastgood: Run, folder: Path, text: str, **more: bool) -> str:
    file = folder / f"{text}.yml"
    file.write_text(dsl.to_yaml(triggered(text, **more)), encoding="utf-8")  # type: ignore[arg-type]  # its own
    version = lastgood("push", str(file), "--workflow", "hooky", "--json").json["version"]["id"]
    assert lastgood("publish", "hooky", version, "--no-verify").code == 0
    return str(version)


def test_triggers_are_listed(lastgood: Run, tmp_path: Path) -> None:
    one = push(lastgood, tmp_path, "one")
    hook, every = lastgood("triggers", "hooky").lines[1:]
    assert hook.split()[:6] == ["webhook", "hook", "live", "bound", one, "1"]
    assert "/triggers/webhook/" in hook
    assert every.split()[:4] == ["schedule", "every", "live", "bound"]
    assert "0 9 * * * UTC" in every
    push(lastgood, tmp_path, "two", hook=False)
    hook, _ = lastgood("triggers", "hooky", "--json").json
    assert (hook["state"], hook["version"]) == ("unbound", None)


def test_a_workflow_without_triggers_says_so(lastgood: Run) -> None:
    done = lastgood("triggers", SLUG)
    assert (done.code, done.out) == (0, "")
    assert "no triggers" in done.err


def test_the_triggers_of_a_dify_app_are_told_with_the_address_that_changed(
    lastgood: Run, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    with FakeDify("1.14.2") as dify:
        world = dify.world
        hooked = world.add_app("hooked", graph=graph("x", trigger="webhook"))
        timed = world.add_app("timed", graph=graph("x", trigger="schedule"))
        world.somebody_publishes(hooked)
        world.somebody_publishes(timed)
        monkeypatch.setenv("LASTGOOD_DIFY_SECRET", ADMIN_KEY)
        way = ("--admin-key", "--workspace-id", world.workspace_id)
        assert lastgood("connect", dify.url, "--name", "prod", *way).code == 0
        assert lastgood("capture", "prod").code == 0
        (version,) = (one["id"] for one in lastgood("versions", "hooked", "--json").json)

        first = hooked.webhooks["start"]["webhook_url"]
        shown = lastgood("triggers", "hooked")
        assert shown.lines[1].split()[:6] == ["webhook", "start", "live", "enabled", version, "-"]
        assert first in shown.out and len(shown.lines) == 2
        every = lastgood("triggers", "timed").lines[1]
        assert every.split()[:4] == ["schedule", "start", "live", "enabled"] and "0 3 * * * UTC" in every

        def look() -> list[dict[str, object]]:
            assert lastgood("watch", "prod", "--once").code == 0
            return list(lastgood("triggers", "hooked", "--json").json)

        second = first + "second"
        hooked.webhooks["start"]["webhook_url"] = second
        hooked.triggers[0]["status"] = "disabled"
        world.somebody_publishes(hooked)
        (hook,) = look()
        before = hook["before"]
        assert (hook["url"], hook["state"], hook["enabled"]) == (second, "disabled", False)
        assert isinstance(before, dict) and before["url"] == first
        assert f"{first} until " in lastgood("triggers", "hooked").out

        hooked.triggers[0]["status"] = "enabled"  # the address stays, and so does what was kept of the one before
        world.somebody_publishes(hooked)
        assert look()[0]["before"] == before

        world.editor_saves(hooked, graph("x"))
        world.somebody_publishes(hooked)
        (hook,) = look()
        assert (hook["state"], hook["url"], hook["version"]) == ("gone", None, None)
        assert "It has none now." in lastgood("triggers", "hooked").out

        world.editor_saves(hooked, graph("x", trigger="webhook"))
        world.somebody_publishes(hooked)
        (hook,) = look()
        third, before = hooked.webhooks["start"]["webhook_url"], hook["before"]
        assert (hook["url"], hook["state"]) == (third, "enabled") and third != second
        assert isinstance(before, dict) and before["url"] == second
        stored = b"".join(file.read_bytes() for file in home.glob("lastgood.db*"))
        assert not any(url.encode() in stored for url in (first, second, third))
        assert lastgood("changes", "--json").out.count("trigger:read") >= 4
