"""Which listeners are told, the command listener, and that telling never raises."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from lastgood.catalogue import Listener
from lastgood.errors import UnknownListener
from lastgood.release import listeners
from lastgood.release.listeners import telling
from release.notices import NEW, NOTICE, OLD, notice
from support.stores import clean_settings

SECRET = "lg_" + "q8Zr" * 8


def command(*words: str, **more: Any) -> Listener:
    return Listener(kind="command", command=words, **more)


DECLARED = {
    "every": command("true"),
    "prod": command("true", workflows=("prod-*",)),
    "id": command("true", workflows=("wf-abc123",)),
    "other": command("true", workflows=("billing", "support-*")),
    "staging": command("true", channels=("staging", "lts-*")),
    "both": command("true", workflows=("prod-invoice",), channels=("*",)),
}


@pytest.mark.parametrize(
    ("channel", "named", "found"),
    [
        ("live", None, ["every", "prod", "id", "both"]),
        ("lts-1", None, ["staging", "both"]),
        ("shadow", None, ["both"]),
        ("live", (), []),
        ("live", ("prod", "other"), ["prod", "other"]),
    ],
)
def test_the_listeners_of_a_move(
    tmp_path: Path, channel: str, named: tuple[str, ...] | None, found: list[str]
) -> None:
    settings = clean_settings(tmp_path, listeners=DECLARED)
    assert list(listeners.for_move(settings, notice(channel=channel), named)) == found


def test_a_plan_that_names_what_is_not_declared_is_told_what_is(tmp_path: Path) -> None:
    with pytest.raises(UnknownListener) as raised:
        listeners.for_move(clean_settings(tmp_path, listeners=DECLARED), NOTICE, ("every", "wbe"))
    assert str(raised.value).startswith(
        "There is no listener 'wbe'; lastgood.toml declares: both, every, id, other, prod, staging."
    )
    with pytest.raises(UnknownListener, match="declares: none"):
        listeners.for_move(clean_settings(tmp_path), NOTICE, ("web",))


def test_a_listener_that_is_named_but_not_declared_for_the_move_is_skipped() -> None:
    told = listeners.tell("other", DECLARED["other"], NOTICE)
    assert (told.outcome, told.good) == ("skipped", True)
    assert told.detail == "it is not declared for live of prod-invoice"


def test_a_command_learns_of_the_move_as_a_hook_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTGOOD_TOKEN", SECRET)
    script = "import json,os,sys; seen = [sys.argv[2:], dict(os.environ), json.load(sys.stdin)]"
    script += "; json.dump(seen, open(sys.argv[1], 'w'))"
    words = (
        sys.executable,
        "-c",
        script,
        f"{tmp_path}/seen",
        "{version} {from}",
        "$HOME;{workflow}",
        "--channel={channel}",
    )
    told = listeners.tell("cmd", command(*words), notice(from_version=NEW))
    assert (told.outcome, told.detail) == ("acknowledged", f"{sys.executable} ended with exit code 0")
    arguments, variables, given = json.loads((tmp_path / "seen").read_text())
    assert arguments == [f"{OLD} {NEW}", "$HOME;prod-invoice", "--channel=live"]  # no shell saw them
    assert variables["LASTGOOD_IDEMPOTENCY_KEY"] == NOTICE.key and "LASTGOOD_TOKEN" not in variables
    assert given == NOTICE.as_data()


@pytest.mark.parametrize(
    ("words", "more", "outcome", "detail"),
    [
        (
            ("/bin/sh", "-c", "echo one; echo cannot >&2; exit 4"),
            {},
            "failed",
            "/bin/sh ended with exit code 4: cannot",
        ),
        (("/bin/sh", "-c", f"echo {SECRET}; exit 1"), {}, "failed", f"/bin/sh ended with exit code 1: {'*' * 20}"),
        (
            ("/bin/sh", "-c", "echo busy; sleep 60"),
            {"timeout": 0.3},
            "timed out",
            "/bin/sh had not ended within 0.3 s: busy",
        ),
        (("no-such-tool",), {}, "failed", "no-such-tool did not start: there is no no-such-tool on the PATH"),
        ((), {}, "failed", "it has no command; see lastgood.toml"),
        (
            ("echo", "{release}"),
            {},
            "failed",
            "{release} in '{release}' stands for nothing; "
            "there are {version}, {from}, {workflow}, {channel}, and {{ for a brace; see lastgood.toml",
        ),
        (("/bin/sh", "-c", "echo " + "x" * 900), {}, "acknowledged", f"/bin/sh ended with exit code 0: {'x' * 467}…"),
    ],
)
def test_a_command_answers_by_its_exit_code(words: tuple[str, ...], more: Any, outcome: str, detail: str) -> None:
    told = listeners.tell("cmd", command(*words, **more), NOTICE, secrets=[SECRET])
    assert (told.name, told.outcome, told.detail) == ("cmd", outcome, detail)


def test_a_value_that_would_be_an_option_is_refused() -> None:
    told = listeners.tell("cmd", command("rm", "{version}"), notice(to_version="-rf"))
    assert (told.outcome, told.detail) == ("failed", "'{version}' would be the option '-rf' with this move's values")


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (Listener(kind="file"), "it has no directory"),
        (Listener(kind="file", directory="app"), "its directory is not an absolute path"),
        (Listener(kind="file", directory="/srv/{app}"), "{app} in '/srv/{app}' stands for nothing"),
        (Listener(kind="systemd"), "it has no unit"),
        (Listener(kind="systemd", unit="--now"), "its unit '--now' would be an option"),
        (Listener(kind="docker"), "it has no container"),
        (Listener(kind="docker", container="-f"), "its container '-f' would be an option"),
        (Listener(kind="command"), "it has no command"),
        (Listener(kind="http"), "it has no url"),
        (Listener(kind="http", url="mailto:x"), "its url is not an http:// or https:// address"),
    ],
)
def test_a_listener_that_lacks_something_says_so_and_does_nothing(declared: Listener, said: str) -> None:
    assert listeners.flaw(declared).startswith(said)
    told = listeners.tell("it", declared, NOTICE)
    assert told.outcome == "failed" and told.detail.startswith(said)


@pytest.mark.parametrize(
    "declared",
    [
        Listener(kind="file", directory="/srv/{workflow}"),
        Listener(kind="systemd", unit="invoice@{version}.service"),
        Listener(kind="docker", container="{workflow}-{version}"),
        command("notify", "{version}"),
        Listener(kind="http", url="https://{workflow}.example:8443/{version}"),
    ],
)
def test_a_listener_that_is_well_declared_has_no_flaw(declared: Listener) -> None:
    assert listeners.flaw(declared) == ""


@pytest.mark.parametrize("error", [ValueError("odd"), RecursionError(), UnicodeError("x"), OSError("no number")])
def test_telling_never_raises(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(*_: Any) -> Any:
        raise error

    monkeypatch.setitem(telling._TELL, "command", broken)
    told = listeners.tell("cmd", command("true"), NOTICE)
    assert told.outcome == "failed" and type(error).__name__ in told.detail


def test_all_are_told_at_once_and_answer_in_order(tmp_path: Path) -> None:
    meet = f"cd {tmp_path}; touch $0; until [ -e a ] && [ -e b ] && [ -e c ]; do sleep 0.01; done"
    declared = {name: command("/bin/sh", "-c", meet, name, timeout=30.0) for name in ("c", "a", "b")}
    declared["no"] = command("false", required=False)
    told = listeners.tell_all(declared, NOTICE)
    assert [(one.name, one.outcome, one.good) for one in told] == [
        *((name, "acknowledged", True) for name in ("c", "a", "b")),
        ("no", "failed", True),
    ]
    assert listeners.tell_all({}, NOTICE) == []
