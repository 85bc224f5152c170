"""The literal command of the design brief, and the handing over of every other."""

import os
import stat
from pathlib import Path

import pytest

from cli.conftest import LIVE, OLD, SCRIPTS, SLUG, Run, environment, script
from lastgood.cli.dify import next_dify, rollback
from lastgood.release.verification import Upstream


def test_the_briefs_command_line_verbatim(lastgood: Run, home: Path) -> None:
    line = "dify workflow:rollback --workflow-id wf-abc123 --version-id v-20240401-01"
    done = script(home, "sh", "-c", line)
    assert (done.code, done.out, done.err) == (0, "Successfully rolled back to version v-20240401-01\n", "")
    move = lastgood("log", SLUG, "--json").json[0]
    assert (move["kind"], move["from"], move["to"], move["actor"]) == ("rollback", LIVE, OLD, "alice")


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (("--workflow-id", "wf-abc123", "--version-id", LIVE), 1, f"already points to {LIVE}"),
        (("--workflow-id", "wf-abc123", "--version-id", "v-20200101-01"), 1, "There is no version"),
        (("--workflow-id", "wf-nothere", "--version-id", OLD), 1, "There is no workflow 'wf-nothere'"),
        (("--workflow-id", "wf-abc123"), 2, "--version-id"),
        (("--workflow", "wf-abc123", "--version-id", OLD), 2, "--workflow-id"),
    ],
)
def test_a_refusal(
    home: Path, capfd: pytest.CaptureFixture[str], args: tuple[str, ...], code: int, sentence: str
) -> None:
    try:
        ended: object = rollback(args)
    except SystemExit as end:
        ended = end.code
    out, err = capfd.readouterr()
    assert (ended, out) == (code, "")
    assert err.startswith("lastgood: ") and err.count("\n") == 1 and sentence in err


def test_it_never_asks(lastgood: Run, home: Path, standin: Upstream) -> None:
    from cli.test_moves import terminal

    args = ("workflow:rollback", "--workflow-id", SLUG, "--version-id", OLD, "--reason", "by hand")
    with terminal(home, "dify", *args, engine=standin) as shown:
        assert shown.end() == 0
    assert shown.seen.splitlines()[-1] == f"Successfully rolled back to version {OLD}"
    assert lastgood("log", SLUG, "--json").json[0]["reason"] == "by hand"


def test_its_help_has_an_example(home: Path) -> None:
    done = script(home, "dify", "workflow:rollback", "--help")
    assert done.code == 0 and "Examples:" in done.out and "--workflow-id wf-abc123" in done.out


def _program(folder: Path, body: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "dify"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def test_other_commands_go_to_the_next_dify(home: Path, tmp_path: Path) -> None:
    _program(tmp_path / "vendor", 'echo "vendor got $# arguments: $*"; cat; exit 7')
    path = os.pathsep.join((str(SCRIPTS), str(tmp_path / "vendor"), os.environ["PATH"]))
    done = script(home, "dify", "plugin", "init", "--name", "a b", input="typed", PATH=path)
    assert (done.code, done.out) == (7, "vendor got 4 arguments: plugin init --name a b\ntyped")


def test_a_link_to_this_one_is_not_the_next(home: Path, tmp_path: Path) -> None:
    for name in ("first", "third"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dify").symlink_to(SCRIPTS / "dify")
    _program(tmp_path / "fourth", "echo the vendor")
    folders = (tmp_path / "first", SCRIPTS, tmp_path / "third", tmp_path / "fourth")
    path = os.pathsep.join([*map(str, folders), "/usr/bin", "/bin"])
    assert script(home, "dify", "version", PATH=path).out == "the vendor\n"


def test_without_another_dify_it_says_so(home: Path) -> None:
    path = os.pathsep.join((str(SCRIPTS), "/usr/bin", "/bin"))
    done = script(home, "dify", "plugin", "init", PATH=path)
    assert done.code == 127 and done.out == ""
    assert done.err.startswith("lastgood: `dify plugin` is a command of Dify's own `dify`, and none is on PATH")


def test_only_what_stands_behind_is_the_next(tmp_path: Path) -> None:
    """Two installations in one PATH must not hand a command to each other for ever."""
    a, b, c = (_program(tmp_path / name, "true") for name in "abc")
    path = os.pathsep.join(str(one.parent) for one in (a, b, c))
    assert next_dify(a, path) == b
    assert next_dify(b, path) == c
    assert next_dify(c, path) is None
    assert next_dify(tmp_path / "elsewhere" / "dify", path) == a
    b.chmod(0o644)
    assert next_dify(a, path) == c


def test_the_surroundings_put_this_dify_first(home: Path) -> None:
    assert environment(home)["PATH"].startswith(str(SCRIPTS))
