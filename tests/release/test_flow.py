"""Which step of an operation comes next, as a table."""

from dataclasses import dataclass
from typing import Literal

import pytest

from lastgood.release import flow
from lastgood.release.plan import OnFailure


@dataclass(frozen=True)
class Stood:
    state: str


def steps(text: str) -> dict[str, Stood]:
    """``"preflight pre-hook- backup! move?"``: done, skipped (-), failed (!) and begun (?)."""
    marks = {"-": "skipped", "!": "failed", "?": "begun"}
    return {word.rstrip("-!?"): Stood(marks.get(word[-1], "done")) for word in text.split()}


READY = "plan preflight pre-hook- backup"
MOVED = f"{READY} move"
CHECKED = f"{MOVED} listeners data-checks verification"
BAD = f"{MOVED} listeners data-checks verification!"
UNDONE = "undo undo-listeners undo-verification"

CASES: list[tuple[str, OnFailure, str, str | None]] = [
    ("plan", "keep", "", "preflight"),
    ("plan preflight?", "keep", "", "preflight"),
    ("plan preflight", "keep", "", "pre-hook"),
    ("plan preflight! ", "keep", "", "notify"),
    ("plan preflight! notify", "undo", "", "report"),
    ("plan preflight! notify report", "undo", "", None),
    ("plan preflight pre-hook!", "undo", "", "notify"),
    (READY, "keep", "", "move"),
    (READY, "keep", "undo", "notify"),
    (f"{READY} move!", "undo", "", "notify"),
    (MOVED, "keep", "", "listeners"),
    (MOVED, "keep", "undo", "undo"),
    (f"{MOVED} listeners?", "keep", "undo", "undo"),
    (f"{MOVED} listeners!", "undo", "", "data-checks"),
    (f"{MOVED} listeners! data-checks verification", "undo", "", "undo"),
    (f"{MOVED} listeners data-checks! verification", "keep", "", "notify"),
    (CHECKED, "undo", "", "post-hook"),
    (f"{CHECKED} post-hook!", "undo", "", "notify"),
    (f"{CHECKED} post-hook- notify", "keep", "", "report"),
    (f"{CHECKED} post-hook notify report", "keep", "", None),
    (f"{CHECKED} post-hook notify report", "keep", "undo", "undo"),
    (BAD, "undo", "", "undo"),
    (BAD, "undo", "keep", "notify"),
    (BAD, "keep", "", "notify"),
    (BAD, "ask", "", "ask"),
    (BAD, "ask", "keep", "notify"),
    (BAD, "ask", "undo", "undo"),
    (f"{BAD} undo", "keep", "keep", "undo-listeners"),
    (f"{BAD} {UNDONE}", "undo", "", "undo-notify"),
    (f"{BAD} undo! undo-listeners- undo-verification-", "undo", "", "undo-notify"),
    (f"{BAD} {UNDONE} undo-notify", "undo", "", "undo-report"),
    (f"{BAD} {UNDONE} undo-notify undo-report", "undo", "", None),
]


@pytest.mark.parametrize(("done", "on_failure", "wish", "expected"), CASES)
def test_the_next_step(done: str, on_failure: OnFailure, wish: str, expected: str | None) -> None:
    assert flow.next_step(steps(done), on_failure, wish) == expected


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        ("plan preflight!", "failed"),
        ("plan preflight pre-hook!", "failed"),
        (f"{READY} move!", "failed"),
        (CHECKED, "succeeded"),
        (f"{CHECKED} post-hook!", "succeeded"),
        (BAD, "kept"),
        (f"{MOVED} listeners! data-checks verification", "kept"),
        (f"{BAD} {UNDONE}", "undone"),
        (f"{CHECKED} post-hook- notify report {UNDONE}", "undone"),
        (f"{BAD} undo! undo-listeners- undo-verification-", "kept"),
    ],
)
def test_what_became_of_it(done: str, expected: str) -> None:
    assert flow.ended(steps(done)) == expected


