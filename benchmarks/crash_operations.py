"""What is left when a process is killed at any instant of an operation, and another takes the operation over.

``uv run python -m benchmarks.crash_operations [--postgres] [--random 100]``

An undisturbed run tells which instants there are: before, inside and after every step, around and inside every
transaction, while a hook runs, around every file that is replaced. Then, once for each instant, a process does an
operation and is killed (SIGKILL) there; this process takes the operation over, ends it, and examines what is left
(`crash_examination`). A rollback is done in three ways: it succeeds; its verification fails and undoes it; a person
takes it back when it is over. `--random` kills up to three processes in a row at random instants of one operation.
Exit code 1 when anything is wrong."""

import argparse
import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from benchmarks import crash
from benchmarks.crash_examination import Ground, Journal, Way, examine, steps_of
from benchmarks.rule3 import ground_of, postgres
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store, open_store
from lastgood.db.tx import Tx
from lastgood.errors import EngineMissing, LastgoodError
from lastgood.history import channels, versions, workflows
from lastgood.release import journal, operation, planning
from lastgood.release.flow import LAST
from lastgood.release.listeners import files
from lastgood.release.means import Means
from lastgood.release.plan import Plan
from lastgood.release.planning import Wanted
from lastgood.release.steps import ACTIONS, EFFECTS
from lastgood.release.verification import Upstream
from lastgood.settings import Settings, load

WAYS: tuple[Way, ...] = ("forward", "undone", "taken back")
UNCOMMITTED = "written, not committed"
_WHO = Principal("operator", "local")
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(  # once for all processes: what each would import when it comes to it
    [
        "benchmarks.crash_examination",
        "lastgood.db.migrations",
        "lastgood.release.operation",
        "lastgood.targets.engine.plan",
        "lastgood.targets.engine.web",
        "httpcore",
        "anyio",
        "pprint",
        "stringprep",
        "json_repair",
        "psycopg",
        "sqlalchemy.dialects.postgresql.psycopg",
    ]
)
_SECONDS = 60.0
_SHORT_LEASE_MS = 300
_LATE = "2999-01-01T00:00:00.000000Z"  # when who entered an operation has had its time to claim it
# The directory is made once, however often the hook runs with its key.
_HOOK = """#!/bin/sh
key=$(printf %s "$LASTGOOD_IDEMPOTENCY_KEY" | tr / _)
mkdir "{effects}/$key" 2>/dev/null && echo >> "{effects}/$key/effect"
echo >> "{runs}/$key"
"""


@dataclass
class Instants:
    """Counts the instants that a process comes by, and sends it the signal `number` at the one with the number `at`;
    at None it only counts."""

    at: int | None
    number: int = signal.SIGKILL
    step: str = "plan"
    seen: list[str] = field(default_factory=list)

    def come_by(self, what: str) -> None:
        """An instant of the step that runs. What renews the lease runs beside the steps and is not counted."""
        if threading.current_thread().name.startswith("lease of"):
            return
        self.seen.append(f"{self.step}: {what}")
        if len(self.seen) - 1 == self.at:
            os.kill(os.getpid(), self.number)
            sleep(0.1)  # a stop comes to the other threads first

    def watch(self) -> None:
        """Come by at every instant of this process from here on. It is to end soon: nothing is put back."""
        write, step, replace, popen = Store.write, operation._step, files._replace, subprocess.Popen

        def watched_write(store: Store, work: Callable[[Tx], Any], *, emergency: bool = False) -> Any:
            def marked(tx: Tx) -> Any:
                result = work(tx)
                self.come_by(UNCOMMITTED)
                return result

            self.come_by("before a transaction")
            result = write(store, marked, emergency=emergency)
            self.come_by("committed")
            return result

        def watched_step(means: Means, running: journal.Operation, name: str) -> Any:
            self.step = name
            self.come_by("before")
            result = step(means, running, name)
            self.come_by("after")
            return result

        def watched_replace(file: Path, text: str) -> None:
            self.come_by(f"before {file.name} is replaced")
            replace(file, text)
            self.come_by(f"{file.name} is replaced")

        def watched_start(*given: Any, **more: Any) -> Any:
            process = popen(*given, **more)
            if self.step.endswith("hook"):
                self.come_by("the hook runs")
            return process

        def watched(work: Callable[..., Any]) -> Callable[..., Any]:
            def act(*given: Any) -> Any:
                self.come_by("begun")
                result = work(*given)
                self.come_by("done, not recorded")
                return result

            return act

        patches: dict[str, tuple[Any, Any]] = {
            "write": (Store, watched_write),
            "_step": (operation, watched_step),
            "_replace": (files, watched_replace),
            "Popen": (subprocess, watched_start),
            "ACTIONS": (operation, {name: watched(work) for name, work in ACTIONS.items()}),
            "EFFECTS": (operation, {name: watched(work) for name, work in EFFECTS.items()}),
        }
        for name, (owner, instead) in patches.items():
            setattr(owner, name, instead)


@dataclass(frozen=True, slots=True)
class Run:
    """What a process that ran an operation came by, and how it ended: its exit code and the error that it met."""

    seen: tuple[str, ...]
    code: int | None
    error: str = ""


@dataclass
class Field:
    """A store, its settings with hooks and listeners, and where their effects can be counted. `journals` is what each
    way of an operation wrote that nobody disturbed."""

    settings: Settings
    store: Store
    ground: Ground
    journals: dict[Way, Journal] = field(default_factory=dict)
    pid: int = 0

    @property
    def means(self) -> Means:
        """What an operation in this process works with."""
        return means_of(self.store)

    def newest(self) -> journal.Operation | None:
        """The operation that was entered last."""
        with self.store.read() as tx:
            return next(iter(journal.listing(tx, limit=1)), None)

    def undisturbed(self, way: Way) -> list[str]:
        """Do an operation `way` in a process that is not killed; gives the instants that it came by. Raises
        `AssertionError` where even that leaves anything wrong."""
        id = self.prepare(way)
        run = self.start(way, id, Instants(None))()
        done = self.newest()
        assert run.code == 0 and done is not None, run.error
        self.journals[way] = steps_of(done)
        faults = examine(self.store, self.ground, done.id, way, self.journals[way])
        assert not faults, faults
        return list(run.seen)

    def prepare(self, way: Way) -> str | None:
        """What must be there before: an operation that is over, where it is to be taken back."""
        if way != "taken back":
            return None
        entered = enter(self.means, "forward")
        operation.run(self.means, entered)
        return entered

    def start(self, way: Way, id: str | None, instants: Instants, lease_ms: int | None = None) -> Callable[[], Run]:
        """Start a process that does an operation `way` (from its beginning, or on from where `id` is). What it gives
        waits for the end."""
        receiving, sending = _CONTEXT.Pipe(duplex=False)
        process = _CONTEXT.Process(
            target=_work, args=(self.settings, way, id, instants, lease_ms, sending), daemon=True
        )
        process.start()
        sending.close()
        self.pid = process.pid or 0

        def ended() -> Run:
            seen, error = (), ""
            if receiving.poll(_SECONDS):
                with contextlib.suppress(EOFError):
                    seen, error = receiving.recv()
            process.join(_SECONDS)
            return Run(tuple(seen), process.exitcode, error)

        return ended

    def kill(self, way: Way, *numbers: int) -> list[str]:
        """Kill processes at the instants `numbers` of one operation, one after the other, end it, and say what is
        wrong then."""
        before = self.newest()
        id = before_id = self.prepare(way) or (before.id if before else None)
        faults: list[str] = []
        for count, number in enumerate(numbers):
            run = self.start(way, id if way == "taken back" or count else None, Instants(number))()
            if run.code != -signal.SIGKILL and not (count and run.code == 0):
                faults.append(f"the process ended with {run.code} {run.error}")
            self.store.engine.dispose()  # its own connections are not to be waited for
            crash._wait_alone(self.store)
            faults += [f"killed, and not taken over yet: {one}" for one in crash.examine(self.store, last=False)]
            newest = self.newest()
            id = newest.id if newest else None
            if way != "taken back" and id == before_id:
                break  # it was not even entered
        return faults + self.end(way, id, before_id)

    def pause(self, way: Way, number: int) -> list[str]:
        """Stop a process at an instant (not inside a transaction, whose locks would stop everybody), take its
        operation over when its lease has ended, and wake it: it must have nothing more to say."""
        id = self.prepare(way)
        ended = self.start(way, id, Instants(number, signal.SIGSTOP), _SHORT_LEASE_MS)
        self.wait(lambda: _stopped(self.pid))
        self.wait(lambda: self.waiting() != [])
        found = self.newest()
        assert found is not None
        operation.run(self.means, found.id)
        faults = examine(self.store, self.ground, found.id, way, self.journals[way], last=False)
        before = self.all_rows(), self.ground.kept()
        os.kill(self.pid, signal.SIGCONT)
        run = ended()
        if run.error != "OperationTaken":
            faults.append(f"the process ended with {run.code} {run.error or 'as if nothing had happened'}")
        rows = self.all_rows()
        faults += [f"once awake it wrote {new} to {name}" for name, new in _new(before[0], rows)]
        if self.ground.kept() != before[1]:
            faults.append("once awake it changed the file listener's files")
        return faults

    def waiting(self) -> list[str]:
        """What may be taken over, as it is when who entered it has had the time to begin."""
        with self.store.read() as tx:
            tx.now = _LATE
            return journal.waiting(tx)

    def all_rows(self) -> dict[str, list[Any]]:
        """Everything in the store, by table."""
        with self.store.read() as tx:
            return {
                table.name: sorted(map(repr, tx.connection.execute(table.select())))
                for table in t.metadata.sorted_tables
            }

    @staticmethod
    def wait(until: Callable[[], bool]) -> None:
        """Wait for another process. Raises `TimeoutError`."""
        end = monotonic() + _SECONDS
        while not until():
            if monotonic() > end:
                raise TimeoutError("another process does not come to where it should be")
            sleep(0.005)

    def end(self, way: Way, id: str | None, before: str | None) -> list[str]:
        """Take over what waits, as a server does, and examine what is left; `before` is the operation before."""
        waiting = self.waiting()
        entered = id is not None and (way == "taken back" or id != before)
        if not entered:
            return ["something waits that was never entered"] if waiting else []
        assert id is not None
        with self.store.read() as tx:
            found = journal.find(tx, id)
        faults = [] if waiting == ([] if found.over else [id]) else [f"{waiting} wait for somebody"]
        if not found.over:
            operation.run(self.means, id)
        elif way == "taken back" and not found.wish:  # killed before the word was kept: it is said again
            self.store.write(lambda tx: journal.ask(tx, _WHO, id, "undo"))
            operation.run(self.means, id)
        return faults + self.examined(id, way)

    def examined(self, id: str, way: Way) -> list[str]:
        """What is wrong; a hook whose starter was killed has a moment to end."""
        until = monotonic() + 2
        while True:
            faults = examine(self.store, self.ground, id, way, self.journals[way], last=False)
            if not faults or monotonic() > until:
                return faults
            sleep(0.05)


