"""What a decision costs with 10,000 users, 1,000 roles and 110,000 grants, beside casbin on the same set; and how
soon every process knows of a change.

``uv run python -m benchmarks.decisions [--users 10000] [--checks 100000] [--casbin 50] [--rounds 200]``: it fills a
store, asks for random users, actions and workflows, and compares casbin's answers with ours. Then it grants and
revokes, and each process says when its first decision saw it: on SQLite, and on a PostgreSQL server of its own.
Decisions are timed by the clock of the processor too, because others use it meanwhile.

casbin comes with the development group (``uv sync``); nothing else uses it."""

import argparse
import gc
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import batched
from multiprocessing.connection import Connection
from pathlib import Path

import casbin  # type: ignore[import-untyped]
from sqlalchemy import insert

from benchmarks.rule3 import postgres
from lastgood.access import decisions, grants
from lastgood.access.grants import Grant
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import open_store
from lastgood.db.tx import Tx
from lastgood.settings import Settings, load

_WHO = Principal("benchmark", "local")
_CONTEXT = multiprocessing.get_context("spawn")
_ACTIONS = ("read", "push", "publish", "rollback", "mark", "plan", "promote", "verify", "archive", "rehearse")
_TEAMS, _EACH = 200, 11
_MODEL = """
[request_definition]
r = sub, act, obj
[policy_definition]
p = sub, act, obj, eft
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = r.act == p.act && keyMatch(r.obj, p.obj) && g(r.sub, p.sub)
"""
type Rules = list[tuple[str, str, str]]  # effect, action, on what


def main() -> int:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--roles", type=int, default=1000)
    parser.add_argument("--checks", type=int, default=100_000)
    parser.add_argument("--casbin", type=int, default=50, help="checks by casbin; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--processes", type=int, default=4)
    flags = parser.parse_args()
    dice = random.Random(6)
    roles = {f"r{number}": _rules(dice) for number in range(flags.roles)}
    held = [(f"u{user}", role) for user in range(flags.users) for role in dice.sample(list(roles), _EACH)]
    asked = [_question(dice, flags.users) for _ in range(flags.checks)]
    print(f"{flags.users:,} users, {len(roles):,} roles, {len(held):,} grants; {flags.checks:,} checks")
    print(f"{'':44}{'p50 µs':>9}{'p99 µs':>9}{'load s':>8}{'MB':>7}{'allowed':>9}")
    answers = _ours("granted on everything", roles, [(user, role, "*") for user, role in held], asked)
    scoped = [(user, role, f"workflow:team-{dice.randrange(_TEAMS)}-*") for user, role in held]
    _ours("granted on workflow:team-N-*", roles, scoped, asked)
    if flags.casbin:
        _theirs(roles, held, asked[: flags.casbin], answers)
    for name, place in (("SQLite", _sqlite), ("PostgreSQL", _postgres)):
        with place() as settings:
            _seen(name, settings, flags.processes, flags.rounds)
    return 0


def _rules(dice: random.Random) -> Rules:
    """Three rules: two that allow, and often one that denies."""
    made = [("allow", f"workflow:{dice.choice(_ACTIONS)}", f"workflow:team-{dice.randrange(_TEAMS)}-*")]
    made.append(("allow", f"workflow:{dice.choice(_ACTIONS)}", "workflow:*"))
    effect = "deny" if dice.random() < 0.3 else "allow"
    made.append((effect, f"workflow:{dice.choice(_ACTIONS)}", f"workflow:team-{dice.randrange(_TEAMS)}-*"))
    return made


def _question(dice: random.Random, users: int) -> tuple[str, str, str]:
    action, team = dice.choice(_ACTIONS), dice.randrange(_TEAMS)
    return f"u{dice.randrange(users)}", f"workflow:{action}", f"workflow:team-{team}-{dice.randrange(50)}"


def _ours(
    name: str, roles: dict[str, Rules], held: list[tuple[str, str, str]], asked: Sequence[tuple[str, str, str]]
) -> list[bool]:
    """Print what decisions of ours cost, and give the answers."""
    with _sqlite() as settings:
        store = open_store(settings)
        store.write(lambda tx: _fill(tx, roles, held))
        permissions = decisions.permissions(store)
        before = _resident()
        began = time.perf_counter()
        table = permissions.fresh()
        for user in {user for user, _, _ in held}:
            permissions.holder(table, Principal(user))
        loaded = time.perf_counter() - began
        size = _resident() - before
        for role in table.roles.values():
            for action in _ACTIONS:
                role[f"workflow:{action}"]
        holders, took, found = table.holders, [], []
        for user, action, on in asked:
            at = time.perf_counter_ns()
            table.decide(user, holders[user], action, on)
            took.append(time.perf_counter_ns() - at)
        _print(f"ours, {name}: first time", took, loaded, size)
        took = []
        for user, action, on in asked:
            at = time.perf_counter_ns()
            decision = table.decide(user, holders[user], action, on)
            took.append(time.perf_counter_ns() - at)
            found.append(decision.allowed)
        _print("  again", took, allowed=found)
        took, bare = [], []
        for user, action, on in asked:
            at = time.thread_time_ns()
            between = time.thread_time_ns()
            table.decide(user, holders[user], action, on)
            took.append(time.thread_time_ns() - between)
            bare.append(between - at)
        clock = int(_quantile(bare, 0.5))
        _print("  again, time of the processor", [max(0, one - clock) for one in took])
        took = []
        for user, action, on in asked:
            who = Principal(user)
            at = time.perf_counter_ns()
            decisions.check_permission(store, who, action, on)
            took.append(time.perf_counter_ns() - at)
        _print("  with the look at the store's revision", took)
        store.close()
    return found