@pytest.mark.parametrize("on_failure", ["undo", "keep", "ask"])
@pytest.mark.parametrize("wish", ["", "undo", "keep"])
@pytest.mark.parametrize("outcome", ["done", "failed", "skipped"])
def test_every_way_comes_to_an_end(on_failure: OnFailure, wish: str, outcome: Literal["done", "failed"]) -> None:
    stood = {"plan": Stood("done")}
    for _ in flow.ALL:
        name = flow.next_step(stood, on_failure, wish)
        if name in (None, "ask"):
            break
        assert name is not None and name not in stood, "no step is run twice"
        stood[name] = Stood(outcome)
    assert flow.next_step(stood, on_failure, wish) in (None, "ask")
    assert flow.next_step(stood, on_failure, wish) is None or (on_failure, wish) == ("ask", "")


def test_nothing_is_told_before_it_moved() -> None:
    order = flow.ALL
    for outside in (*flow.AFTER, "post-hook"):
        assert order.index(outside) > order.index("move")
    assert {"move", "undo"}.isdisjoint(flow.OUTSIDE), "a move and its record are one transaction"


HELD = f"{READY} hold"
WRITTEN = f"{HELD} keep-draft write-draft"
PUBLISHED = f"{WRITTEN} publish read-back move"
BACK = "undo-hold undo-keep-draft undo-write-draft undo-publish undo-read-back undo"

ON_DIFY: list[tuple[str, OnFailure, str, str | None]] = [
    (READY, "keep", "", "hold"),
    (READY, "keep", "undo", "notify"),
    (f"{READY} hold!", "keep", "", "notify"),
    (HELD, "keep", "", "keep-draft"),
    (HELD, "keep", "undo", "put-draft-back"),
    (f"{HELD} keep-draft!", "keep", "", "put-draft-back"),
    (f"{WRITTEN}!", "keep", "", "put-draft-back"),
    (f"{WRITTEN}! put-draft-back", "keep", "", "release"),
    (f"{WRITTEN}! put-draft-back! release", "keep", "", "notify"),
    (f"{WRITTEN} publish?", "keep", "undo", "publish"),
    (f"{WRITTEN} publish", "keep", "undo", "read-back"),
    (f"{WRITTEN} publish!", "keep", "undo", "put-draft-back"),
    (f"{WRITTEN} publish read-back!", "undo", "", "put-draft-back"),
    (PUBLISHED, "keep", "", "put-draft-back"),
    (PUBLISHED, "keep", "undo", "put-draft-back"),
    (f"{PUBLISHED} put-draft-back!", "undo", "", "listeners"),
    (f"{PUBLISHED} put-draft-back", "keep", "undo", "undo-hold"),
    (f"{PUBLISHED} put-draft-back listeners data-checks verification!", "undo", "", "undo-hold"),
    (f"{PUBLISHED} put-draft-back undo-hold!", "keep", "undo", "undo-listeners"),
    (f"{PUBLISHED} put-draft-back undo-hold undo-keep-draft!", "keep", "undo", "undo-put-draft-back"),
    (f"{PUBLISHED} put-draft-back undo-hold undo-keep-draft! undo-put-draft-back", "keep", "undo", "undo-release"),
    (f"{PUBLISHED} put-draft-back {BACK}", "keep", "undo", "undo-put-draft-back"),
    (f"{PUBLISHED} put-draft-back {BACK} undo-put-draft-back", "keep", "undo", "undo-listeners"),
]


@pytest.mark.parametrize(("done", "on_failure", "wish", "expected"), ON_DIFY)
def test_the_next_step_where_dify_is_written_to(
    done: str, on_failure: OnFailure, wish: str, expected: str | None
) -> None:
    assert flow.next_step(steps(done), on_failure, wish, writes=True) == expected


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (f"{WRITTEN} publish! put-draft-back release", "failed"),
        (f"{PUBLISHED} put-draft-back! listeners data-checks verification", "succeeded"),
        (f"{PUBLISHED} put-draft-back undo-hold!", "kept"),
        (f"{PUBLISHED} put-draft-back {BACK}", "undone"),
    ],
)
def test_how_it_ended_on_dify(done: str, expected: str) -> None:
    assert flow.ended(steps(done)) == expected
