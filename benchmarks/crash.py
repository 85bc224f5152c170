"""What is left when a process is killed in the middle of moves.

``uv run python -m benchmarks.crash [--kills 200] [--postgres]``

A process of its own moves a channel back and forth and says which generation each `Store.write` gave it. It is killed
(SIGKILL) at a random moment, the store is opened again and examined, and the next process goes on. Exit code 1 when
anything is torn or an acknowledged move is lost."""

import argparse
import contextlib
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path

import orjson
from sqlalchemy import select, text

from benchmarks.rule3 import ground_of, postgres
from lastgood.db import routing
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store, open_store
from lastgood.db.tx import Tx
from lastgood.history import channels, versions, workflows
from lastgood.settings import Settings, load

_WHO = Principal("mover", "local")
_LONGEST = 0.02  # seconds from a move to the kill: a few moves, wherever that falls in them
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["lastgood.history.channels", "lastgood.db.store", "benchmarks.rule3"])


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many moves were made and acknowledged under so many kills, how many had been made when the process could no
    longer say so, and what was found wrong."""

    kills: int
    moves: int
    acknowledged: int
    unsaid: int
    faults: tuple[str, ...]


def main() -> int:
    """Run and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--postgres", action="store_true")
    flags = parser.parse_args()
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(postgres(home)) if flags.postgres else ""
        outcome = run(load(home=home / "home", database=database), flags.kills)
    print(f"{'kills':40}{outcome.kills:>10,}")
    print(f"{'moves found after them':40}{outcome.moves:>10,}")
    print(f"{'acknowledged':40}{outcome.acknowledged:>10,}")
    print(f"{'made, and killed before saying so':40}{outcome.unsaid:>10,}")
    print(f"{'torn, lost or in disagreement':40}{len(outcome.faults):>10,}")
    for fault in outcome.faults:
        print(f"  {fault}")
    return 1 if outcome.faults else 0


def run(settings: Settings, kills: int, seed: int = 0) -> Outcome:
    """Make a ground in the empty store of `settings`, and kill its mover so many times."""
    chance = random.Random(seed)
    store = open_store(settings)
    ground_of(store, "engine")
    store.close()
    faults: list[str] = []
    acknowledged = generation = 1
    unsaid = 0
    for number in range(kills):
        said = list(_until_killed(settings, chance.uniform(0, _LONGEST)))
        store = open_store(settings)
        _wait_alone(store)
        found = examine(store, last=number == kills - 1)
        with store.read() as tx:
            generation = channels.get(tx, workflows.listing(tx)[0]).generation
        store.close()
        acknowledged += len(said)
        unsaid += generation - said[-1]
        faults += [f"kill {number + 1}: {fault}" for fault in found]
        if not 0 <= generation - said[-1] <= 1:
            faults.append(f"kill {number + 1}: generation {said[-1]} was acknowledged, and {generation} is there")
    return Outcome(kills, generation, acknowledged, unsaid, tuple(faults))


def examine(store: Store, *, last: bool = True) -> list[str]:
    """What is wrong with the only channel, its moves and their records; with `last`, look into the file too."""
    with store.read() as tx:
        (workflow,) = workflows.listing(tx)
        channel = channels.get(tx, workflow)
        pair = {version.id for version in versions.page(tx, workflow)}
        log = channels.moves(tx, workflow, limit=1_000_000)[::-1]
        resource = f"workflow/{workflow.id}/channel/live"
        rows = tx.connection.execute(
            select(t.audit.c.canonical).where(t.audit.c.resource == resource).order_by(t.audit.c.pk)
        )
        facts = [orjson.loads(bytes(row.canonical)) for row in rows]
        audited = [one["generation"] for one in facts if "generation" in one]  # operations are entered here, too
        told = tx.connection.execute(
            select(t.outbox.c.payload).where(t.outbox.c.type == "channel.moved").order_by(t.outbox.c.pk)
        )
        events = [orjson.loads(row.payload)["generation"] for row in told]
        told_at = tx.connection.execute(select(t.channel.c.revision)).scalar_one()
        heard_at = routing.current(tx)
        sound = tx.postgres or not last or tx.connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
    generations = list(range(1, channel.generation + 1))
    checks = {
        f"the channel points to {channel.version}": channel.version in pair,
        "the moves have a gap": [move.generation for move in log] == generations,
        "a move does not begin where the one before ended": all(b.from_id == a.to_id for a, b in pairwise(log)),
        "the last move is not where the channel is": bool(log) and log[-1].to_id == channel.version,
        "the audit rows are not the moves": audited == generations,
        "the events are not the moves": events == generations,
        "the gateway would not hear of the last move": told_at == heard_at,
        "the file is damaged": sound,
    }
    return [fault for fault, holds in checks.items() if not holds]


def _until_killed(settings: Settings, seconds: float) -> Iterator[int]:
    """The generations that a mover acknowledged before it was killed, `seconds` after the first."""
    receiving, sending = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_move_for_ever, args=(settings, sending), daemon=True)
    process.start()
    sending.close()
    yield _number(receiving.recv_bytes())
    time.sleep(seconds)
    process.kill()
    process.join()
    with contextlib.suppress(EOFError, OSError):  # the last message may be torn, too
        while True:
            yield _number(receiving.recv_bytes())


def _move_for_ever(settings: Settings, sending: Connection) -> None:
    store = open_store(settings)

    def work(tx: Tx) -> int:
        (workflow,) = workflows.listing(tx)
        channel = channels.get(tx, workflow)
        to = versions.page(tx, workflow)[channel.generation % 2]
        return channels.move(tx, _WHO, workflow, channel, to, expected=channel.generation, kind="publish")

    while True:
        sending.send_bytes(store.write(work).to_bytes(8))


def _number(message: bytes) -> int:
    return int.from_bytes(message)


def _wait_alone(store: Store) -> None:
    """On PostgreSQL the server ends a killed client's transaction a moment later."""
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    while store.postgres:
        with store.engine.connect() as connection:
            if connection.execute(others).scalar_one() == 0:
                return
        time.sleep(0.002)


if __name__ == "__main__":
    sys.exit(main())
