"""What an operation must have left, wherever its process was killed: `examine` says what is wrong."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import orjson
from sqlalchemy import select

from benchmarks import crash
from lastgood.db import tables as t
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.history import channels, workflows
from lastgood.release import flow, journal
from lastgood.release.journal import Operation

Way = Literal["forward", "undone", "taken back"]
STATES: dict[Way, journal.State] = {"forward": "succeeded", "undone": "undone", "taken back": "undone"}
HOOKS = ("pre-hook", "post-hook")
_ONCE = ("plan", *(name for name in flow.ALL if name not in flow.OUTSIDE))

Journal = Sequence[tuple[str, str]]  # the steps in order, each with its state


@dataclass(frozen=True, slots=True)
class Ground:
    """Where the effects of operations can be counted: the directories of the hooks and of the file listener."""

    folder: Path

    @property
    def effects(self) -> Path:
        """A directory for each key that a hook ran with, with a line in ``effect`` for each time it took effect."""
        return self.folder / "effects"

    @property
    def runs(self) -> Path:
        """A file for each key that a hook ran with, with a line for each run."""
        return self.folder / "runs"

    @property
    def files(self) -> Path:
        """What the file listener keeps."""
        return self.folder / "files"

    def kept(self) -> dict[str, str]:
        """The texts of the file listener's files by name."""
        return {one.name: one.read_text() for one in self.files.iterdir()}


def steps_of(operation: Operation) -> list[tuple[str, str]]:
    """The journal in short."""
    return [(step.name, step.state) for step in operation.steps.values()]


def examine(store: Store, ground: Ground, id: str, way: Way, wanted: Journal, *, last: bool = True) -> list[str]:
    """What is wrong after the operation `id`, which was to go `way` and to journal what `wanted` has; empty where all
    is well. With `last`, look into the database's file too."""
    with store.read() as tx:
        operation = journal.find(tx, id)
        (workflow,) = workflows.listing(tx)
        channel = channels.get(tx, workflow)
        log = channels.moves(tx, workflow, limit=1_000_000)[::-1]
        checks = {
            **_state(tx, operation, way),
            **_journal(operation, wanted),
            **_moves(operation, way, [move for move in log if move.operation == id]),
            **_records(tx, operation, way),
        }
    (planned,) = operation.plan.moves
    target = planned.to_version if way == "forward" else planned.from_version
    checks[f"the channel points to {channel.version}, not {target}"] = channel.version == target
    for name in HOOKS:
        checks |= _hook(ground, operation, name)
    checks |= _files(ground, operation, log, channel.version)
    return crash.examine(store, last=last) + [fault for fault, holds in checks.items() if not holds]


def _state(tx: Tx, operation: Operation, way: Way) -> dict[str, bool]:
    row = tx.connection.execute(select(t.operation).where(t.operation.c.id == operation.id)).one()
    return {
        f"the operation is {operation.state}": operation.state == STATES[way],
        "the operation is still claimed": (row.owner, row.lease_until_ms) == (None, 0),
        "the operation has no end": operation.ended_at is not None and operation.ended_at >= operation.created_at,
        "the report does not speak of the operation": operation.id in operation.report and bool(operation.summary),
        "an operation that is over waits for somebody": operation.id not in journal.waiting(tx),
    }


def _journal(operation: Operation, wanted: Journal) -> dict[str, bool]:
    steps = list(operation.steps.values())
    return {
        f"the journal says {steps_of(operation)}": steps_of(operation) == list(wanted),
        "a step ended before it began": all(one.ended_at and one.began_at <= one.ended_at for one in steps),
        "a step began before the one before it ended": all(
            (a.ended_at or "") <= b.began_at for a, b in pairwise(steps)
        ),
        "a step has no duration": all(one.elapsed_ms is not None and one.elapsed_ms >= 0 for one in steps),
        "an effect in the store was tried twice": all(
            one.attempts == 1 if one.name in _ONCE else one.attempts >= 1 for one in steps
        ),
    }


def _moves(operation: Operation, way: Way, made: list[channels.Move]) -> dict[str, bool]:
    (planned,) = operation.plan.moves
    before = planned.expected_generation
    wanted: list[tuple[Any, ...]] = [("rollback", planned.from_version, planned.to_version, before + 1)]
    if way != "forward":
        wanted.append(("undo", planned.to_version, planned.from_version, before + 2))
    found = [(one.kind, one.from_id, one.to_id, one.generation) for one in made]
    said = [
        (one["kind"], one["from"], one["to"], one["generation"])
        for name in ("move", "undo")
        if name in operation.steps
        for one in operation.steps[name].detail.get("moves", [])
    ]
    return {
        f"the operation moved {found}": found == wanted,
        f"the journal speaks of the moves {said}": said == wanted,
    }


def _records(tx: Tx, operation: Operation, way: Way) -> dict[str, bool]:
    ended = select(t.outbox.c.payload).where(t.outbox.c.type == "operation.ended").order_by(t.outbox.c.pk)
    rows = tx.connection.execute(ended)
    told = [one["outcome"] for one in (orjson.loads(row.payload) for row in rows) if one["operation"] == operation.id]
    outcomes = {"forward": ["succeeded"], "undone": ["undone"], "taken back": ["succeeded", "undone"]}[way]
    entered = tx.connection.execute(
        select(t.audit.c.canonical).where(t.audit.c.action == f"operation:{operation.kind}")
    ).scalars()
    times = sum(1 for row in entered if orjson.loads(bytes(row)).get("operation") == operation.id)
    asked = tx.connection.execute(
        select(t.audit.c.pk).where(
            t.audit.c.action == "operation:undo", t.audit.c.resource == f"operation/{operation.id}"
        )
    ).all()
    return {
        f"subscribers heard that it {told}": told == outcomes,
        f"it was entered {times} times in the audit log": times == 1,
        f"it was asked {len(asked)} times in the audit log to undo": len(asked) == (way == "taken back"),
    }


def _hook(ground: Ground, operation: Operation, name: str) -> dict[str, bool]:
    """That a hook took effect once for its key, and ran no more often than the journal says it was begun."""
    step = operation.steps.get(name)
    keys = [one.name for one in ground.effects.iterdir() if one.name.startswith(f"{operation.id}_{name}_")]
    effects = [lines(ground.effects / key / "effect") for key in keys]
    runs = sum(lines(ground.runs / key) for key in keys)
    tries = step.attempts if step else 0
    return {
        f"the {name} took effect under the keys {keys}": len(keys) == (step is not None),
        f"the {name} took effect {effects} times": all(count == 1 for count in effects),
        f"the {name} ran {runs} times in {tries} attempts": (runs >= 1) == (tries >= 1) and runs <= tries,
    }


def _files(ground: Ground, operation: Operation, log: list[channels.Move], version: str | None) -> dict[str, bool]:
    """That the file listener keeps the moves of operations, each once and in order."""
    kept = [line.split() for line in (ground.files / "versions.log").read_text().splitlines()]
    found = [(fields[0], int(fields[4].rpartition("@")[2])) for fields in kept]
    wanted = [(move.to_id, move.generation) for move in log if move.operation is not None]
    current = (ground.files / "current_version.txt").read_text()
    keys: Counter[Any] = Counter(fields[5] for fields in kept)
    return {
        "the file listener's log is not the moves": found == wanted,
        "the file listener's log has a key twice": all(count == 1 for count in keys.values()),
        f"the file listener says {current.strip()}": current == f"{version}\n",
    }


def lines(file: Path) -> int:
    """How many lines a file has, none where it is not there."""
    return len(file.read_text().splitlines()) if file.exists() else 0
