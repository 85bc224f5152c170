"""Publish and rollback at a terminal and without one, beside somebody else's move, and with verification."""

import os
import pty
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.conftest import LIVE, NEW, OLD, SLUG, Run, environment, forked, written
from lastgood.release.verification import Upstream
from support import commands


class Terminal:
    """A command that believes a person sits before it."""

    def __init__(self, *command: str, home: Path, engine: Upstream | None, **more: str) -> None:
        self._master, slave = pty.openpty()
        env = environment(home, **{"COLUMNS": "100", **more})
        # Its controlling terminal, so that Ctrl-C is a signal.
        self._process = commands.start(command, env, (slave, slave, slave), terminal=True, engine=engine)
        os.close(slave)
        self.seen = ""

    def wait_for(self, text: str) -> None:
        """Read until `text` was shown."""
        until = time.monotonic() + 30
        while text not in self.seen:
            assert time.monotonic() < until and self._read(), f"{text!r} did not come: {self.seen}"

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def interrupt(self) -> int:
        """Press Ctrl-C until it ends, and give the exit code: the question is on the screen a moment before it is
        listened for, and a signal in that moment can get lost."""
        until = time.monotonic() + 30
        while self._process.exitcode is None:
            assert time.monotonic() < until, self.seen
            self.type("\x03")
            if select.select([self._master], [], [], 0.5)[0]:
                self._read()
            time.sleep(0.1)
        return self.end()

    def end(self) -> int:
        """Read to the end and give the exit code."""
        while self._read():
            pass
        self._process.join(30)
        assert self._process.exitcode is not None, self.seen
        return self._process.exitcode

    def close(self) -> None:
        """Leave nothing behind."""
        self._process.kill()
        self._process.join()
        os.close(self._master)

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 30)[0]:
            return False
        try:
            data = os.read(self._master, 4096)
        except OSError:  # the other end is closed
            return False
        self.seen += data.decode()
        return bool(data)


@contextmanager
def terminal(home: Path, *command: str, engine: Upstream | None = None, **more: str) -> Iterator[Terminal]:
    """`Terminal`, closed in the end."""
    shown = Terminal(*command, home=home, engine=engine, **more)
    try:
        yield shown
    finally:
        shown.close()


def test_a_rollback_in_a_terminal_says_what_it_will_do_and_asks(lastgood: Run, home: Path, standin: Upstream) -> None:
    with terminal(home, "lastgood", "rollback", SLUG, engine=standin) as shown:
        shown.wait_for("Roll back?")
        assert f"live of {SLUG}: {LIVE} → {OLD} (generation 2)" in shown.seen
        assert f"{OLD}: last good: marked stable (checked by hand)" in shown.seen
        shown.type("y\n")
        assert shown.end() == 0
        assert "(generation 3)" in shown.seen
    assert lastgood("log", SLUG, "--json").json[0]["to"] == OLD


def test_no_is_an_answer(lastgood: Run, home: Path, standin: Upstream) -> None:
    with terminal(home, "lastgood", "rollback", SLUG, "--to", NEW, engine=standin) as shown:
        shown.wait_for("Roll back?")
        assert f"{NEW}: candidate, by alice" in shown.seen and "“not yet”" in shown.seen
        shown.type("n\n")
        assert shown.end() == 1
        assert "nothing was changed" in shown.seen
    assert lastgood("log", SLUG, "--json").json[0]["to"] == LIVE


def test_ctrl_c_at_the_question_changes_nothing(lastgood: Run, home: Path, standin: Upstream) -> None:
    with terminal(home, "lastgood", "rollback", SLUG, engine=standin) as shown:
        shown.wait_for("Roll back?")
        # The last of several may end Python itself while it ends already.
        assert shown.interrupt() in (130, -signal.SIGINT)
        assert "Traceback" not in shown.seen
    assert lastgood("log", SLUG, "--json").json[0]["to"] == LIVE


def test_yes_does_not_ask(home: Path, standin: Upstream) -> None:
    with terminal(home, "lastgood", "rollback", SLUG, "--yes", engine=standin) as shown:
        assert shown.end() == 0
        assert "Roll back?" not in shown.seen


def test_a_script_is_never_asked(home: Path, standin: Upstream) -> None:
    done = forked(home, "lastgood", "rollback", SLUG, engine=standin)
    assert done.code == 0 and f"{LIVE} → {OLD}" in done.out
    assert "Roll back?" not in done.err and "not rolled back: knowledge bases" in done.err


def test_somebody_who_moved_in_between_is_named(lastgood: Run, home: Path, standin: Upstream) -> None:
    with terminal(home, "lastgood", "rollback", SLUG, engine=standin) as shown:
        shown.wait_for("Roll back?")
        done = forked(home, "lastgood", "publish", SLUG, NEW, "-m", "hotfix", engine=standin, USER="bob")
        assert done.code == 0, done.err
        shown.type("y\n")
        assert shown.end() == 1
        said = " ".join(shown.seen.split())
    assert f"Channel live of {SLUG} is at generation 3, not 2: bob moved it to {NEW} at 20" in said
    assert "(hotfix). Nothing was changed by this request" in said
    assert [one["actor"] for one in lastgood("log", SLUG, "--json").json][:1] == ["bob"]


def test_a_terminal_gets_colours_unless_it_wants_none(home: Path) -> None:
    for more, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        with terminal(home, "lastgood", "versions", SLUG, engine=None, **more) as shown:
            assert shown.end() == 0
        assert ("\x1b[32mactive" in shown.seen) is coloured
        assert LIVE in shown.seen and NEW in shown.seen


def test_a_narrow_terminal_still_shows_whole_ids(home: Path) -> None:
    with terminal(home, "lastgood", "log", SLUG, COLUMNS="30") as shown:
        assert shown.end() == 0
    assert OLD in shown.seen and LIVE in shown.seen


@pytest.mark.usefixtures("own_engine")
def test_without_a_server_a_publish_is_verified_all_the_same(lastgood: Run, tmp_path: Path) -> None:
    pytest.importorskip("graphon")
    version = lastgood("push", written(tmp_path, "right {{ text }}"), "-w", "greet", "--json").json["version"]["id"]
    lastgood("smoke", "add", "greet", "-i", "text=x", "--expect", 'outputs.said == `"right x"`')
    done = lastgood("publish", "greet", version)
    assert done.code == 0, done.err
    assert done.lines[0].endswith("ms; verified by 1 smoke request")
