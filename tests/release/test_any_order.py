"""Whatever several people do, in any order: the rules of DESIGN.md hold in every state.

`LASTGOOD_EXAMPLES=2000 LASTGOOD_STEPS=60 pytest tests/release/test_any_order.py -k hold` looks for longer."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase

from lastgood.db import audit
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.history import channels, retention, versions
from lastgood.release import moves, planning
from lastgood.release.means import Means
from lastgood.release.plan import Plan

from .team import play


def test_the_rules_hold_in_every_state(sqlite_template: Path) -> None:
    examples, steps = int(os.environ.get("LASTGOOD_EXAMPLES", "15")), int(os.environ.get("LASTGOOD_STEPS", "25"))
    play(sqlite_template, examples, steps, derandomize="LASTGOOD_EXAMPLES" not in os.environ)


# What the model must find.


def forget_what_rollbacks_left(patch: pytest.MonkeyPatch) -> None:
    def newest(active: int | None, stable: Any) -> Any:
        return max((one for one in stable if one.order != active), key=lambda one: one.order, default=None)

    patch.setattr(channels, "choose_last_good", newest)


def let_failed_versions_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(moves, "_check_failed", lambda *_, **__: None)


def go_to_the_active_one(patch: pytest.MonkeyPatch) -> None:
    def move(
        tx: Tx, who: Any, workflow: Any, channel: Any, version: Any, kind: Any, expected: int, *rest: Any
    ) -> Any:
        reason, why, id = rest
        generation = channels.move(
            tx, who, workflow, channel, version, expected=expected, kind=kind, reason=reason, operation=id
        )
        return moves.Moved(workflow, channel.name, channel.version, version, generation, kind, why, tx.revision)

    patch.setattr(moves, "_move", move)


def tell_nobody_of_marks(patch: pytest.MonkeyPatch) -> None:
    emit = audit.emit
    patch.setattr(audit, "emit", lambda tx, event, *rest: event == "version.state" or emit(tx, event, *rest))


def write_while_planning(patch: pytest.MonkeyPatch) -> None:
    make = planning.make

    def writing(means: Means, *rest: Any) -> Plan:
        means.store.write(lambda tx: tx.connection.execute(t.counter.update().values(last=t.counter.c.last + 1)))
        return make(means, *rest)

    patch.setattr(planning, "make", writing)


def archive_what_is_live(patch: pytest.MonkeyPatch) -> None:
    def archive(tx: Tx, who: Principal, workflow: Any, keep: int) -> list[str]:
        (newest, *_) = versions.page(tx, workflow)
        versions.mark_archived(tx, newest.digest, tx.now)
        return []

    patch.setattr(retention, "archive_old", archive)


def accept_what_was_not_shown(patch: pytest.MonkeyPatch) -> None:
    accept = planning.accept
    patch.setattr(planning, "accept", lambda means, who, plan, **_: accept(means, who, plan))


def undo_whatever_came_since(patch: pytest.MonkeyPatch) -> None:
    undo = moves.undo

    def blindly(tx: Tx, who: Principal, workflow: Any, to: str, *, channel: str, **more: Any) -> moves.Moved:
        now = channels.get(tx, workflow, channel)
        return undo(tx, who, workflow, to, channel=channel, **{**more, "expected": now.generation})

    patch.setattr(moves, "undo", blindly)


@pytest.mark.parametrize(
    "plant",
    [
        forget_what_rollbacks_left,
        let_failed_versions_pass,
        go_to_the_active_one,
        tell_nobody_of_marks,
        write_while_planning,
        archive_what_is_live,
        accept_what_was_not_shown,
        undo_whatever_came_since,
    ],
)
def test_the_model_finds_what_breaks_a_rule(
    plant: Callable[[pytest.MonkeyPatch], None], sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        play(sqlite_template, 60, 25, derandomize=True, phases=[Phase.generate], report_multiple_bugs=False)