def settings_for(settings: Settings, folder: Path, url: str) -> Settings:
    """`settings` with hooks, listeners and a data check whose effects lie in `folder`, which is made, and with `url`
    to be alerted."""
    ground = Ground(folder)
    for one in (ground.effects, ground.runs, ground.files):
        one.mkdir(parents=True)
    hook = folder / "hook"
    hook.write_text(_HOOK.format(effects=ground.effects, runs=ground.runs))
    hook.chmod(0o755)
    data = folder / "data.db"
    data.touch()
    declared = {
        "hooks": {"count": {"command": [str(hook)]}},
        "listeners": {
            "files": {"kind": "file", "directory": str(ground.files)},
            "deaf to what is new": {
                "kind": "command",
                "command": ["/bin/sh", "-c", '[ "$LASTGOOD_DIRECTION" = undo ]'],
            },
        },
        "data_checks": {"operations": {"url": f"sqlite:///{data}", "query": "select 42"}},
        "alert_webhook": url,
    }
    return Settings.model_validate({**settings.model_dump(), **declared})


def pausable(at: str) -> bool:
    """Whether a process that stops at an instant holds the operation and nothing else: no lock of the store or of
    the file listener, for which its successor would have to wait."""
    step, _, what = at.partition(": ")
    over = what in ("committed", "after")
    locked = (
        what == UNCOMMITTED or "replaced" in what or (step in EFFECTS and what in ("begun", "done, not recorded"))
    )
    return not locked and step not in ("plan", "the word") and not (step in LAST and over)