def _fill(tx: Tx, roles: dict[str, Rules], held: list[tuple[str, str, str]]) -> None:
    """Rows as `roles.create` and `grants.put` write them, many at once."""
    stamp = {"workspace_pk": tx.workspace, "present": True, "changed_at": tx.now, "changed_by": "benchmark"}
    made = [
        {
            **stamp,
            "name": name,
            "description": "",
            "rules": json.dumps([{"effect": e, "actions": [a], "resources": [on]} for e, a, on in rules]),
            "revision": grants.next_revision(tx),
        }
        for name, rules in roles.items()
    ]
    tx.connection.execute(insert(t.role), made)
    revision = grants.next_revision(tx)
    stamp |= {"source": "local", "event_at": 0, "event_place": 0, "expires_at": None, "revision": revision}
    for some in batched(held, 5000):
        rows = [
            {**stamp, "subject": user, "role": role, "resource": on, "bucket": Grant(user, role, on).bucket}
            for user, role, on in some
        ]
        tx.connection.execute(insert(t.grant), rows)


def _theirs(
    roles: dict[str, Rules], held: list[tuple[str, str]], asked: Sequence[tuple[str, str, str]], answers: list[bool]
) -> None:
    """Print what the same costs casbin. Raises `AssertionError` where it answers otherwise."""
    before = _resident()
    began = time.perf_counter()
    model = casbin.Enforcer.new_model(text=_MODEL)
    enforcer = casbin.Enforcer(model)
    enforcer.add_policies([(name, a, on, effect) for name, rules in roles.items() for effect, a, on in set(rules)])
    enforcer.add_grouping_policies([list(pair) for pair in held])
    loaded = time.perf_counter() - began
    size = _resident() - before
    took, found = [], []
    for question in asked:
        at = time.perf_counter_ns()
        found.append(bool(enforcer.enforce(*question)))
        took.append(time.perf_counter_ns() - at)
    _print(f"casbin {version('casbin')}, {len(asked)} checks", took, loaded, size, found)
    assert found == answers[: len(found)], "casbin answers otherwise"


def _resident() -> float:
    """MB that this process has in memory (Linux)."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def _print(
    name: str, took: list[int], loaded: float | None = None, size: float = 0, allowed: list[bool] | None = None
) -> None:
    more = f"{loaded:8.1f}{size:7.0f}" if loaded is not None else f"{'':15}"
    more += f"{sum(allowed) / len(allowed):9.0%}" if allowed else ""
    print(f"{name:44}{_quantile(took, 0.5) / 1000:9.2f}{_quantile(took, 0.99) / 1000:9.2f}{more}", flush=True)


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@contextmanager
def _sqlite() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory() as home:
        yield load(home=Path(home))


@contextmanager
def _postgres() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory() as home, postgres(Path(home)) as url:
        yield load(home=Path(home) / "home", database=url)


def _seen(name: str, settings: Settings, processes: int, rounds: int) -> None:
    """Print how soon after its commit the first decision in each of `processes` saw a change."""
    store = open_store(settings)
    pipes = [_CONTEXT.Pipe() for _ in range(processes)]
    children = [_CONTEXT.Process(target=_look, args=(theirs, settings, rounds)) for _, theirs in pipes]
    for child in children:
        child.start()
    for ours, _ in pipes:
        ours.recv()
    late: list[float] = []
    for number in range(rounds):
        grant = Grant(f"u{number // 2}", "viewer", "workflow:team-*")
        store.write(lambda tx, g=grant, n=number: grants.put(tx, _WHO, g, present=n % 2 == 0))  # type: ignore[misc]
        committed = time.monotonic_ns()
        late += [max(0, ours.recv() - committed) / 1e6 for ours, _ in pipes]
    for child in children:
        child.join(30)
    store.close()
    print(
        f"{name}: a change seen by each of {processes} processes, {rounds} changes: "
        f"p50 {_quantile(late, 0.5):.1f} ms, p99 {_quantile(late, 0.99):.1f} ms, most {max(late):.1f} ms",
        flush=True,
    )


def _look(pipe: Connection, settings: Settings, rounds: int) -> None:
    """Ask again and again, and send the moment at which each change was seen first."""
    store = open_store(settings)
    pipe.send("ready")
    for number in range(rounds):
        who, wanted = Principal(f"u{number // 2}"), number % 2 == 0
        until = time.monotonic() + 30
        while decisions.check_permission(store, who, "workflow:read", "workflow:team-1").allowed is not wanted:
            if time.monotonic() > until:
                raise TimeoutError
            time.sleep(0.0005)
        pipe.send(time.monotonic_ns())
    store.close()


if __name__ == "__main__":
    sys.exit(main())
