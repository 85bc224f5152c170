"""Whatever editors do in Dify, and wherever our processes die: nothing that was read is lost, and what is live is
what the channel says, or the status says otherwise.

`LASTGOOD_EXAMPLES=200 LASTGOOD_STEPS=30 pytest tests/dify/test_any_order_on_dify.py` looks for longer."""

import os
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from dify.ground import PLAIN, TALK, Ground, content, ground, two, variables
from lastgood import dsl
from lastgood.errors import LastgoodError
from lastgood.history import placements, versions, workflows
from lastgood.release import converging, journal, operation
from lastgood.release.placing import looking, redraft, standing
from lastgood.targets.dify import writing
from support.scene import ALICE

from .test_crashes import Instants, Killed, let_others_claim

EXAMPLES, STEPS = int(os.environ.get("LASTGOOD_EXAMPLES", "12")), int(os.environ.get("LASTGOOD_STEPS", "12"))
TEXTS = st.sampled_from(["a", "b", "c", "d"])
WAYS = st.sampled_from(["publish", "restore", "route"])
MOMENTS = ("POST /workflows/draft", "POST /workflows/publish", "GET /workflows/publish")
INSTANTS = st.one_of(st.none(), st.integers(0, 45))


def machine(version: str, template: Path) -> type[RuleBasedStateMachine]:
    class Office(RuleBasedStateMachine):
        """Editors, and one of us."""

        def __init__(self) -> None:
            super().__init__()
            self.stack = ExitStack()
            home = Path(self.stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm"))) / "home"
            self.here: Ground = self.stack.enter_context(ground(version, template, home))
            self.instants = Instants()
            self.read: dict[bytes, Any] = {}  # every state of the draft that was read whole
            self.secrets: set[str] = set()
            self.number = 0
            patch = self.stack.enter_context(pytest.MonkeyPatch.context())
            whole = writing.read_draft

            def remembered(*given: Any) -> Any:
                held = whole(*given)
                if held is not None:
                    self.read[dsl.canonical(held.row.graph)] = held.row.graph
                    self.secrets |= set(held.secrets.values()) - {""}
                return held

            patch.setattr(writing, "read_draft", remembered)

        def teardown(self) -> None:
            self.stack.close()

        # somebody in Dify

        @rule(text=TEXTS, secret=TEXTS)
        def an_editor_saves(self, text: str, secret: str) -> None:
            self.here.dify.world.editor_saves(self.here.fake, two(text), environment=variables(f"secret {secret}"))

        @rule(secret=TEXTS)
        def an_editor_saves_variables_alone(self, secret: str) -> None:
            self.here.dify.world.editor_saves(self.here.fake, environment=variables(f"secret {secret}", "asia"))

        @rule()
        def an_editor_saves_without_the_secret(self) -> None:
            self.here.dify.world.editor_saves(self.here.fake, environment=[PLAIN[0]], conversation=TALK)

        @rule()
        def somebody_publishes(self) -> None:
            self.here.dify.world.somebody_publishes(self.here.fake)

        @rule(text=TEXTS, nth=st.integers(1, 4), match=st.sampled_from(MOMENTS))
        def an_editor_is_about_to_save(self, text: str, nth: int, match: str) -> None:
            """In the middle of the next operation."""
            world, fake = self.here.dify.world, self.here.fake
            self.number += 1
            late = two(f"late {text} {self.number}")
            self.here.dify.faults.before(match, lambda: world.editor_saves(fake, late), nth=nth)

        @rule(match=st.sampled_from(["POST /workflows/draft", "POST /workflows/publish"]), took_effect=st.booleans())
        def a_reply_will_be_lost(self, match: str, took_effect: bool) -> None:
            self.here.dify.faults.drop(match, took_effect=took_effect)

        # one of us

        @rule(way=WAYS)
        def choose_a_way(self, way: Any) -> None:
            self.here.set_way(way)

        @rule(data=st.data(), kind=st.sampled_from(["rollback", "publish"]), at=INSTANTS)
        def move(self, data: Any, kind: Any, at: int | None) -> None:
            with self.here.store.read() as tx:
                workflow = workflows.by_pk(tx, self.here.app.workflow_pk)
                known = [one.id for one in versions.page(tx, workflow, limit=50)]
            to = data.draw(st.sampled_from(known))
            with suppress(LastgoodError):
                self.do(self.here.enter(kind, to, force=kind == "rollback"), at)

        @rule(at=INSTANTS)
        def heal(self, at: int | None) -> None:
            with suppress(LastgoodError):
                self.do(self.here.enter("heal"), at)

        @rule(at=INSTANTS)
        def converge(self, at: int | None) -> None:
            with self.here.store.read() as tx:
                waiting = standing.to_converge(tx)
            for app in waiting:
                with suppress(LastgoodError):
                    entered = converging.enter(self.here.means, ALICE, app, "converge")
                    if entered is not None:
                        self.do(entered.id, at)

        @precondition(lambda self: self.last is not None)
        @rule(at=INSTANTS)
        def undo(self, at: int | None) -> None:
            assert self.last is not None
            with suppress(LastgoodError):
                id = self.last
                self.here.store.write(lambda tx: journal.ask(tx, ALICE, id, "undo"))
                self.do(id, at)

        @rule(data=st.data())
        def restore_a_draft(self, data: Any) -> None:
            known = self.here.draft_ids()
            if known:
                with suppress(LastgoodError):
                    redraft.restore(self.here.means, ALICE, self.here.workflow, data.draw(st.sampled_from(known)))

        last: str | None = None

        def do(self, id: str, at: int | None) -> None:
            """Run an operation; where its process dies, another ends it."""
            self.last = id
            try:
                with self.instants.watched(at):
                    operation.run(self.here.means, id)
            except Killed:
                let_others_claim(self.here.store)
                with suppress(LastgoodError):  # it was over
                    operation.run(self.here.means, id)
            self.here.dify.faults.clear()

        # what holds in every state

        @invariant()
        def nothing_that_was_read_is_lost(self) -> None:
            kept = {dsl.canonical(one) for one in self.here.graphs_kept()}
            assert self.read.keys() <= kept
            assert self.secrets <= self.here.secrets_kept()

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
            assert (stands == "in step") == (live == here.channel.version)
            assert stands in ("in step", "ahead", "drifted", "converging")

        @invariant()
        def every_row_is_what_its_version_says(self) -> None:
            """Whatever was published by whom: history has it, with its secrets, and never a mask."""
            here = self.here
            with here.store.read() as tx:
                for row in here.fake.versions:
                    held = placements.find(tx, here.app, row.id)
                    if held is None:
                        continue  # nobody looked while it was live
                    version = versions.find(tx, held.version)
                    document = versions.runnable_document(tx, version)
                    assert document.graph == row.graph
                    given = {one["name"]: one["value"] for one in document.environment_variables}
                    assert given == {one["name"]: one["value"] for one in row.environment_variables}
                    assert "[__HIDDEN__]" not in str(content(row))

    return Office


@pytest.mark.parametrize("version", ["1.13.0", "1.14.2"])
def test_nothing_is_lost_and_nothing_is_said_that_is_not_so(version: str, sqlite_template: Path) -> None:
    run_state_machine_as_test(
        machine(version, sqlite_template),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="LASTGOOD_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )
