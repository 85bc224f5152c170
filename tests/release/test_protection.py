"""Protected channels: nothing new without another identity, nothing new in a freeze, and never slower back."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lastgood.access import decisions
from lastgood.catalogue import Protected
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.errors import (
    ApprovalNeeded,
    ApprovalVoid,
    ChannelMoved,
    Denied,
    EngineMissing,
    Frozen,
    InvalidRequest,
    InvalidSetting,
    LastgoodError,
    SameIdentity,
)
from lastgood.history.versions import Version
from lastgood.release import approvals, journal, operation, paging, planning, report
from lastgood.release.journal import Operation
from lastgood.release.means import Means
from lastgood.release.plan import Kind, Plan
from lastgood.release.planning import Wanted
from lastgood.release.verification import Upstream
from lastgood.settings import load
from support.scene import ALICE, BOB, Clock, Scene, scene
from support.stores import on_sqlite

CAROL = Principal("carol")
LOCAL, ROOT = Principal("alice", "local"), Principal("root", "local")
QUIET: dict[str, Any] = {"verify": False, "listeners": (), "data_checks": ()}
FREEZE = {"from": "2026-12-20T00:00Z", "to": "2027-01-04T00:00Z", "reason": "the holidays"}


def nowhere() -> Upstream:
    raise EngineMissing()


@dataclass
class Shop:
    """A protected workflow with a good version, a newer one live, and one that nobody has seen yet."""

    place: Scene
    means: Means
    good: Version
    live: Version
    new: Version

    def protect(self, **rule: Any) -> None:
        protected = Protected.model_validate({"workflows": ["gre*"], **rule})
        self.place.store.settings = self.place.store.settings.model_copy(update={"protected": {"prod": protected}})

    def enter(
        self, who: Principal, kind: Kind, to: str | None, approval: str | None = None, **more: Any
    ) -> Operation:
        plan = planning.make(self.means, kind, [Wanted("greet", to=to)], Plan(kind, (), **QUIET, **more))
        return planning.accept(self.means, who, plan, approval=approval)

    def do(self, who: Principal, kind: Kind, to: str | None, approval: str | None = None, **more: Any) -> Operation:
        return operation.run(self.means, self.enter(who, kind, to, approval, **more).id).operation

    def asked(self, who: Principal = ALICE, kind: Kind = "publish", to: str | None = None, **more: Any) -> str:
        """Ask, and give the id of the request."""
        with pytest.raises(ApprovalNeeded) as needed:
            self.enter(who, kind, to or self.new.id, **more)
        return str(needed.value.data["approval"])

    def approve(self, who: Principal, id: str) -> approvals.Approval:
        return self.place.store.write(lambda tx: approvals.approve(tx, who, id, "looked at it"))

    def state(self, id: str) -> str:
        with self.place.store.read() as tx:
            return str(approvals.find(tx, id).public(tx.now)["state"])

    def where(self) -> str | None:
        return self.place.channel().version

    def rows(self, table: Any) -> list[Any]:
        with self.place.store.read() as tx:
            return list(tx.connection.execute(table.select().order_by(table.c.pk)).all())


@pytest.fixture
def shop(store: Store) -> Shop:
    place = scene(store)
    good, live, new = place.versions("good", "live", "new")
    good = place.mark(good, "stable")
    place.move(good)
    place.move(live)
    made = Shop(place, Means(store, nowhere), good, live, new)
    made.protect()
    return made


def test_four_eyes_from_the_question_to_the_report(shop: Shop) -> None:
    with pytest.raises(ApprovalNeeded) as needed:
        shop.enter(ALICE, "publish", shop.new.id, reason="better")
    id = needed.value.data["approval"]
    assert "live of greet, which is protected (protected.prod): it needs the approval of another identity" in str(
        needed.value
    )
    assert f"lastgood approve {id}" in str(needed.value)
    assert (shop.where(), shop.state(id)) == (shop.live.id, "waiting")
    assert shop.asked(reason="better") == id, "the same question is one request"
    with pytest.raises(SameIdentity):
        shop.approve(ALICE, id)
    assert shop.approve(BOB, id).state == "approved"
    done = shop.do(ALICE, "publish", shop.new.id, reason="better")
    assert (done.state, shop.where(), shop.state(id)) == ("succeeded", shop.new.id, "used")
    assert f"Approved by bob (`{id}`)." in report.of(done).markdown
    entered = next(one for one in shop.rows(t.audit) if one.action == "operation:publish")
    assert json.loads(entered.canonical)["approved_by"] == ["bob"]
    told = [one.action for one in shop.rows(t.audit) if one.action in ("approval:ask", "plan:approve")]
    assert told == ["approval:ask", "plan:approve"]
    assert {"approval.asked", "approval.approved"} <= {one.type for one in shop.rows(t.outbox)}


def test_an_approval_is_used_once_and_for_that_plan_alone(shop: Shop) -> None:
    first = shop.asked(reason="better")
    shop.approve(BOB, first)
    other = shop.asked(reason="another reason")
    assert other != first
    with pytest.raises(ApprovalVoid, match="another plan"):
        shop.enter(ALICE, "publish", shop.new.id, first, reason="another reason")
    with pytest.raises(ApprovalVoid, match="gave it"):
        shop.enter(BOB, "publish", shop.new.id, first, reason="better")
    shop.do(ALICE, "publish", shop.new.id, first, reason="better")
    shop.do(ALICE, "rollback", None)
    with pytest.raises(ApprovalVoid, match="another plan, or the channel moved"):
        shop.enter(ALICE, "publish", shop.new.id, first, reason="better")
    assert shop.asked(reason="better") not in (first, other)


def test_a_channel_that_moved_makes_it_void(shop: Shop) -> None:
    id, late = shop.asked(), shop.asked(CAROL)
    shop.approve(BOB, id)
    shop.do(CAROL, "rollback", None)
    with pytest.raises(ApprovalVoid, match="moved since"):
        shop.approve(BOB, late)
    assert shop.asked() != id
    assert shop.where() == shop.good.id


@pytest.mark.parametrize(
    ("kind", "to", "more", "needs"),
    [
        ("rollback", None, {}, False),
        ("rollback", "good", {}, False),
        ("rollback", "good", {"force": True, "reason": "why"}, True),
        ("rollback", "new", {}, True),  # going forward by another name
        ("publish", "new", {}, True),
        ("publish", "good", {}, True),
        ("rehearsal", "good", {}, True),  # on any channel but the shadow's
    ],
)
def test_what_needs_an_approval(shop: Shop, kind: Kind, to: str | None, more: dict[str, Any], needs: bool) -> None:
    wanted = {"good": shop.good.id, "new": shop.new.id}.get(to or "")
    if needs:
        shop.asked(kind=kind, to=wanted, **more)
        assert shop.where() == shop.live.id
    else:
        assert shop.do(ALICE, kind, wanted, **more).state == "succeeded"
        assert shop.where() == shop.good.id


def test_a_version_that_was_only_marked_good_is_nothing_that_was_there(shop: Shop) -> None:
    shop.place.mark(shop.new, "stable")
    shop.asked(kind="rollback", to=shop.new.id)
    shop.protect(rollback_needs_approval=True)
    shop.asked(kind="rollback", to=shop.good.id)


def test_an_undo_belongs_to_what_let_its_operation_pass(shop: Shop) -> None:
    shop.approve(BOB, shop.asked())
    done = shop.do(ALICE, "publish", shop.new.id)
    shop.place.store.write(lambda tx: journal.ask(tx, CAROL, done.id, "undo"))
    assert operation.run(shop.means, done.id).operation.state == "undone"
    assert shop.where() == shop.live.id


def test_other_channels_and_workflows_are_free(shop: Shop) -> None:
    shop.protect(channels=["prod"])
    assert shop.do(ALICE, "publish", shop.new.id).state == "succeeded"


def test_two_must_agree_where_two_are_wanted(shop: Shop) -> None:
    shop.protect(approvals=2)
    id = shop.asked()
    assert shop.approve(BOB, id).state == "waiting"
    assert shop.asked() == id
    with pytest.raises(ApprovalVoid, match="approved it already"):
        shop.approve(BOB, id)
    assert shop.approve(CAROL, id).state == "approved"
    assert shop.do(ALICE, "publish", shop.new.id).state == "succeeded"


def test_a_rule_that_asks_for_more_counts_for_what_was_asked_for_before_it(shop: Shop) -> None:
    id, late = shop.asked(), shop.asked(reason="later")
    shop.approve(BOB, id)
    shop.protect(approvals=2)
    with pytest.raises(ApprovalVoid, match="1 had to agree when it was asked for, and 2 must now"):
        shop.enter(ALICE, "publish", shop.new.id, id)
    assert shop.asked() != id and shop.asked(reason="later") != late
    shop.protect(approvals=1)
    assert shop.do(ALICE, "publish", shop.new.id, id).state == "succeeded"


def test_an_approval_counts_for_the_plan_whoever_does_it(shop: Shop) -> None:
    id = shop.asked(reason="better")
    shop.approve(BOB, id)
    assert shop.do(CAROL, "publish", shop.new.id, reason="better").state == "succeeded"
    assert shop.state(id) == "used"


def test_people_on_the_machine_itself_are_one_identity(shop: Shop) -> None:
    id = shop.asked(LOCAL)
    with pytest.raises(SameIdentity):
        shop.approve(ROOT, id)
    assert shop.approve(BOB, id).state == "approved"
    assert shop.do(ROOT, "publish", shop.new.id).state == "succeeded"


def test_a_rejected_request_lets_nothing_pass(shop: Shop) -> None:
    id = shop.asked()
    shop.place.store.write(lambda tx: approvals.reject(tx, BOB, id, "not reviewed"))
    with pytest.raises(ApprovalVoid, match="rejected already"):
        shop.approve(CAROL, id)
    with pytest.raises(ApprovalVoid, match="it was rejected by bob"):
        shop.enter(ALICE, "publish", shop.new.id, id)
    assert shop.asked() != id


@on_sqlite
def test_it_counts_until_its_last_moment_and_not_in_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, "2026-11-30T10:00:00.000000Z")
    id = shop.asked()
    shop.approve(BOB, id)
    clock.now = "2026-11-30T14:00:00.000000Z"
    assert shop.state(id) == "expired"
    with pytest.raises(ApprovalVoid, match="counted until 2026-11-30T14:00:00Z"):
        shop.enter(ALICE, "publish", shop.new.id, id)
    clock.now = "2026-11-30T13:59:59.999999Z"
    assert shop.do(ALICE, "publish", shop.new.id).state == "succeeded"


@on_sqlite
def test_a_clock_that_jumps_lengthens_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, "2026-11-30T10:00:00.000000Z")
    id = shop.asked()
    shop.approve(BOB, id)
    clock.now = "2026-11-29T10:00:00.000000Z"  # back before it was asked for
    assert shop.state(id) == "expired"
    assert shop.asked() != id
    waiting = shop.asked()
    clock.now = "2026-12-01T11:00:00.000000Z"
    with pytest.raises(ApprovalVoid, match="waited until"):
        shop.approve(BOB, waiting)


@on_sqlite
def test_a_freeze_refuses_what_is_new_and_says_until_when(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.protect(freezes=[FREEZE], approvals=0)
    clock = Clock(monkeypatch, "2026-12-24T18:00:00.000000Z")
    with pytest.raises(Frozen, match=r"until 2027-01-04 00:00 UTC \(protected\.prod: the holidays\)"):
        shop.enter(ALICE, "publish", shop.new.id)
    with pytest.raises(Frozen):
        shop.enter(ALICE, "rollback", shop.good.id, force=True, reason="why")
    assert [one.result for one in shop.rows(t.audit) if one.action == "operation:publish"] == ["denied"]
    assert shop.do(ALICE, "rollback", None).state == "succeeded"
    clock.now = "2027-01-04T00:00:00.000000Z"
    assert shop.do(ALICE, "publish", shop.new.id).state == "succeeded"


@on_sqlite
def test_an_approval_does_not_open_a_freeze(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, "2026-12-19T23:59:00.000000Z")
    shop.protect(freezes=[FREEZE])
    shop.approve(BOB, shop.asked())
    clock.now = "2026-12-20T00:00:00.000000Z"
    with pytest.raises(Frozen):
        shop.enter(ALICE, "publish", shop.new.id)


def test_break_glass_passes_pages_and_is_marked(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shop.protect(freezes=[{"from": "2020-01-01T00:00Z", "to": "2099-01-01T00:00Z", "reason": "for ever"}])
    told = tmp_path / "told.json"
    command = ("/bin/sh", "-c", f"cat > {told}; exit 7")
    shop.place.store.settings = shop.place.store.settings.model_copy(update={"break_glass_command": command})
    pages: list[threading.Thread | None] = []
    page = paging.page
    monkeypatch.setattr(paging, "page", lambda *given: pages.append(page(*given)))
    with pytest.raises(InvalidRequest, match="needs a --reason"):
        shop.enter(ALICE, "publish", shop.new.id, break_glass=True)
    done = shop.do(ALICE, "publish", shop.new.id, break_glass=True, reason="orders are lost")
    assert done.state == "succeeded"
    (paged,) = pages
    assert paged is not None
    paged.join()
    assert json.loads(told.read_text())["text"].startswith("BREAK-GLASS by alice: publish of live of greet to ")
    assert "nobody was paged of break-glass: /bin/sh ended with exit code 7" in capfd.readouterr().err
    rows = [one for one in shop.rows(t.audit) if one.action == "channel:break-glass"]
    assert [one.result for one in rows] == ["allowed", "failed"]
    assert "gets nothing new until 2099" in json.loads(rows[0].canonical)["passed"][0]
    assert shop.rows(t.move)[-1].reason == "BREAK-GLASS: orders are lost"
    assert [one.type for one in shop.rows(t.outbox) if one.type == paging.EVENT] == [paging.EVENT]
    assert "**BREAK-GLASS**: passed, although live of greet" in report.of(done).markdown


def test_break_glass_asks_for_its_own_permission(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(store: Store, who: Principal, action: str, resource: str) -> None:
        if action == "channel:break-glass":
            raise Denied(actor=who.name, action=action, resource=resource, reason="not theirs")

    monkeypatch.setattr(decisions, "require", refuse)
    with pytest.raises(Denied):
        shop.enter(ALICE, "publish", shop.new.id, break_glass=True, reason="me too")


def test_break_glass_that_had_nothing_to_break_is_no_alarm(shop: Shop) -> None:
    assert shop.do(ALICE, "rollback", None, break_glass=True, reason="quick").state == "succeeded"
    assert not [one for one in shop.rows(t.audit) if one.action == "channel:break-glass"]


def at_once(*acts: Callable[[], object]) -> list[object]:
    """What each act gave or raised; all begin together."""
    ready, ended = threading.Barrier(len(acts)), list[object]([None] * len(acts))

    def run(place: int, act: Callable[[], object]) -> None:
        ready.wait()
        try:
            ended[place] = act()
        except LastgoodError as error:
            ended[place] = error

    threads = [threading.Thread(target=run, args=one) for one in enumerate(acts)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return ended


def test_two_who_answer_or_use_it_at_once(shop: Shop) -> None:
    id = shop.asked()
    answers = at_once(lambda: shop.approve(BOB, id), lambda: shop.approve(CAROL, id))
    assert sorted(type(one).__name__ for one in answers) == ["Approval", "ApprovalVoid"]
    used = at_once(*[lambda: shop.enter(ALICE, "publish", shop.new.id)] * 2)
    assert sum(isinstance(one, Operation) for one in used) == 1
    assert all(isinstance(one, Operation | ApprovalNeeded | ApprovalVoid) for one in used)


def test_it_is_used_if_and_only_if_its_operation_is_entered(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    id = shop.asked()
    shop.approve(BOB, id)
    use = approvals.use

    def die(*given: Any) -> None:
        use(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(approvals, "use", die)
        with pytest.raises(KeyboardInterrupt):
            shop.enter(ALICE, "publish", shop.new.id)
    assert (shop.state(id), shop.rows(t.operation)) == ("approved", [])
    assert shop.enter(ALICE, "publish", shop.new.id).id == shop.rows(t.operation)[0].id
    assert shop.state(id) == "used"


def test_the_same_key_again_asks_for_no_second_approval(shop: Shop) -> None:
    shop.approve(BOB, shop.asked())
    plan = planning.make(shop.means, "publish", [Wanted("greet", to=shop.new.id)], Plan("publish", (), **QUIET))
    first = planning.accept(shop.means, ALICE, plan, key="k1")
    assert planning.accept(shop.means, ALICE, plan, key="k1").id == first.id
    with pytest.raises(ApprovalNeeded):
        planning.accept(shop.means, ALICE, plan, key="k2")


def test_a_stale_plan_is_told_who_moved_before_anybody_is_asked(shop: Shop) -> None:
    with pytest.raises(ChannelMoved):
        planning.make(
            shop.means, "publish", [Wanted("greet", to=shop.new.id, expected=1)], Plan("publish", (), **QUIET)
        )
    assert shop.rows(t.approval) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("workflows = []", "protected.prod.workflows"),
        ('workflows = ["*"]\napprovals = -1', "protected.prod.approvals"),
        ('workflows = ["*"]\nchanels = ["live"]', "protected.prod.chanels"),
        ('workflows = ["*"]\nfreezes = [{from = "fri", to = "mon", reason = "r"}]', "'fri' is no time"),
        ('workflows = ["*"]\nfreezes = [{from = "22:00", to = "06:00"}]', "protected.prod.freezes.0.reason"),
    ],
)
def test_a_wrong_rule_is_refused_with_a_sentence(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "lastgood.toml").write_text(f"[protected.prod]\n{line}\n")
    with pytest.raises(InvalidSetting, match=said):
        load(home=tmp_path)


def test_a_rule_as_people_write_it(tmp_path: Path) -> None:
    (tmp_path / "lastgood.toml").write_text(
        '[protected.prod]\nworkflows = ["prod-*"]\nfreezes = [\n'
        '  {from = 2026-12-20T00:00:00Z, to = "2027-01-04T00:00Z", reason = "the holidays"},\n'
        '  {from = "fri 16:00", to = "mon 08:00", zone = "Europe/Berlin", reason = "the weekend"},\n]\n'
    )
    rule = load(home=tmp_path).protected["prod"]
    assert (rule.channels, rule.approvals, rule.approval_hours, rule.rollback_needs_approval) == (
        ("live",),
        1,
        4,
        False,
    )
    assert len(rule.freezes) == 2


_SOURCES = Path(planning.__file__).parents[1]
_MOVERS = {
    "targets/dify/capture.py": "the first capture, of a channel that points to nothing",
    "history/rebinding.py": "the first capture again, where an app goes to a channel that points to nothing",
    "release/rehearsal.py": "the shadow channel, which is never protected",
    "release/moves.py": "the moves themselves",
    "release/steps.py": "an operation that was accepted",
    "server/standing.py": "adopt, inside planning.guard",
}


def test_nothing_else_moves_a_channel() -> None:
    calls = ("channels.move(", "moves.publish(", "moves.rollback(", "moves.adopt(", "moves.undo(")
    found = {
        str(file.relative_to(_SOURCES))
        for file in _SOURCES.rglob("*.py")
        if any(call in file.read_text(encoding="utf-8") for call in calls)
    }
    assert found == set(_MOVERS)
    entered = {
        str(file.relative_to(_SOURCES))
        for file in _SOURCES.rglob("*.py")
        if "journal.create(" in file.read_text(encoding="utf-8")
    }
    assert entered == {"release/planning.py"}
