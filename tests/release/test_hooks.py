"""Hooks: what they get to know, how they end, and what is kept of what they print."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lastgood.catalogue import Hook
from lastgood.release import commands, hooks
from lastgood.release.hooks import HookRun
from lastgood.release.output import LIMIT, server_secrets
from release.notices import NEW, NOTICE, OLD, notice, program
from support.stores import clean_settings

TOKEN = "lg_" + "q8Zr" * 8


def hook(*command: str, **more: Any) -> Hook:
    return Hook(command=command, **{"timeout": 20.0, **more})


def shell(script: str, **more: Any) -> HookRun:
    secrets = more.pop("secrets", ())
    told = more.pop("notice", NOTICE)
    return hooks.run(hook("/bin/sh", "-c", script, **more), told, "pre_rollback", secrets=secrets)


def python(script: str, **more: Any) -> HookRun:
    return hooks.run(hook(sys.executable, "-c", script, **more), NOTICE, "pre_rollback")


def is_gone(pid: int) -> bool:
    """Whether a process has ended; somebody else may still have to take note of it."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_hook_learns_of_the_move_by_variables_and_by_json() -> None:
    ran = python("import json, os, sys; print(json.dumps([dict(os.environ), json.load(sys.stdin)]))")
    variables, given = json.loads(ran.output)
    assert given == {**NOTICE.as_data(), "phase": "pre_rollback"}
    assert variables["LASTGOOD_FROM"] == NEW and variables["LASTGOOD_TO"] == OLD
    assert variables["LASTGOOD_PHASE"] == "pre_rollback"
    assert (ran.code, ran.timed_out, ran.good, ran.phase) == (0, False, True, "pre_rollback")
    assert ran.sentence == f"The pre-rollback hook {sys.executable} ended with exit code 0."
    json.dumps(ran.as_data())


def test_a_hook_gets_path_and_home_and_nothing_else_of_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LASTGOOD_TOKEN", "LASTGOOD_LLM_API_KEY", "LASTGOOD_DATABASE", "AWS_SECRET_ACCESS_KEY", "OTHER"):
        monkeypatch.setenv(name, "of-the-server")
    ran = shell("env", environment={"BACKUP_DIR": "/srv/b", "LASTGOOD_TO": "v-20990101-01"})
    got = {line.partition("=")[0] for line in ran.output.splitlines()}
    assert got - {"PWD", "SHLVL", "_", "OLDPWD"} == {
        *("PATH", "HOME", "BACKUP_DIR", "LASTGOOD_PHASE"),
        *NOTICE.environment(),
    }
    assert "of-the-server" not in ran.output
    assert f"LASTGOOD_TO={OLD}" in ran.output  # what it is told is not overridden


def test_the_idempotency_key_is_the_same_at_every_attempt(tmp_path: Path) -> None:
    script = f"""cd {tmp_path}
        grep -qx "$LASTGOOD_IDEMPOTENCY_KEY" done 2>/dev/null && exit 0
        echo "$LASTGOOD_IDEMPOTENCY_KEY" >> done; exit 1"""
    assert [shell(script).code for _ in range(3)] == [1, 0, 0]
    assert shell(script, notice=notice(key="another")).code == 1


@pytest.mark.parametrize(
    ("script", "code", "sentence"),
    [
        ("exit 3", 3, "ended with exit code 3."),
        ("kill -9 $$", -9, "was ended by signal SIGKILL."),
        ("exec <&-; sleep 0.2; exit 0", 0, "ended with exit code 0."),
        ("echo out; echo err >&2; echo out; exit 1", 1, "ended with exit code 1."),
        ("no-such-command", 127, "ended with exit code 127."),
        ("exec >&- 2>&-; sleep 0.2; exit 5", 5, "ended with exit code 5."),
    ],
)
def test_a_hook_ends_with_a_sentence(script: str, code: int, sentence: str) -> None:
    ran = shell(script)
    assert (ran.code, ran.timed_out, ran.good) == (code, False, code == 0)
    assert ran.sentence == f"The pre-rollback hook /bin/sh {sentence}"


def test_standard_output_and_error_are_kept_in_order() -> None:
    assert shell("echo 1; echo 2 >&2; echo 3; echo 4 >&2").output == "1\n2\n3\n4\n"


def test_a_hook_that_does_not_read_what_it_is_told_is_not_waited_for() -> None:
    ran = shell("exec <&-; echo done", notice=notice(reason="long " * 100_000))
    assert (ran.code, ran.output) == (0, "done\n")


