"""Editors in Dify and one of us, in any order, with processes that die; and what must hold in every state."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from dify.ground import PLAIN, SECRET, TALK, Ground, Moment, two, variables
from dify_server.calls import Request
from dify_server.rows import HIDDEN, MASK, Row
from lastgood import dsl
from lastgood.errors import LastgoodError, NotAsMeant
from lastgood.history import channels, drafts, placements, versions, workflows
from lastgood.release import converging, journal, operation
from lastgood.release.placing import database, looking, redraft, standing
from support.scene import ALICE

from .test_crashes import Instants, Killed, let_others_claim

WAYS = st.sampled_from(["publish", "restore", "route", "database"])
EDITS = ("secret", "plain", "graph", "talk", "features", "no secret", "publish")
EDIT = st.sampled_from(EDITS)
# Before which request of an operation an editor saves and what, in half of them; after which request or transaction
# its process dies, in a third of them. All of them alike likely, which a range of integers would not be.
_RACES = [(nth, edit) for nth in range(1, 31) for edit in (*EDITS[:3], *EDITS)]
RACE = st.sampled_from([None] * len(_RACES) + _RACES)
DEATH = st.sampled_from([None] * 90 + list(range(45)))
AGAIN = st.sampled_from([None] * 45 + list(range(45)))  # the next process may die too
LOST = st.sampled_from(["", "", "", "POST /workflows/draft", "POST /workflows/publish"])


def whole(graph: Any, features: Any, environment: Any, talk: Any, secrets: Mapping[str, str] | None) -> bytes:
    """All that a draft or version says; without `secrets`, their values aside."""
    values = {
        one["name"]: one.get("value") if one["value_type"] != "secret" else (secrets or {}).get(one["name"], "")
        for one in environment
    }
    return dsl.canonical([graph, features, values, {one["name"]: one.get("value") for one in talk}])


def of_row(row: Row, *, bare: bool = False) -> bytes:
    given = {one["name"]: one["value"] for one in row.environment_variables if one["value_type"] == "secret"}
    return whole(
        row.graph, row.features, row.environment_variables, row.conversation_variables, None if bare else given
    )


def of_document(document: dsl.Document, secrets: Mapping[str, str] | None) -> bytes:
    return whole(
        document.graph, document.features, document.environment_variables, document.conversation_variables, secrets
    )


@dataclass
class Read:
    """A state of the draft, and what of it ever came to us: all but its secrets, and those."""

    row: Row
    content: bool = False
    secrets: bool = False


class Eyes:
    """Sees, at the stand-in, what answers told us of drafts and what we wrote over."""

    def __init__(self, here: Ground) -> None:
        self.here = here
        self.read: dict[int, Read] = {}
        self.written_over: list[Read] = []
        handled = here.dify._handled

        def watched(request: Request) -> Any:
            before = here.fake.draft
            answer = handled(request)
            if before is not None and request.path.startswith(f"/console/api/apps/{here.fake.id}/"):
                self._saw(request, before)
            return answer

        here.dify._handled = watched  # type: ignore[method-assign]

    def forget(self) -> None:
        self.read.clear()
        self.written_over.clear()

    def _saw(self, request: Request, before: Row) -> None:
        of = self.read.setdefault(id(before), Read(before))
        if (request.method, request.path.rsplit("/", 1)[1]) == ("GET", "draft"):
            of.content = True
        elif request.path.endswith("/export") and not request.query.get("workflow_id"):
            of.secrets = True
        elif self.here.fake.draft is not before:
            self.written_over.append(of)


class Office(RuleBasedStateMachine):
    """Editors, and one of us. `here`, `start` and `eyes` are given by `play`."""

    here: Ground
    start: Moment
    eyes: Eyes

    def __init__(self) -> None:
        super().__init__()
        self.here.go_back(self.start)
        self.here.dify.faults.clear()
        self.eyes.forget()
        self.instants = Instants()
        self.number = 0
        self.last: str | None = None
        self.kept: dict[str, tuple[bytes, bytes]] = {}

    # somebody in Dify

    @rule(edit=EDIT)
    def an_editor_is_at_it(self, edit: str) -> None:
        self.edit(edit)

    def edit(self, what: str) -> None:
        """One autosave that is like no other, or a publish."""
        here, world = self.here, self.here.dify.world
        self.number += 1
        draft, new = here.fake.draft, f"{what} {self.number}"
        assert draft is not None
        kept = [one for one in draft.environment_variables if one["value_type"] != "secret"]
        secret = [one for one in draft.environment_variables if one["value_type"] == "secret"]
        match what:
            case "graph":
                world.editor_saves(here.fake, two(new), environment=variables(new) if not secret else None)
            case "plain":
                world.editor_saves(here.fake, environment=[*secret, {**PLAIN[0], "value": new}])
            case "secret":
                world.editor_saves(here.fake, environment=[{**SECRET[0], "value": new}, *kept])
            case "no secret":
                world.editor_saves(here.fake, environment=kept)
            case "talk":
                world.editor_saves(here.fake, conversation=[{**TALK[0], "value": self.number}])
            case "features":
                world.editor_saves(here.fake, features={**draft.features, "opening_statement": new})
            case _:
                world.somebody_publishes(here.fake)

    # one of us

    @rule(way=WAYS)
    def choose_a_way(self, way: Any) -> None:
        self.here.set_way(way)

    @rule(
        data=st.data(), kind=st.sampled_from(["rollback", "publish"]), race=RACE, death=DEATH, again=AGAIN, lost=LOST
    )
    def move(self, data: Any, kind: Any, race: Any, death: Any, again: Any, lost: str) -> None:
        with self.here.store.read() as tx:
            workflow = workflows.by_pk(tx, self.here.app.workflow_pk)
            known = [one.id for one in versions.page(tx, workflow, limit=50)]
        self.go(kind, data.draw(st.sampled_from(known)), race, death, lost, again)

    @rule(edit=EDIT, first=RACE, then=RACE, death=DEATH)
    def two_in_a_row(self, edit: str, first: Any, then: Any, death: Any) -> None:
        """Versions of different secrets, one after the other, over a draft of a third one."""
        self.edit(edit)
        self.go("rollback", self.here.good, first, None, "")
        self.go("rollback", self.here.bad, then, death, "")

    @rule(edit=st.sampled_from(EDITS[:-1]), nth=st.integers(1, 14), way=st.sampled_from(["publish", "restore"]))
    def while_we_read_and_write(self, edit: str, nth: int, way: Any) -> None:
        """An editor saves, variables alone too, between the requests that read the draft, keep it and write it."""
        self.here.set_way(way)
        live = self.here.placed(self.here.fake.live)
        self.go("rollback", self.here.good if live != self.here.good else self.here.bad, (nth, edit), None, "")

    @rule()
    def watch(self) -> None:
        """The watch reads what is new."""
        self.here.capture()

    @rule(race=RACE, death=DEATH, lost=LOST)
    def heal(self, race: Any, death: Any, lost: str) -> None:
        self.go("heal", None, race, death, lost)

    @rule(race=RACE, death=DEATH)
    def converge(self, race: Any, death: Any) -> None:
        with self.here.store.read() as tx:
            waiting = standing.to_converge(tx)
        for app in waiting:
            with suppress(LastgoodError):
                entered = converging.enter(self.here.means, ALICE, app, "converge")
                if entered is not None:
                    self.do(entered.id, race, death, "")

    @precondition(lambda self: self.last is not None)
    @rule(race=RACE, death=DEATH, lost=LOST)
    def undo(self, race: Any, death: Any, lost: str) -> None:
        id = self.last
        assert id is not None
        try:
            self.here.store.write(lambda tx: journal.ask(tx, ALICE, id, "undo"))
        except LastgoodError:
            return
        self.do(id, race, death, lost, undo=True)

    @rule(data=st.data())
    def restore_a_draft(self, data: Any) -> None:
        known = self.here.draft_ids()
        if known:
            with suppress(LastgoodError):
                redraft.restore(self.here.means, ALICE, self.here.workflow, data.draw(st.sampled_from(known)))

    def go(self, kind: Any, to: str | None, race: Any, death: Any, lost: str, again: Any = None) -> None:
        try:
            id = self.here.enter(kind, to, force=kind == "rollback")
        except LastgoodError:
            return  # refused, and nothing was done
        self.do(id, race, death, lost, again=again)

    def do(
        self, id: str, race: Any, death: int | None, lost: str, *, undo: bool = False, again: int | None = None
    ) -> None:
        """Run an operation; where its process dies, another ends it, which may die `again`."""
        here, faults = self.here, self.here.dify.faults
        assert here.fake.draft is not None
        before, live = of_row(here.fake.draft), here.fake.live
        if race is not None:
            nth, edit = race
            faults.before("", lambda: self.edit(edit), nth=nth)
        if lost:
            faults.drop(lost)
        self.last = id
        try:
            with self.instants.watched(death):
                operation.run(here.means, id)
        except Killed:
            self.rows_are_those_of_moves(unfinished=True)
            with suppress(Killed, LastgoodError):
                let_others_claim(here.store)
                with self.instants.watched(again):
                    operation.run(here.means, id)
            let_others_claim(here.store)
            with suppress(LastgoodError):  # it was over
                operation.run(here.means, id)
        except LastgoodError:
            assert undo  # it had come to its end by itself
        faults.clear()
        if race is None:
            with here.store.read() as tx:
                done = journal.find(tx, id)
            assert done.state == ("undone" if undo else "succeeded") or live is None, done.report
            assert of_row(here.fake.draft) == before, done.report

    # what holds in every state

    @invariant()
    def nothing_that_was_read_is_lost(self) -> None:
        """What we wrote over is in history, as far as it ever came to us."""
        self.look_at_history()
        contents = {one for one, _ in self.kept.values()}
        wholes = {one for _, one in self.kept.values()}
        for one in self.eyes.written_over:
            if one.content:
                assert of_row(one.row, bare=True) in contents
            if one.content and one.secrets:
                assert of_row(one.row) in wholes
        self.eyes.forget()

    def look_at_history(self) -> None:
        with self.here.store.read() as tx:
            workflow = workflows.by_pk(tx, self.here.app.workflow_pk)
            states = {one.id: one for one in drafts.listing(tx, workflow, 1000)}
            all = {one.id: one for one in versions.page(tx, workflow, limit=1000)}
            assert self.kept.keys() <= states.keys() | all.keys()  # none is ever let go
            for id, state in states.items():
                if id not in self.kept:
                    document = drafts.document_of(tx, state)
                    self.kept[id] = of_document(document, None), of_document(document, drafts.secrets_of(tx, state))
            for id, version in all.items():
                if id not in self.kept:
                    document = versions.document_of(tx, version)
                    secrets = versions.secrets_of(tx, version)
                    self.kept[id] = of_document(document, None), of_document(document, secrets)

    @invariant()
    def no_operation_is_left_behind(self) -> None:
        with self.here.store.read() as tx:
            assert [one.id for one in journal.listing(tx, limit=500) if not one.over] == []
        assert self.here.channel.applying is None

    @invariant()
    def what_is_live_is_what_the_channel_says_or_the_status_says_otherwise(self) -> None:
        here = self.here
        looking.look(here.means, here.app)  # as the watch does, within seconds
        stands = here.stands()
        live = here.placed(here.fake.live)
        assert live is not None
        assert here.fake.live is not None
        assert (stands == "in step") == (live == here.channel.version)
        assert stands in ("in step", "ahead", "drifted", "converging")
        if stands == "in step":
            self.look_at_history()
            assert of_row(here.fake.live) == self.kept[here.channel.version or ""][1]

    @invariant()
    def every_row_is_what_its_version_says(self) -> None:
        """Whatever was published by whom: history has it, with its secrets."""
        self.look_at_history()
        with self.here.store.read() as tx:
            held = {one.placed_id: one.version for one in placements.listing(tx, self.here.app)}
        for row in self.here.fake.versions:
            if row.id in held:  # else nobody looked while it was live
                assert of_row(row) == self.kept[held[row.id]][1]

    @invariant()
    def no_mask_is_stored_for_a_secret(self) -> None:
        for row in self.here.fake.rows:
            for one in row.environment_variables:
                assert one["value_type"] != "secret" or one["value"] not in (MASK, HIDDEN, "")

    @invariant()
    def rows_are_those_of_moves(self, unfinished: bool = False) -> None:
        """A row is known as an operation's from the move on, and not before; and none is published twice."""
        marks = [" ".join(row.marked_comment.split()[:3]) for row in self.here.fake.versions]
        ours = [one for one in marks if one.startswith("lastgood op-")]
        assert len(ours) == len(set(ours))
        with self.here.store.read() as tx:
            workflow = workflows.by_pk(tx, self.here.app.workflow_pk)
            moved = {one.operation for one in channels.moves(tx, workflow, limit=1000)}
            held_by = {one.placed_id: one.operation for one in placements.listing(tx, self.here.app)}
            for row in self.here.fake.versions:
                if row.marked_comment.startswith("lastgood op-"):
                    done = journal.find(tx, row.marked_comment.split()[1])
                    for back, move in (("read-back", "move"), ("undo-read-back", "undo")):
                        if move in done.steps and done.steps[move].state == "done":
                            made = done.steps[back].detail if back in done.steps else {}
                            assert made.get("row") != row.id or held_by.get(row.id) == done.id
            for held in placements.listing(tx, self.here.app):
                if held.operation is not None and held.operation not in moved:
                    # To heal or converge, no pointer is moved; what they have not come to yet is not theirs.
                    done = journal.find(tx, held.operation)
                    assert done.kind in ("heal", "converge")
                    assert "move" in done.steps
                    assert done.steps["move"].state == "done"


def play(here: Ground, examples: int, steps: int, *, start: Moment, eyes: Eyes, **more: Any) -> None:
    """Play it on `here`, from `start` each time. The way `database` moves the stand-in's pointer, as an `UPDATE` in
    Dify's database would."""

    def switch(url: str, app: str, *, before: str, after: str, **_: Any) -> None:
        with here.dify.world.lock:
            assert here.fake.live is not None
            if here.fake.live.id == before:
                here.fake.pointer = after
            elif here.fake.live.id != after:
                raise NotAsMeant(server="", app=app, version="", what="its pointer is elsewhere", workflow="")

    office = type("Office", (Office,), {"here": here, "start": start, "eyes": eyes})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "url_of", lambda *_: "postgresql://there")
        patch.setattr(database, "switch", switch)
        run_state_machine_as_test(
            office,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                derandomize="LASTGOOD_EXAMPLES" not in os.environ,
                suppress_health_check=list(HealthCheck),
                print_blob=False,
                database=None,
                **more,
            ),
        )
