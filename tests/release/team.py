"""Several people at one store, and a small model that says what each act must do and what is there after it."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from lastgood import dsl
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import open_store
from lastgood.db.tx import Tx
from lastgood.errors import (
    AlreadyActive,
    ChannelMoved,
    Denied,
    EngineMissing,
    FailedVersion,
    InvalidRequest,
    LastgoodError,
    NothingGood,
    NothingLive,
    OperationOver,
    PlanRefused,
    PlanVoid,
    UnknownChannel,
)
from lastgood.history import channels, keys, retention, routes, versions
from lastgood.history.states import State
from lastgood.release import journal, moves, operation, planning
from lastgood.release.means import Means
from lastgood.release.plan import Plan
from lastgood.release.planning import Wanted
from lastgood.release.verification import Upstream
from support.documents import document
from support.scene import ALICE, BOB, NOBODY, Scene, scene
from support.stores import clean_settings, copy_sqlite

SLUGS = ("greet", "orders")
SECRET = "s3cr3t-value-"
WHO = st.sampled_from((ALICE, BOB, NOBODY))
PICK = st.integers(0, 7)
SLUG = st.sampled_from(("greet", "greet", "greet", "orders"))
CHANNEL = st.sampled_from(("live", "live", "live", "staging"))
STALE = st.sampled_from((0, 0, 0, 0, 0, 0, 0, 1))
REASON = st.sampled_from(("", "because"))
Refusals = set[type[LastgoodError]]


@dataclass
class Known:
    """A version as it must be. `proven` is when it was last said to be stable."""

    id: str
    digest: str
    content: bytes
    secret: str
    state: State = "candidate"
    pinned: bool = False
    proven: int = -1


@dataclass
class Pointer:
    """A channel as it must be. `left` is when a rollback last left a version."""

    version: str | None = None
    generation: int = 0
    served: set[str] = field(default_factory=set)
    left: dict[str, int] = field(default_factory=dict)


@dataclass
class Done:
    """An operation that was done: where, from and to what, the generation after it, and whether it was asked back."""

    id: str
    slug: str
    channel: str
    origin: str
    generation: int
    asked: bool = False


@dataclass
class Shown:
    """A plan that was shown: what it is for, and the states on which it rests."""

    plan: Plan
    token: str
    slug: str
    channel: str
    generation: int
    states: tuple[State, State]


class Team(RuleBasedStateMachine):
    """Several people at two workflows of one store."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")
        self.folder = tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)
        home = Path(self.folder.name) / "home"
        copy_sqlite(self.template, home)
        self.store = open_store(clean_settings(home))
        self.scenes: dict[str, Scene] = {slug: scene(self.store, slug) for slug in SLUGS}
        self.means = Means(self.store, _nowhere)
        self.now = 0
        self.versions: dict[str, list[Known]] = {slug: [] for slug in SLUGS}
        self.pointers: dict[tuple[str, str], Pointer] = {}
        self.moves: dict[str, list[tuple[Any, ...]]] = {slug: [] for slug in SLUGS}
        self.audited: list[tuple[str, str, str]] = []
        self.events: list[tuple[str, str, Any]] = []
        self.shown: list[Shown] = []
        self.done: list[Done] = []
        with self.store.read() as tx:
            self.before_audit = len(tx.connection.execute(t.audit.select()).all())
        made = [
            self.store.write(partial(keys.create, who=ALICE, workflow=one.workflow, name="k"))
            for one in self.scenes.values()
        ]
        self.audited += [("alice", "key:create", "allowed")] * len(made)
        self.pointers |= {(slug, "live"): Pointer() for slug in SLUGS}
        self.rows = self.all_rows()
        self.begin()

    def begin(self) -> None:
        """Something to start from: two proven versions, one that is not and one that failed; some were live."""
        for text in "abca":
            self.push("greet", ALICE, text, "x")
        self.push("orders", BOB, "a", "x")
        for pick in range(2):
            self.mark("greet", BOB, pick, "stable")
        self.mark("greet", BOB, 3, "failed")
        for pick in range(3):
            self.rows = self.all_rows()
            self.publish("greet", "live", ALICE, pick, 0, False, "")
        self.rows = self.all_rows()
        self.operate("greet", "live", None, False, "", BOB)
        self.rows = self.all_rows()
        self.plan("greet", "live", None, False, "")

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    # What people do.

    @rule(slug=SLUG, who=WHO, text=st.sampled_from("abc"), secret=st.sampled_from("xy"))
    def push(self, slug: str, who: Principal, text: str, secret: str) -> None:
        pushed = document(text, secrets={"TOKEN": SECRET + secret})
        pushed.data["x-unknown"] = {"kept": text}
        pushed.data["workflow"]["graph"]["nodes"][1]["data"]["x-newer"] = [text, None]
        known = self.versions[slug]
        content = dsl.canonical(dsl.take_secrets(pushed)[0].data)
        same = bool(known) and (known[-1].content, known[-1].secret) == (content, secret)
        given = self.scenes[slug].push(pushed, who)
        assert given.created is not same
        if not same:
            assert given.version.id not in {one.id for some in self.versions.values() for one in some}
            known.append(Known(given.version.id, given.version.digest, content, secret))
            self.note(who, "workflow:push", "version.pushed", slug, given.version.id)

    @rule(slug=SLUG, who=WHO, pick=PICK, state=st.sampled_from(("stable", "stable", "failed", "candidate")))
    def mark(self, slug: str, who: Principal, pick: int, state: State) -> None:
        if known := self.one(slug, pick):
            self.scenes[slug].mark(self.scenes[slug].find(known.id), state, who)
            known.state = state
            if state == "stable":
                known.proven = self.tick()
            self.note(who, "version:mark", "version.state", slug, (known.id, state))

    @rule(slug=SLUG, who=WHO, pick=PICK, how=st.sampled_from(("pin", "unpin", "restore")))
    def keep(self, slug: str, who: Principal, pick: int, how: str) -> None:
        if not (known := self.one(slug, pick)):
            return
        version = self.scenes[slug].find(known.id)
        if how == "restore":
            assert self.store.write(lambda tx: retention.restore(tx, who, version)).archived_at is None
        else:
            self.store.write(lambda tx: versions.set_pinned(tx, who, version, how == "pin"))
        known.pinned = how != "unpin"
        action = "workflow:restore" if how == "restore" else f"version:{how}"
        self.audited.append((who.name, action, "allowed"))

    @rule(slug=SLUG, who=WHO, keep=st.integers(1, 2))
    def archive(self, slug: str, who: Principal, keep: int) -> None:
        gone = self.store.write(lambda tx: retention.archive_old(tx, who, self.scenes[slug].workflow, keep))
        needed = {one.digest for some in self.versions.values() for one in some if one.pinned or self.pointed(one.id)}
        needed |= {one.digest for one in self.versions[slug][-keep:]}
        needed |= {self.known(good).digest for place in self.pointers if (good := self.way_back(*place))}
        assert not needed & {self.known(id).digest for id in gone}
        if gone:
            self.audited.append((who.name, "workflow:archive", "allowed"))

    @rule(
        slug=SLUG, channel=CHANNEL, who=WHO, pick=PICK, stale=STALE, force=st.booleans(),
        reason=REASON,
    )  # fmt: skip
    def publish(
        self, slug: str, channel: str, who: Principal, pick: int, stale: int, force: bool, reason: str
    ) -> None:
        if not (known := self.one(slug, pick)):
            return
        pointer = self.pointers.get((slug, channel), Pointer())
        expected = pointer.generation - stale
        refusals = self.against(pointer, known, who, force=force, reason=reason, stale=stale)

        def work(tx: Tx) -> object:
            workflow = self.scenes[slug].workflow
            common: dict[str, Any] = {"channel": channel, "expected": expected, "reason": reason, "force": force}
            return moves.publish(tx, who, workflow, known.id, **common)

        if self.done_or_refused(lambda: self.store.write(work), refusals):
            self.moved(slug, channel, "publish", known.id, who, None)

    @rule(
        slug=SLUG, channel=CHANNEL, who=WHO, pick=st.none() | PICK, stale=STALE,
        force=st.booleans(), reason=REASON,
    )  # fmt: skip
    def roll_back(
        self, slug: str, channel: str, who: Principal, pick: int | None, stale: int, force: bool, reason: str
    ) -> None:
        pointer = self.pointers.get((slug, channel), Pointer())
        target = self.target(slug, channel, pick)
        refusals = self.against(pointer, target, who, force=force, reason=reason, stale=stale)
        refusals |= self.no_way(slug, channel, target)

        def work(tx: Tx) -> moves.Moved:
            workflow = self.scenes[slug].workflow
            common: dict[str, Any] = {"expected": pointer.generation - stale, "reason": reason, "force": force}
            to = target.id if pick is not None and target else None
            return moves.rollback(tx, who, workflow, to=to, channel=channel, **common)

        if pick is not None and target is None:
            return
        if self.done_or_refused(lambda: self.store.write(work), refusals):
            assert target
            self.moved(slug, channel, "rollback", target.id, who, None)

    @rule(slug=SLUG, channel=CHANNEL, pick=st.none() | PICK, force=st.booleans(), reason=REASON)
    def plan(self, slug: str, channel: str, pick: int | None, force: bool, reason: str) -> None:
        target = self.target(slug, channel, pick)
        if pick is not None and target is None:
            return
        pointer = self.pointers.get((slug, channel), Pointer())
        refusals = self.no_way(slug, channel, target)
        if target and target.id == pointer.version:
            refusals.add(AlreadyActive)
        draft = Plan("rollback", (), verify=False, force=force, reason=reason, listeners=(), data_checks=())
        wanted = [Wanted(slug, channel, target.id if pick is not None and target else None)]
        made: list[Plan] = []
        if not self.done_or_refused(
            lambda: made.append(planning.make(self.means, "rollback", wanted, draft)), refusals
        ):
            return
        assert self.all_rows() == self.rows, "a plan changed something"
        assert target and made[0].moves[0].to_version == target.id
        assert (made[0].verdict == "refuse") == (target.state == "failed" and not force)
        token = planning.confirmation(self.means, made[0])
        states = self.states(slug, channel, target.id)
        self.shown.append(Shown(made[0], token, slug, channel, pointer.generation, states))

    @precondition(lambda self: self.shown)
    @rule(pick=PICK, who=WHO, forged=st.sampled_from((False,) * 7 + (True,)))
    def accept(self, pick: int, who: Principal, forged: bool) -> None:
        shown = self.shown[pick % len(self.shown)]
        (planned,) = shown.plan.moves
        pointer = self.pointers[shown.slug, shown.channel]
        target = self.known(planned.to_version)
        may: Refusals = set()
        must: Refusals = {PlanVoid} if forged else set()
        if pointer.generation != shown.generation:
            must |= {ChannelMoved, AlreadyActive, NothingLive, PlanVoid}
        if self.states(shown.slug, shown.channel, target.id) != shown.states:
            may.add(PlanVoid)  # the evidence is not what it was
        if target.state == "failed" and not shown.plan.force:
            must |= {PlanRefused, PlanVoid}
        if shown.plan.force and not shown.plan.reason:
            must.add(InvalidRequest)
        denied = shown.plan.force and who is NOBODY
        if denied:
            must.add(Denied)
        plan = replace(shown.plan, reason=shown.plan.reason + "!") if forged else shown.plan
        entered: list[journal.Operation] = []

        def work() -> None:
            entered.append(planning.accept(self.means, who, plan, shown=shown.token))

        if not self.done_or_refused(work, must, may):
            return
        id = entered[0].id
        self.audited.append((who.name, "operation:rollback", "allowed"))
        outcome = operation.run(self.means, id)
        assert outcome.operation.state == "succeeded", outcome.operation.summary
        self.moved(shown.slug, shown.channel, "rollback", target.id, who, id)
        assert planned.from_version
        self.events.append(("operation.ended", shown.slug, "succeeded"))
        self.done.append(Done(id, shown.slug, shown.channel, planned.from_version, pointer.generation))

    @rule(slug=SLUG, channel=CHANNEL, pick=st.none() | PICK, force=st.booleans(), reason=REASON, who=WHO)
    def operate(self, slug: str, channel: str, pick: int | None, force: bool, reason: str, who: Principal) -> None:
        """A plan that is accepted at once."""
        count = len(self.shown)
        self.plan(slug, channel, pick, force, reason)
        if len(self.shown) > count:
            self.rows = self.all_rows()
            self.accept(-1, who, False)

    @precondition(lambda self: self.done)
    @rule(pick=PICK, who=WHO)
    def undo(self, pick: int, who: Principal) -> None:
        fresh = [one for one in self.done if not one.asked]
        some = fresh if fresh and pick else self.done
        done = some[pick % len(some)]
        refusals: Refusals = {OperationOver} if done.asked else set()
        asked = partial(self.store.write, lambda tx: journal.ask(tx, who, done.id, "undo"))
        if not self.done_or_refused(asked, refusals):
            return
        done.asked = True
        self.audited.append((who.name, "operation:undo", "allowed"))
        with self.store.read() as tx:
            first = journal.find(tx, done.id).actor
        after = operation.run(self.means, done.id).operation
        if self.pointers[done.slug, done.channel].generation == done.generation:
            assert after.state == "undone", after.summary
            self.moved(done.slug, done.channel, "undo", done.origin, Principal(first), done.id)
        else:
            assert after.state == "kept" and "could not be taken back" in after.summary
        self.events.append(("operation.ended", done.slug, after.state))

    # What the model says.

    def against(
        self, pointer: Pointer, known: Known | None, who: Principal, *, force: bool, reason: str, stale: int
    ) -> Refusals:
        """Why a move to `known` must be refused."""
        found: Refusals = {ChannelMoved} if stale else set()
        if known and known.id == pointer.version:
            found.add(AlreadyActive)
        if known and known.state == "failed":
            if not force:
                found.add(FailedVersion)
            elif not reason:
                found.add(InvalidRequest)
            elif who is NOBODY:
                found.add(Denied)
        return found

    def no_way(self, slug: str, channel: str, target: Known | None) -> Refusals:
        """Why nothing can be rolled back there."""
        pointer = self.pointers.get((slug, channel))
        if pointer is None:
            return {UnknownChannel}
        if pointer.version is None:
            return {NothingLive}
        return set() if target else {NothingGood}

    def way_back(self, slug: str, channel: str) -> str | None:
        """The last good version: the newest that is proven, is not live, and that no rollback left since; of those
        first one that is older than the live one or was live here."""
        pointer = self.pointers.get((slug, channel), Pointer())
        order = [one.id for one in self.versions[slug]]
        ways = [
            one.id
            for one in self.versions[slug]
            if one.state == "stable" and one.id != pointer.version and pointer.left.get(one.id, -1) < one.proven
        ]
        at = order.index(pointer.version) if pointer.version else len(order)
        behind = [id for id in ways if order.index(id) < at or id in pointer.served]
        return next(reversed(behind or ways), None)

    def target(self, slug: str, channel: str, pick: int | None) -> Known | None:
        if pick is not None:
            return self.one(slug, pick)
        id = self.way_back(slug, channel)
        return self.known(id) if id else None

    def states(self, slug: str, channel: str, target: str) -> tuple[State, State]:
        live = self.pointers[slug, channel].version
        return (self.known(live).state if live else "candidate"), self.known(target).state

    def one(self, slug: str, pick: int) -> Known | None:
        known = self.versions[slug]
        return known[pick % len(known)] if known else None

    def known(self, id: str) -> Known:
        return next(one for some in self.versions.values() for one in some if one.id == id)

    def pointed(self, id: str) -> bool:
        return any(pointer.version == id for pointer in self.pointers.values())

    def tick(self) -> int:
        self.now += 1
        return self.now

    def note(self, who: Principal, action: str, event: str, slug: str, what: Any) -> None:
        self.audited.append((who.name, action, "allowed"))
        self.events.append((event, slug, what))

    def moved(self, slug: str, channel: str, kind: str, to: str, who: Principal, id: str | None) -> None:
        pointer = self.pointers.setdefault((slug, channel), Pointer())
        if kind == "rollback" and pointer.version:
            pointer.left[pointer.version] = self.tick()
        self.moves[slug].append((channel, pointer.version, to, pointer.generation + 1, kind, who.name, id))
        pointer.version, pointer.generation = to, pointer.generation + 1
        pointer.served.add(to)
        self.note(who, f"workflow:{kind}", "channel.moved", slug, (channel, to, pointer.generation))

    def done_or_refused(self, act: Callable[[], object], must: Refusals, may: Refusals | None = None) -> bool:
        """Whether `act` was done. It must be refused for one of `must`, if there are any, and may be for one of
        `may`; then nothing has changed."""
        try:
            act()
        except LastgoodError as error:
            assert type(error) in must | (may or set()), f"refused: {error!r}"
            assert str(error).endswith((".", "…", "?", ")")), "a sentence"
            rows = self.all_rows()
            if isinstance(error, Denied):
                *rows["audit"], last = rows["audit"]
                if rows["audit"] != self.rows["audit"]:
                    rows["audit"].append(last)
                else:
                    self.audited.append((error.data["actor"], error.data["action"], "denied"))
            assert rows == self.rows, "something was half-written"
            return False
        assert not must, f"should have been refused for one of {must}"
        return True

    # What must hold in every state.

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        with self.store.read() as tx:
            for slug in SLUGS:
                self.check_workflow(tx, slug)
            self.check_records(tx)
            self.check_routes(tx)
        self.rows = self.all_rows()
        assert SECRET not in repr(self.rows), "a secret lies open"

    def check_workflow(self, tx: Tx, slug: str) -> None:
        workflow = self.scenes[slug].workflow
        found = versions.page(tx, workflow, limit=500)[::-1]
        wanted = [(one.id, one.digest, one.state, one.pinned) for one in self.versions[slug]]
        assert [(one.id, one.digest, one.state, one.pinned) for one in found] == wanted
        for version, known in zip(found, self.versions[slug], strict=True):
            assert dsl.canonical(versions.document_of(tx, version).data) == known.content, "a version changed"
            assert versions.secrets_of(tx, version) == {"TOKEN": SECRET + known.secret}
            assert not (version.channels and version.archived_at), "what is live is archived"
        here = {name: pointer for (owner, name), pointer in self.pointers.items() if owner == slug}
        pointing = channels.listing(tx, workflow)
        assert {one.name: (one.version, one.generation) for one in pointing} == {
            name: (pointer.version, pointer.generation) for name, pointer in here.items()
        }
        for channel in pointing:
            good = channels.last_good(tx, workflow, channel)
            assert (good.id if good else None) == self.way_back(slug, channel.name)
        log = channels.moves(tx, workflow, limit=10_000)[::-1]
        assert [
            (one.channel, one.from_id, one.to_id, one.generation, one.kind, one.actor, one.operation) for one in log
        ] == self.moves[slug]

    def check_records(self, tx: Tx) -> None:
        rows = tx.connection.execute(t.audit.select().order_by(t.audit.c.pk)).all()[self.before_audit :]
        found = [(row.actor, row.action, row.result) for row in rows if row.action != "version:tag"]
        assert found == self.audited
        events = tx.connection.execute(t.outbox.select().order_by(t.outbox.c.pk)).all()
        assert [self.event(row) for row in events] == self.events
        assert journal.waiting(tx) == []

    def event(self, row: Any) -> tuple[str, str, Any]:
        told = orjson.loads(row.payload)
        slug = next(slug for slug, one in self.scenes.items() if one.workflow.id == row.subject)
        what: dict[str, Callable[[], Any]] = {
            "version.pushed": lambda: told["version"],
            "version.state": lambda: (told["version"], told["to"]),
            "channel.moved": lambda: (told["channel"], told["after"], told["generation"]),
            "operation.ended": lambda: told["outcome"],
        }
        return row.type, slug, what[row.type]()

    def check_routes(self, tx: Tx) -> None:
        """That a request that begins now goes where the channel points."""
        seen = routes.read_changes(tx.connection, 0).keys.values()
        assert {route.slug: (route.version_id, route.generation) for route in seen if route} == {
            slug: (self.pointers[slug, "live"].version, self.pointers[slug, "live"].generation) for slug in SLUGS
        }

    def all_rows(self) -> dict[str, list[str]]:
        with self.store.read() as tx:
            return {
                table.name: [repr(row) for row in tx.connection.execute(table.select())]
                for table in t.metadata.sorted_tables
            }


def _nowhere() -> Upstream:
    raise EngineMissing()


def play(template: Path, examples: int, steps: int, **more: Any) -> None:
    class Here(Team):
        pass

    Here.template = template
    found = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )
    run_state_machine_as_test(Here, settings=found)