def test_a_reason_longer_than_a_variable_can_be_is_whole_on_standard_input() -> None:
    long = "ä\0" * 200_000
    ran = hooks.run(
        hook(sys.executable, "-c", "import json,os,sys; print(len(json.load(sys.stdin)['reason']))"),
        notice(reason=long),
        "pre_rollback",
    )
    assert ran.output == "400000\n"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda place: f"{place}/absent", "there is no {command}."),
        (lambda place: "no-such-backup-tool", "there is no no-such-backup-tool on the PATH."),
        (lambda place: program(place / "plain", "#!/bin/sh\n", 0o644), "{command} may not be executed; chmod +x it."),
        (str, "{command} is a directory."),
        (lambda place: program(place / "text", "hello\n"), "{command} is no program, nor a script whose first line"),
        (
            lambda place: program(place / "dos", "#!/bin/sh\r\necho hello\r\n"),
            "the first line of {command} ends with a carriage return; save it with Unix line ends.",
        ),
        (
            lambda place: program(place / "odd", "#!/no/such/interpreter\n"),
            "the interpreter that the first line of {command} names is missing.",
        ),
    ],
)
def test_a_hook_that_cannot_start_says_why(tmp_path: Path, make: Any, why: str) -> None:
    command = make(tmp_path)
    ran = hooks.run(hook(command), NOTICE, "post_rollback")
    assert (ran.code, ran.timed_out, ran.good, ran.output) == (None, False, False, "")
    started = f"The post-rollback hook {command} did not start: "
    assert ran.sentence.startswith(started + why.format(command=command))


def test_windows_line_ends_are_named_also_where_env_looks_for_the_interpreter(tmp_path: Path) -> None:
    ran = hooks.run(hook(program(tmp_path / "dos", "#!/usr/bin/env sh\r\necho\r\n")), NOTICE, "pre_rollback")
    assert ran.code == 127 and "carriage return" in ran.sentence


def test_a_hook_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    ran = shell(f"sleep 300 & echo $! > {tmp_path}/pid; echo begun; sleep 300", timeout=0.5)
    assert (ran.timed_out, ran.good, ran.output) == (True, False, "begun\n")
    assert ran.sentence.endswith("was stopped: it had not ended within 0.5 s.")
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_hook_may_tidy_up_when_it_is_stopped() -> None:
    ran = shell("trap 'echo tidy; exit 0' TERM; echo begun; while :; do sleep 0.05; done", timeout=0.5)
    assert (ran.code, ran.timed_out, ran.good) == (0, True, False)
    assert ran.output.startswith("begun\n") and ran.output.endswith("tidy\n")


