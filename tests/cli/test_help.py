"""Help, completion, and what a shell does with the output."""

import io
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import LIVE, NEW, OLD, SCRIPTS, SLUG, WORKFLOW, Run, environment
from lastgood.cli.main import LATE, command, run
from support import commands


def _commands(group: Any = None, *path: str) -> Iterator[tuple[str, ...]]:
    for name, found in (group or command()).commands.items():
        if hasattr(found, "commands"):
            yield from _commands(found, *path, name)
        else:
            yield (*path, name)


EVERY = list(_commands())


def test_the_commands_of_the_design_are_all_there() -> None:
    names = {" ".join(path) for path in EVERY}
    assert names >= {
        *("push", "publish", "versions", "show", "run", "rollback", "snapshot", "snapshots", "restore", "export"),
        *("log", "mark", "status", "changes", "doctor", "workflows", "completion", "serve", "demo", "token reset"),
        *("smoke add", "smoke list", "smoke remove", "smoke run", "key create", "key list", "key revoke"),
    }


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_help_has_a_summary_and_examples_that_can_be_read(lastgood: Run, path: tuple[str, ...]) -> None:
    """The options of an example exist: one with a wrong option is worse than none."""
    done = lastgood(*path, "--help")
    assert done.code == 0
    usage, _, rest = done.out.partition("\n\n")
    assert usage.startswith(f"Usage: lastgood {' '.join(path)}") and "{" not in usage
    summary = rest.splitlines()[0].strip()
    assert summary.endswith(".") or rest.splitlines()[1].strip().endswith(".")
    examples = re.search(r"^  Examples:\n((?:    .*\n)+)", done.out, re.MULTILINE)
    assert examples and re.search(rf"^    .*lastgood {' '.join(path)}", examples[1], re.MULTILINE)
    for line in examples[1].splitlines():
        own = line.partition(f"lastgood {' '.join(path)}")[2]
        for option in re.findall(r"(?<!\S)(-[a-zA-Z]|--[a-z][a-z-]+)\b", own.partition("|")[0]):
            assert option in done.out.partition("Options:")[2], line


@pytest.mark.parametrize("late", LATE)
def test_a_late_commands_summary_is_its_own(late: str) -> None:
    function = getattr(import_module(f"lastgood.cli.{late}"), late)
    assert (function.__doc__ or "").splitlines()[0] == LATE[late]


def test_the_help_names_every_command_by_section(lastgood: Run) -> None:
    for args in (("--help",), ("-h",), ()):
        done = lastgood(*args)
        assert done.code == 0
        listed = re.findall(r"^  ([a-z][a-z-]*)  ", done.out, re.MULTILINE)
        assert set(listed) == {path[0] for path in EVERY}
        assert "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the channel moved" in done.out


@pytest.mark.parametrize("group", ["smoke", "key", "token"])
def test_a_group_alone_shows_its_help(lastgood: Run, group: str) -> None:
    done = lastgood(group)
    assert done.code == 2 and f"Usage: lastgood {group}" in done.err and "Traceback" not in done.err


COMPLETIONS = [
    ("", {"push", "rollback", "serve", "demo", "completion"}, {"--help"}),
    ("roll", {"rollback"}, {"push"}),
    ("smoke r", {"remove", "run"}, {"add"}),
    ("rollback --t", {"--to"}, {"--yes"}),
    ("publish pr", {SLUG}, {WORKFLOW}),
    ("publish wf-", {WORKFLOW}, {SLUG}),
    (f"publish {SLUG} v-", {NEW, LIVE, OLD}, {SLUG}),
    (f"publish {SLUG} {NEW} --channel ", {"live"}, set()),
    (f"rollback {SLUG} --to v-202404", {NEW, LIVE, OLD}, set()),
    (f"show {OLD[:-3]}", {OLD}, {NEW}),
    ("publish nope v-", set(), {OLD}),
    ("--server 127.0.0.1:1 publish pr", set(), {SLUG}),
    ("mark v-20240403", {NEW}, {OLD}),
]


def _complete(line: str, home: Path) -> subprocess.CompletedProcess[str]:
    words = f"lastgood {line}"
    last = len(words.split()) - (not words.endswith(" "))
    env = environment(home, _LASTGOOD_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(last))
    return subprocess.run([SCRIPTS / "lastgood"], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("line", "there", "not_there"), COMPLETIONS, ids=[line for line, _, _ in COMPLETIONS])
def test_the_shell_completes(
    home: Path,
    lastgood: Run,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    there: set[str],
    not_there: set[str],
) -> None:
    words = f"lastgood {line}"
    monkeypatch.setenv("_LASTGOOD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - (not words.endswith(" "))))
    done = lastgood()
    found = set(done.out.split())
    assert there <= found and not not_there & found and done.err == ""
    if not there:
        assert not found


def test_a_completion_that_fails_is_silent(home: Path) -> None:
    (home / "lastgood.db").write_bytes(b"this is no database" * 100)
    done = _complete("publish pr", home)
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_for_that_shell(lastgood: Run, shell: str) -> None:
    done = lastgood("completion", shell)
    assert done.code == 0 and "_LASTGOOD_COMPLETE" in done.out and f"complete_{shell}" in done.out


def test_completion_is_installed_where_the_shell_looks(
    lastgood: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    done = lastgood("completion", "fish", "--install")
    assert done.code == 0
    assert (tmp_path / ".config/fish/completions/lastgood.fish").exists()


def test_a_reader_that_goes_is_no_error(home: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for args, codes in ((["export", SLUG], {141}), (["--help"], {1, 141})):
        done = subprocess.run(
            [SCRIPTS / "lastgood", *args], env=environment(home), stdout=writer, stderr=subprocess.PIPE, check=False
        )
        assert done.returncode in codes and done.stderr == b"", args
    with Path(os.devnull).open() as none, tempfile.TemporaryFile() as said:
        streams = (none.fileno(), writer, said.fileno())
        process = commands.start(["lastgood", "changes", "--json"], environment(home), streams)
        process.join(60)
        said.seek(0)
        assert process.exitcode == 141 and said.read() == b""
    os.close(writer)


def test_a_stream_without_arrows_still_gets_its_lines(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for args, line in (
        (["publish", SLUG, NEW, "--json"], rb'"reason": "\u4fee\u597d"'),
        (["rollback", SLUG], rf"{NEW} \u2192 {OLD}".encode()),
        (["log", SLUG], rb"\u4fee\u597d"),
    ):
        written = io.BytesIO()
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
        reason = ["--reason", "修好"] if args[0] == "publish" else []
        assert run([*args, *reason]) == 0
        assert written.getvalue().isascii() and (line in written.getvalue() or args[0] == "publish")
