"""The command line beside a running server, and as a client from elsewhere."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.conftest import LIVE, NEW, OLD, SCRIPTS, SLUG, Done, Run, environment, written
from lastgood.cli import main
from lastgood.cli.client import server_notice


@dataclass(frozen=True)
class Server:
    """A running `lastgood serve`, what it announced, and its notice."""

    home: Path
    said: str
    notice: dict[str, Any]


@pytest.fixture(scope="module")
def server(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`lastgood serve` on a copy of the history, for all tests here."""
    pytest.importorskip("graphon")
    home = tmp_path_factory.mktemp("server") / "home"
    shutil.copytree(history, home)
    log = (home.parent / "log").open("w+")
    command = [str(SCRIPTS / "lastgood"), "serve", "--api-port", "0", "--gateway-port", "0"]
    process = subprocess.Popen(command, env=environment(home), stdout=log, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 60
        while "Ctrl-C ends it." not in (home.parent / "log").read_text():
            assert time.monotonic() < until and process.poll() is None, (home.parent / "log").read_text()
            time.sleep(0.1)
        notice = server_notice(home)
        assert notice is not None
        yield Server(home, (home.parent / "log").read_text(), notice)
        process.send_signal(signal.SIGINT)
        assert process.wait(40) in (0, 130)
        assert server_notice(home) is None
    finally:
        process.kill()
        process.wait()
        log.close()


@pytest.fixture
def beside(server: Server, monkeypatch: pytest.MonkeyPatch, lastgood: Run) -> Run:
    """`lastgood` on the server's machine."""
    monkeypatch.setenv("LASTGOOD_HOME", str(server.home))

    # Were the local store opened, the server would not be asked.
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("lastgood.cli.local.local_app", never)
    return lastgood


def test_commands_find_the_server_that_runs_here(beside: Run, server: Server) -> None:
    found = beside("status", "--json").json
    assert found["server"]["pid"] == server.notice["pid"]
    assert oct((server.home / "server.json").stat().st_mode)[-3:] == "600"
    assert {one["version"] for one in found["workflows"] if one["slug"] == SLUG} == {LIVE}


def test_run_goes_through_the_gateway(beside: Run, tmp_path: Path) -> None:
    done = beside("run", SLUG, "--input", "text=42")
    assert done.code == 0, done.err
    first, last = done.lines
    assert first == "said  two 42"
    assert last.startswith(f"answered by {LIVE} (live, generation 2) in ")
    outcome = beside("run", SLUG, "--input", "text=hi", "--json").json
    assert (outcome["version"], outcome["generation"], outcome["outputs"]) == (LIVE, 2, {"said": "two hi"})
    assert beside("key", "list", SLUG, "--json").json == []  # its keys are revoked


def test_run_streams(beside: Run) -> None:
    lines = beside("run", SLUG, "--input", "text=hi", "--stream").lines
    assert "two hi" in lines[0] and lines[-1].startswith(f"answered by {LIVE}")
    events = beside("run", SLUG, "--input", "text=hi", "--stream", "--json").lines
    import json

    kinds = [json.loads(line)["event"] for line in events]
    assert kinds[0] == "workflow_started" and kinds[-1] == "workflow_finished"


def test_run_a_chatflow(beside: Run, tmp_path: Path) -> None:
    file = written(tmp_path, "you said {{ text }}", mode="advanced-chat")
    version = beside("push", file, "-w", "chat", "--json").json["version"]["id"]
    assert beside("publish", "chat", version).code == 0
    for more in ((), ("--stream",)):
        done = beside("run", "chat", "--query", "hello", "--input", "text=hi", *more)
        assert done.code == 0, done.err
        assert done.lines[0] == "you said hi" and done.lines[1].startswith(f"answered by {version}")
        assert done.lines[2].startswith("conversation ")
    assert "give its message with --query" in beside("run", "chat").err


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--input", "count=many"), "count in input form must be a valid number"),
        (("--query", "hello"), "leave --query out"),
        (("--gateway", "http://127.0.0.1:1"), "The upstream http://127.0.0.1:1 does not answer"),
    ],
)
def test_run_says_why_not(beside: Run, args: tuple[str, ...], sentence: str) -> None:
    done = beside("run", SLUG, *args)
    assert (done.code, done.out) == (1, "") and sentence in done.err and done.err.count("\n") == 1
    assert beside("key", "list", SLUG, "--json").json == []


def test_a_run_that_fails_is_an_error(beside: Run, tmp_path: Path) -> None:
    version = beside("push", written(tmp_path, "{{ 1 / 0 }}"), "-w", "breaks", "--json").json["version"]["id"]
    assert beside("publish", "breaks", version).code == 0
    done = beside("run", "breaks")
    assert done.code == 1 and done.err.startswith(f"lastgood: The run on {version} failed: ")