def test_a_hook_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_GRACE", 0.3)
    ran = shell(f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done", timeout=0.5)
    assert (ran.code, ran.timed_out) == (-signal.SIGKILL, True)
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_what_a_stopped_hook_started_is_killed_also_when_it_ignores_sigterm(tmp_path: Path) -> None:
    stubborn = f"trap '' TERM; sh -c 'echo $PPID' > {tmp_path}/pid; while :; do sleep 0.05; done"
    ran = shell(f"({stubborn}) & sleep 300", timeout=0.5)
    assert (ran.code, ran.timed_out) == (-signal.SIGTERM, True)
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_hook_that_leaves_a_daemon_on_its_output_has_ended_all_the_same(tmp_path: Path) -> None:
    ran = shell(f"sleep 300 & echo $! > {tmp_path}/pid; echo started")
    pid = int((tmp_path / "pid").read_text())
    try:
        assert (ran.code, ran.timed_out, ran.output) == (0, False, "started\n")
        assert "goes on and holds its output" in ran.sentence
        os.kill(pid, 0)  # it was started to stay
    finally:
        os.kill(pid, signal.SIGKILL)


def test_output_without_end_is_cut_in_the_middle_and_the_hook_stopped() -> None:
    ran = shell("echo first; yes; echo never", timeout=0.5)
    assert ran.timed_out and len(ran.output) <= LIMIT
    assert ran.output.startswith("first\ny\ny\n") and ran.output.endswith("y\n")
    assert " bytes are left out here …\n" in ran.output


def test_long_output_keeps_its_beginning_and_end() -> None:
    ran = python("print('first'); print('x' * 79 + '\\n' + 'é' * 100_000); print('last')")
    assert ran.output.startswith("first\n") and ran.output.endswith("é\nlast\n")
    assert LIMIT // 2 < len(ran.output) + ran.output.count("é") <= LIMIT
    assert f"… {6 + 80 + 200_001 + 5 - (LIMIT - 128):,} bytes are left out" in ran.output


def test_output_that_is_no_text_is_kept_as_text() -> None:
    ran = python(r"import sys; sys.stdout.buffer.write(b'a\xff\x00\x1b[31mred\x1b[0m\r\n10%\r20%\r\n\xe4\xb8\xad')")
    assert ran.output == "a\ufffd\ufffdred\n10%\n20%\n中"


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (f"login {TOKEN} ok", "login ******************** ok"),
        ("API_KEY=abc123", "API_KEY=(hidden)"),
        ("+ export DB_PASSWORD='hunter22'", "+ export DB_PASSWORD='(hidden)'"),
        ("PGPASSWORD=hunter2 psql -h db", "PGPASSWORD=(hidden) psql -h db"),
        ("Authorization: Bearer abcdef", "Authorization: (hidden)"),
        ('{"access_token": "abcdefgh", "id": 5}', '{"access_token": "(hidden)", "id": 5}'),
        ("curl https://x.example/?token=abcdef&n=1", "curl https://x.example/?token=(hidden)&n=1"),
        ("postgresql://bob:hunter2@db/app", "(hidden)b/app"),
        (f"key glpat-{'q8Zr' * 6}", "key (hidden)"),
        ("rows=17 total: 99 max_tokens=5", "rows=17 total: 99 max_tokens=5"),
        ("DSN=of-the-hook", "DSN=of-the-hook"),
    ],
)
def test_secrets_are_masked(printed: str, shown: str) -> None:
    ran = python(f"print({printed!r})")
    if TOKEN in printed:
        ran = hooks.run(hook("/bin/echo", printed), NOTICE, "pre_rollback", secrets=[TOKEN])
    assert ran.output == shown + "\n"


def test_the_secrets_of_its_own_environment_are_masked() -> None:
    ran = shell(
        'echo "using $RESTIC_PASSWORD in $PLACE"', environment={"RESTIC_PASSWORD": "correct-horse", "PLACE": "/b"}
    )
    assert ran.output == "using ******************** in /b\n"


def test_the_secrets_that_the_server_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWS_URL", "mysql://bob:of-rows@db/app")
    settings = clean_settings(
        tmp_path,
        "postgresql://bob:of-the-store@db/lastgood",
        token="lg_token",
        llm_api_key="llm-key",
        alert_webhook="https://chat.example/T0/B0",
        data_checks={"rows": {"url": "env:ROWS_URL", "table": "t"}, "file": {"url": "sqlite:////srv/app.db"}},
        middleware={"queue": {"kind": "redis", "url": "redis://:of-redis@queue"}, "unset": {"url": "env:NO_SUCH"}},
        hooks={"backup": {"command": ["backup"], "environment": {"RESTIC_PASSWORD": "of-restic", "PLACE": "/b"}}},
    )
    assert set(server_secrets(settings)) == {
        *("of-the-store", "lg_token", "llm-key", "https://chat.example/T0/B0"),
        *("of-rows", "of-redis", "of-restic"),
    }


def test_a_secret_that_the_cut_goes_through_is_nowhere_left() -> None:
    for shift in range(0, len(TOKEN) + 2, 5):
        ran = hooks.run(
            hook(sys.executable, "-c", f"print('x' * {shift}, ('{TOKEN}' * 9000), sep='')"),
            NOTICE,
            "pre_rollback",
            secrets=[TOKEN],
        )
        assert "q8Zr" not in ran.output and "bytes are left out" in ran.output


def test_a_private_key_whose_beginning_was_cut_away_is_hidden() -> None:
    lines = "'QkJC' * 16 + '\\n'"
    ran = python(f"print('-----BEGIN PRIVATE KEY-----\\n' + ({lines}) * 3000 + '-----END PRIVATE KEY-----\\nend')")
    assert "QkJC" not in ran.output and ran.output.endswith("(hidden)\nend\n")


def test_a_line_without_end_takes_no_time_without_end() -> None:
    ran = python("print('a' * 60_000); print('a' + ' ' * 60_000); print('a1-' * 20_000); print('k=\"' * 20_000)")
    assert ran.code == 0 and len(ran.output) <= LIMIT