def _stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def _new(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> Iterator[tuple[str, list[Any]]]:
    for name, rows in after.items():
        if rows != before[name]:
            yield name, [row for row in rows if row not in before[name]]


@contextlib.contextmanager
def field_of(settings: Settings, folder: Path) -> Iterator[Field]:
    """A workflow with two versions in the empty store of `settings`, and what its operations need in `folder`."""
    with _world() as url:
        settings = settings_for(settings, folder, url)
        store = open_store(settings)
        store.write(lambda tx: workflows.set_target(tx, _WHO, "stand-in", url))
        ground_of(store, "stand-in")
        yield Field(settings, store, Ground(folder))
        store.close()


@contextlib.contextmanager
def _world() -> Iterator[str]:
    """The URL of a server that says yes to everybody: the target, and whoever is alerted."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def means_of(store: Store) -> Means:
    """What operations on `store` work with: no engine, because nothing is run here."""

    def nowhere() -> Upstream:
        raise EngineMissing()

    return Means(store, nowhere)


def enter(means: Means, way: Way) -> str:
    """Plan a rollback of the workflow to its other version, accept the plan, and give the operation's id."""
    with means.store.read() as tx:
        (workflow,) = workflows.listing(tx)
        pointer = channels.get(tx, workflow)
        (to,) = (one.id for one in versions.page(tx, workflow) if one.id != pointer.version)
    draft = Plan(
        "rollback",
        (),
        pre_rollback_hook="count",
        post_rollback_hook="count",
        listeners=("files",) if way != "undone" else ("files", "deaf to what is new"),
        on_verification_failure="undo" if way == "undone" else "keep",
    )
    plan = planning.make(means, "rollback", [Wanted(workflow.id, to=to)], draft)
    return planning.accept(means, _WHO, plan).id


def _work(
    settings: Settings, way: Way, id: str | None, instants: Instants, lease_ms: int | None, sending: Connection
) -> None:
    """A process's part of an operation, from its beginning or on from where it is."""
    if lease_ms is not None:
        journal.LEASE_MS = lease_ms
        operation._RENEW_SECONDS = _SECONDS  # only the steps themselves renew the lease
    store = open_store(settings)
    instants.watch()
    error = ""
    try:
        if id is None:
            id = enter(means_of(store), way)
        elif way == "taken back":
            with store.read() as tx:
                over = journal.find(tx, id).over
            if over:
                instants.step = "the word"
                store.write(lambda tx: journal.ask(tx, _WHO, id, "undo"))
        operation.run(means_of(store), id)
    except LastgoodError as found:
        error = type(found).__name__
    sending.send((instants.seen, error))
    store.close()


def main() -> int:
    """Run and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--random", type=int, default=100)
    flags = parser.parse_args()
    wrong = 0
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(postgres(home)) if flags.postgres else ""
        here = stack.enter_context(field_of(load(home=home / "home", database=database), home / "ground"))
        instants = {way: here.undisturbed(way) for way in WAYS}
        for way, seen in instants.items():
            wrong += _tell(f"killed, {way}", ((at, here.kill(way, number)) for number, at in enumerate(seen)))
            paused = [(number, at) for number, at in enumerate(seen) if pausable(at)]
            wrong += _tell(f"paused, {way}", ((at, here.pause(way, number)) for number, at in paused))
        wrong += _tell("killed up to three times", _at_random(here, instants, flags.random))
    return 1 if wrong else 0


def _at_random(
    here: Field, instants: dict[Way, list[str]], times: int, seed: int = 0
) -> Iterator[tuple[str, list[str]]]:
    chance = random.Random(seed)
    for _ in range(times):
        way = chance.choice(WAYS)
        numbers = [chance.randrange(len(instants[way]) // (1 + turn)) for turn in range(3)]
        yield f"{way} {numbers}", here.kill(way, *numbers)


def _tell(name: str, killed: Iterator[tuple[str, list[str]]]) -> int:
    """Print how many kills there were and what they left wrong; gives how many left anything."""
    found = list(killed)
    bad = [(at, faults) for at, faults in found if faults]
    print(f"{name:40}{len(found):>6,} times{len(bad):>6,} wrong")
    for at, faults in bad:
        print(f"  {at}")
        for fault in faults:
            print(f"    {fault}")
    return len(bad)


if __name__ == "__main__":
    sys.exit(main())
