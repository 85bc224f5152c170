"""Dify servers from the command line: connect, capture, watch, drafts; killed in the middle, and beside a server."""

import io
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, func, select, text

from cli.conftest import SCRIPTS, Run, environment
from dify_server import FakeDify
from dify_server.graphs import graph
from dify_server.world import ADMIN_KEY, EMAIL, PASSWORD
from lastgood.db import tables as t
from support import commands

APPS = 6  # of the capture that is killed


@pytest.fixture
def dify() -> Iterator[FakeDify]:
    with FakeDify("1.13.0") as fake:
        yield fake


@pytest.fixture
def connected(dify: FakeDify, lastgood: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`lastgood`, with the stand-in connected as prod."""
    monkeypatch.setenv("LASTGOOD_DIFY_SECRET", ADMIN_KEY)
    done = lastgood("connect", dify.url, "--name", "prod", "--admin-key", "--workspace-id", dify.world.workspace_id)
    assert done.code == 0, done.err
    monkeypatch.delenv("LASTGOOD_DIFY_SECRET")
    return lastgood


def published(dify: FakeDify, name: str, times: int = 2) -> Any:
    app = dify.world.add_app(name)
    for number in range(times):
        dify.world.editor_saves(app, graph(f"name_{number}"))
        dify.world.somebody_publishes(app, f"v{number}")
    return app


def test_connecting_tells_what_the_server_can_do(
    dify: FakeDify, lastgood: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(dify, "Invoice")
    monkeypatch.setenv("LASTGOOD_DIFY_SECRET", PASSWORD)
    done = lastgood("connect", dify.url, "--name", "prod", "--email", EMAIL)
    assert done.code == 0, done.err
    assert done.lines[0] == f"prod is connected: Dify 1.13.0 at {dify.url}"
    assert any(line.startswith("restore a version by itself") and " no " in line for line in done.lines)
    assert any(line.startswith("export secrets") and " yes " in line for line in done.lines)
    assert "lastgood capture prod" in done.err
    listed = lastgood("servers")
    assert f"prod    {dify.url}" in listed.out and "password" in listed.out
    shown = lastgood("servers", "--json")
    assert PASSWORD not in done.out + done.err + listed.out + shown.out + repr(shown.json)
    assert PASSWORD.encode() not in b"".join(file.read_bytes() for file in home.glob("lastgood.db*"))


@pytest.mark.parametrize(
    ("args", "secret", "said"),
    [
        (("--email", EMAIL), "wrong password 1", "does not take the email and password"),
        (("--admin-key", "--workspace-id", "w"), "wrong-key", "does not take the admin key"),
        (("--admin-key",), "k", "--admin-key needs --workspace-id"),
        (("--admin-key", "--bearer"), "k", "choose one of"),
    ],
)
def test_a_way_in_that_fails_keeps_nothing(
    dify: FakeDify, lastgood: Run, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], secret: str, said: str
) -> None:
    monkeypatch.setenv("LASTGOOD_DIFY_SECRET", secret)
    done = lastgood("connect", dify.url, "--name", "prod", *args)
    assert done.code != 0 and said in done.err and secret not in done.err.split()
    assert lastgood("servers").out == ""


def test_the_secret_may_come_through_a_pipe(dify: FakeDify, lastgood: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
    done = lastgood("connect", dify.url, "--name", "prod", "--email", EMAIL, "--json")
    assert done.code == 0, done.err
    assert PASSWORD not in done.out + done.err


def test_capture_and_what_there_is_to_see_then(connected: Run, dify: FakeDify) -> None:
    app = published(dify, "Big invoice")
    published(dify, "发票")
    done = connected("capture", "prod")
    assert done.code == 0, done.err
    assert done.out == "prod is captured: 2 apps, 4 versions new, 2 draft states kept\n"
    assert connected("capture", "prod").out == "prod is captured: 0 apps, 0 versions new, 2 apps unchanged\n"
    listed = connected("versions", "big-invoice")
    assert "v1" in listed.out and "Owner" in listed.out and "active" in listed.out
    dify.world.editor_saves(app, graph("other"))
    done = connected("watch", "prod", "--once")
    assert done.code == 0 and done.out == "2 apps: 1 drafts kept\n"
    states = connected("drafts", "big-invoice", "--json").json
    assert [one["why"] for one in states] == ["seen", "seen"]
    assert "other" in connected("draft", "show", states[0]["id"]).out
    told = connected("draft", "diff", states[0]["id"])
    assert told.code == 0 and "name_1" in told.out and "other" in told.out
    assert connected("draft", "show", "dr-none").code == 1


def test_one_app_and_names_that_are_none(connected: Run, dify: FakeDify) -> None:
    published(dify, "a")
    published(dify, "b")
    published(dify, "b")
    assert connected("capture", "prod", "--app", "a").out.startswith("prod is captured: 1 app, 2 versions new")
    for name, said in (
        ("b", "2 apps of prod that have versions are called 'b'; give its id"),
        ("c", "0 apps of prod"),
    ):
        done = connected("capture", "prod", "--app", name)
        assert done.code == 1 and said in done.err
    assert "There is no Dify server nowhere" in connected("capture", "nowhere").err


def test_binding_and_the_way(connected: Run, dify: FakeDify) -> None:
    app = published(dify, "Staging")
    done = connected("bind", "shop", "--on", "prod", "--app", "Staging", "--channel", "staging")
    assert done.out == "staging of shop is what 'Staging' on prod runs; it is moved by publish\n", done.err
    done = connected("bind", "shop", "--channel", "staging", "--way", "route")
    assert done.out.endswith("it is moved by route\n")
    assert connected("bind", "other", "--on", "prod", "--app", app.id).code == 1  # it runs a channel already
    assert connected("bind", "shop", "--way", "route").code == 1  # no app on live
    assert connected("bind", "shop", "--channel", "staging", "--way", "sideways").code != 0
    assert connected("capture", "prod").code == 0
    assert "staging" in connected("versions", "shop", "--json").json[0]["channels"]


def test_an_app_that_was_captured_first_is_moved_with_its_history(connected: Run, dify: FakeDify) -> None:
    published(dify, "Invoice")
    other = published(dify, "Staging", 3)
    assert connected("capture", "prod").code == 0
    bind = ("bind", "invoice", "--on", "prod", "--app", "Staging", "--channel", "staging")
    refused = connected(*bind)
    assert refused.code == 1 and f"--app {other.id} --channel CHANNEL --move" in refused.err
    done = connected(*bind, "--move", "--way", "route")
    assert done.code == 0, done.err
    assert done.lines == [
        "staging of invoice is what 'Staging' on prod runs; it is moved by route",
        "it came from staging with 3 versions (1 new here)",
    ]
    held = connected("versions", "invoice", "--json").json
    assert [one["channels"] for one in held] == [["staging"], ["live"], []]
    assert connected("capture", "prod", "--all").code == 0
    assert len(connected("versions", "invoice", "--json").json) == 3


def test_a_capture_that_is_killed_goes_on_where_it_stopped(connected: Run, dify: FakeDify, home: Path) -> None:
    """Killed at several places; in the end each version is there once, and little was asked twice."""
    several = [published(dify, f"app {number}", 3) for number in range(APPS)]
    dify.faults.slow("", 0.01)
    kept = []
    for begun in (1, 3):
        dify.requests.clear()
        with Path(os.devnull).open("r+") as none:
            nothing = (none.fileno(),) * 3
            process = commands.start(["lastgood", "capture", "prod"], environment(home), nothing)
        while len([one for one in dify.requests if one.path.endswith("/workflows")]) < begun:
            assert process.exitcode is None
            time.sleep(0.005)
        process.kill()
        process.join()
        kept.append(count(home))
    dify.faults.clear()
    dify.requests.clear()
    done = connected("capture", "prod")
    assert done.code == 0, done.err
    assert count(home) == (APPS * 3, APPS * 3)
    assert kept[-1][0] < APPS * 3, "it was killed too late, so this shows nothing"
    asked = [one.path for one in dify.requests if one.path.endswith("/workflows")]
    assert len(asked) == len(set(asked)) <= APPS
    assert connected("capture", "prod", "--all").out.startswith(f"prod is captured: {APPS} apps, 0 versions new")
    assert {
        row["generation"] for row in connected("status", "--json").json["workflows"] if "app-" in row["slug"]
    } == {1}
    assert connected("fsck").code == 0
    assert len(several) == APPS


def count(home: Path) -> tuple[int, int]:
    """How many versions and placements there are that came from the server."""
    engine = create_engine(f"sqlite:///{home / 'lastgood.db'}")
    with engine.connect() as connection:
        connection.execute(text("PRAGMA busy_timeout=5000"))
        versions = select(func.count()).select_from(t.version).where(t.version.c.origin == "capture")
        placed = select(func.count()).select_from(t.placement)
        found = connection.execute(versions).scalar_one(), connection.execute(placed).scalar_one()
    engine.dispose()
    return found


def test_a_running_server_watches_by_itself_and_outlives_a_dead_dify(
    connected: Run, dify: FakeDify, home: Path, tmp_path: Path
) -> None:
    app = published(dify, "watched")
    log = tmp_path / "log"
    command = [str(SCRIPTS / "lastgood"), "serve", "--api-port", "0", "--gateway-port", "0"]
    more = {"LASTGOOD_WATCH_SECONDS": "0.2", "LASTGOOD_ENGINE_WORKERS": "0"}  # every version runs on Dify
    with log.open("w") as out:
        process = subprocess.Popen(command, env=environment(home, **more), stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for(process, lambda: "Ctrl-C ends it." in log.read_text())
        # Until a person has captured the server, its apps can still be bound to channels: nothing is taken up.
        wait_for(process, lambda: "left alone" in connected("servers", "--json").json[0]["watch"]["found"])
        assert count(home) == (0, 0)
        assert connected("capture", "prod").code == 0
        assert count(home) == (2, 2)
        dify.world.somebody_publishes(app)
        wait_for(process, lambda: count(home) == (2, 3))
        published(dify, "came later")
        wait_for(process, lambda: count(home)[1] == 5)
        dify.faults.drop("", times=10**6, took_effect=False)
        wait_for(process, lambda: "the watch of prod fails" in log.read_text())
        told = connected("servers", "--json").json[0]["watch"]
        assert told["failing_since"] and "does not answer" in told["problem"]
        dify.faults.clear()
        wait_for(process, lambda: "the watch of prod goes on" in log.read_text())
        assert log.read_text().count("the watch of prod fails") == 1
        assert connected("capture", "prod").code == 0
        process.send_signal(signal.SIGINT)
        assert process.wait(40) in (0, 130)
    finally:
        process.kill()
        process.wait()


def wait_for(process: subprocess.Popen[bytes], true: Any) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)
