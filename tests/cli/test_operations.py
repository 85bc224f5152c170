"""What the commands of operations say: in one sentence, without noise, and what to do."""

from pathlib import Path
from typing import Any

import pytest

from lastgood.cli.client import Client
from lastgood.cli.operations import _code, _failure, _follow, _show, _undo_code, _void
from lastgood.errors import ServerUnreachable, Unavailable

from .conftest import SLUG, Run

PLAN: dict[str, Any] = {
    "moves": [],
    "services": [
        {"name": "orders", "module": "", "risk": "low", "reason": "Nobody knows.", "responsible": "alice"},
    ],
    "pre_rollback_hook": "",
    "post_rollback_hook": "",
    "not_rolled_back": ["API keys"],
    "on_verification_failure": "keep",
}


def test_a_reason_that_ends_a_sentence_gets_no_second_stop() -> None:
    said: list[str] = []
    _show({"plan": PLAN, "findings": []}, said.append)
    assert "  affects orders, risk low: Nobody knows; alice" in said
    with pytest.raises(Unavailable, match=r"holds: one; two\. Nothing was changed") as void:
        _void(["one.", "two."])
    assert ".." not in str(void.value)


def test_what_was_not_moved_is_said_once() -> None:
    done = {"id": "op-x", "state": "failed", "summary": "Nothing was moved: the disk is full.", "steps": []}
    assert _failure(done).splitlines()[0] == "lastgood: NOTHING WAS MOVED. the disk is full."


@pytest.mark.parametrize(
    ("state", "verification", "asked", "code"),
    [
        ("undone", "done", True, 0),
        ("undone", "failed", True, 3),
        ("undone", "skipped", True, 0),
        ("kept", "failed", True, 3),
        ("succeeded", "done", True, 3),  # nothing was taken back
        ("failed", "skipped", True, 1),
        ("undone", "done", False, 3),  # it took itself back: what was wanted is not live
        ("succeeded", "done", False, 0),
    ],
)
def test_the_exit_code_says_whether_what_was_asked_for_is_so(
    state: str, verification: str, asked: bool, code: int
) -> None:
    done = {"state": state, "steps": [{"name": "undo-verification", "state": verification}]}
    assert (_undo_code if asked else _code)(done) == code


def test_a_server_that_goes_away_ends_the_waiting_and_not_the_operation() -> None:
    class Gone(Client):
        def __init__(self) -> None: ...

        def get(self, *path: str, **query: Any) -> Any:
            raise ServerUnreachable(url="http://x", reason="gone")

    with pytest.raises(Unavailable, match=r"op-x was under way.*lastgood operation op-x --watch"):
        _follow(Gone(), {"id": "op-x", "state": "running"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("- a\n", "it is not a mapping of fields to values"),
        ("version: 9\nrollback_plan: {}\n", "version 9.0 is not known here"),
        ("version: 1.2\nrollback_plan: {reasn: x}\n", "rollback_plan.reasn: no such field"),
        ("version: 1.2\nrollback_plan: {workflow: prod-invoice, to: v-nope}\n", "'v-nope' is not a version id"),
        ('version: 1.2\nrollback_plan: {workflow: "x}\n', "line "),
    ],
)
def test_a_plan_file_that_somebody_broke_changes_nothing(lastgood: Run, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    before = lastgood("log", SLUG, "--json").out
    done = lastgood("rollback", "--plan", str(file), "--yes")
    assert (done.code, done.out) == (1, "") and said in done.err, done.err
    assert "_" not in done.err.replace("rollback_plan", "")
    assert lastgood("log", SLUG, "--json").out == before