def test_a_move_is_seen_by_the_next_run(beside: Run) -> None:
    assert beside("publish", SLUG, NEW, "--channel", "staging").code == 0
    assert beside("run", SLUG, "--channel", "staging", "--input", "text=x").lines[0] == "said  three x"
    assert beside("publish", SLUG, OLD, "--channel", "staging").code == 0
    assert beside("run", SLUG, "--channel", "staging", "--input", "text=x").lines[0] == "said  one x"


@pytest.fixture
def proven(beside: Run, tmp_path: Path) -> tuple[str, str]:
    """A good version, and one that its smoke request refuses."""
    found = []
    for text in ("right {{ text }}", "wrong {{ text }}"):
        pushed = beside("push", written(tmp_path, text), "-w", "greet", "--json").json
        found.append(pushed["version"]["id"])
    beside("smoke", "add", "greet", "-i", "text=x", "--expect", 'outputs.said == `"right x"`')
    return found[0], found[1]


def test_a_move_is_verified(beside: Run, proven: tuple[str, str]) -> None:
    good, bad = proven
    done = beside("publish", "greet", good)
    assert done.code == 0, done.err
    assert done.lines[0].endswith("ms; verified by 1 smoke request")

    done = beside("publish", "greet", bad)
    assert done.code == 3
    assert f"{good} → {bad} (generation 2)" in done.out and "0 of 1 smoke requests passed" in done.out
    assert f"lastgood: VERIFICATION FAILED. live of greet now serves {bad}, and smoke smoke-" in done.err
    assert 'got "wrong x"' in done.err
    assert done.err.endswith("lastgood: go back with: lastgood rollback greet\n")
    assert beside("status").out.startswith(f"Not well: live of greet serves {bad}, which failed; `lastgood rollback")

    done = beside("rollback", "greet")  # the very command that was named
    assert done.code == 0 and f"{bad} → {good} (generation 3)" in done.out

    done = beside("smoke", "run", bad)
    assert done.code == 1 and "failed" in done.out and done.err == f"lastgood: failed; {bad} is failed.\n"


@pytest.fixture
def elsewhere(server: Server, lastgood: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """`lastgood` on another machine, which knows the server by its address only."""
    monkeypatch.setenv("LASTGOOD_SERVER", server.notice["api"])
    monkeypatch.setattr("lastgood.cli.local.local_app", None)
    return lastgood


def _token(server: Server) -> str:
    return next(word for word in server.said.split() if word.startswith("lg_"))


def test_elsewhere_a_token_is_asked_for(elsewhere: Run) -> None:
    done = elsewhere("status")
    assert done.code == 1 and "The command line takes it from LASTGOOD_TOKEN or --token." in done.err
    assert elsewhere("status", "--token", "lg_guess").code == 1


def test_elsewhere_the_admin_token_opens(elsewhere: Run, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    token = _token(server)
    assert elsewhere("--token", token, "status").code == 0
    assert elsewhere("status", "--token", token).code == 0
    monkeypatch.setenv("LASTGOOD_TOKEN", token)
    done = elsewhere("mark", NEW, "candidate", "--reason", "by token")
    assert done.code == 0
    assert elsewhere("changes", "-n", "1", "--json").json[0]["actor"] == "admin"
    assert elsewhere("run", SLUG, "--input", "text=hi").lines[0] == "said  two hi"


def test_elsewhere_a_netrc_entry_takes_no_tokens_place(
    elsewhere: Run, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password guess\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setattr("lastgood.cli.client.is_loopback", lambda url: False)  # as a distant host
    assert elsewhere("status", "--token", _token(server)).code == 0


def test_the_definition_that_curl_saved_can_be_pushed(beside: Run, server: Server, tmp_path: Path) -> None:
    answer = httpx.get(
        f"{server.notice['api']}/v1/workflows/{SLUG}",
        headers={"Authorization": f"Bearer {_token(server)}"},
        trust_env=False,
    )
    file = tmp_path / "backup_prod_invoice.json"
    file.write_bytes(answer.content)
    pushed = beside("push", file, "--json").json["version"]
    live = beside("show", LIVE, "--json").json
    assert pushed["workflow"] == SLUG and pushed["digest"] == live["digest"]


def test_where_no_server_runs_one_call_starts_what_it_needs(
    lastgood: Run, home: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    pytest.importorskip("graphon")
    done = lastgood("run", SLUG, "--input", "text=alone")
    assert done.code == 0, done.err
    assert done.lines[0] == "said  two alone" and f"answered by {LIVE}" in done.lines[1]
    assert main.run(["key", "list", SLUG, "--json"]) == 0
    assert capfdbinary.readouterr().out == b"[]\n"
