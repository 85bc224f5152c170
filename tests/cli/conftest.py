"""A data directory with a short history in it, and the command line on it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lastgood import dsl
from lastgood.cli import main
from lastgood.release.verification import Upstream
from lastgood.server.supervisor import OwnEngine
from support import commands
from support.documents import document
from support.engine import fake_engine
from support.stores import copy_sqlite

SCRIPTS = Path(sys.executable).parent
OLD, LIVE, NEW = "v-20240401-01", "v-20240402-01", "v-20240403-01"
WORKFLOW, SLUG = "wf-abc123", "prod-invoice"


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """Its output by line."""
        return self.out.splitlines()


Run = Callable[..., Done]


def written(folder: Path, says: str, *, name: str = "Greeter", mode: str = "workflow") -> Path:
    """A workflow file with the inputs `text` (a text) and `count` (a number), whose output `said` is `says`."""
    value = document(says, name=name, mode=mode).data
    nodes = {node["id"]: node["data"] for node in value["workflow"]["graph"]["nodes"]}
    nodes["begin"]["variables"] = [
        {"variable": "text", "label": "Text", "type": "text-input", "required": False, "max_length": 99},
        {"variable": "count", "label": "Count", "type": "number", "required": False},
    ]
    nodes["say"]["variables"] = [
        {"variable": variable, "value_selector": ["begin", variable]} for variable in ("text", "count")
    ]
    file = folder / f"{says.partition(' ')[0]}.yml"
    file.write_text(dsl.to_yaml(dsl.Document(value)), encoding="utf-8")
    return file


def environment(home: Path, **more: str) -> dict[str, str]:
    """The surroundings of a command on `home`, free of settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LASTGOOD_")}
    for name in ("SUDO_USER", "NO_COLOR", "COLUMNS"):
        kept.pop(name, None)
    path = os.pathsep.join((str(SCRIPTS), kept.get("PATH", os.defpath)))
    return {**kept, "PATH": path, "LASTGOOD_HOME": str(home), "USER": "alice", "TERM": "xterm", **more}


def script(home: Path, *command: str, input: str | None = None, **more: str) -> Done:
    """Run a whole command line in a process of its own."""
    env = environment(home, **more)
    done = subprocess.run(
        command, check=False, env=env, input=input or "", capture_output=True, text=True, timeout=60
    )
    return Done(done.returncode, done.stdout, done.stderr)


def forked(home: Path, *command: str, engine: Upstream | None = None, **more: str) -> Done:
    """As `script`, of one of our commands, without seconds of imports (see `support.commands`)."""
    with Path(os.devnull).open() as none, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        streams = (none.fileno(), out.fileno(), err.fileno())
        process = commands.start(command, environment(home, **more), streams, engine=engine)
        process.join(60)
        assert process.exitcode is not None, command
        for file in (out, err):
            file.seek(0)
        return Done(process.exitcode, out.read(), err.read())


@pytest.fixture(scope="session")
def standin() -> Iterator[Upstream]:
    """What plays the engine of a command that runs without a server: it says that it is well."""
    with fake_engine() as engine:
        yield Upstream(engine.url, "a-token")


@pytest.fixture
def own_engine() -> None:
    """For tests whose commands start an engine of their own, which takes seconds."""


@pytest.fixture
def kept_engine(own_engine: None, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As `own_engine`, for tests of several commands: the engine that the first one starts serves the others too."""
    call, close, first = OwnEngine.__call__, OwnEngine.close, []

    def started(own: OwnEngine) -> Upstream:
        first.append(own)
        return call(first[0])

    monkeypatch.setattr(OwnEngine, "__call__", started)
    monkeypatch.setattr(OwnEngine, "close", lambda own: None)
    yield
    for own in first[:1]:
        close(own)


@pytest.fixture(autouse=True)
def _engine(request: pytest.FixtureRequest, standin: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    if "own_engine" not in request.fixturenames:
        monkeypatch.setattr(OwnEngine, "__call__", lambda _: standin)


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, standin: Upstream) -> Path:
    """A data directory: three versions of prod-invoice, the first proven, the second live, the third only kept."""
    home = tmp_path_factory.mktemp("history") / "home"
    copy_sqlite(sqlite_template, home)
    with pytest.MonkeyPatch.context() as patch:
        _surround(patch, home)
        patch.setattr(OwnEngine, "__call__", lambda _: standin)
        folder = home.parent
        for args in (
            (
                "push",
                written(folder, "one {{ text }}"),
                "-w",
                SLUG,
                "--id",
                WORKFLOW,
                "--version-id",
                OLD,
                "-m",
                "first",
            ),
            ("push", written(folder, "two {{ text }}"), "-w", SLUG, "--version-id", LIVE, "--author", "bob"),
            ("push", written(folder, "three {{ text }}"), "-w", SLUG, "--version-id", NEW, "-m", "not yet"),
            ("mark", OLD, "stable", "--reason", "checked by hand"),
            ("publish", SLUG, OLD, "--reason", "go"),
            ("publish", SLUG, LIVE, "--semver", "1.1.0", "--reason", "better"),
        ):
            assert main.run([str(arg) for arg in args]) == 0, args
    return home


@pytest.fixture
def home(history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `history` for one test, which the command line works on."""
    home = tmp_path / "home"
    shutil.copytree(history, home)
    _surround(monkeypatch, home)
    return home


@pytest.fixture
def lastgood(home: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """`lastgood` in this process, on `home`."""

    def run(*args: object) -> Done:
        capfdbinary.readouterr()
        code = main.run([str(arg) for arg in args])
        out, err = capfdbinary.readouterr()
        return Done(code, out.decode(), err.decode())

    return run


def _surround(patch: pytest.MonkeyPatch, home: Path) -> None:
    kept = environment(home, LASTGOOD_RESERVE_BYTES="65536")
    for name in set(os.environ) - set(kept):
        patch.delenv(name)
    for name, value in kept.items():
        patch.setenv(name, value)
