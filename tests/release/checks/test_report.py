"""The checklist as somebody just woken up reads it."""

import json
from typing import Any

import pytest

from lastgood.release.checks.case import Checked
from lastgood.release.checks.checklist import verdict
from lastgood.release.checks.report import as_data, markdown, sentence

GOOD = Checked("pointer", "pass", "want v-2 at generation 7", "got v-2 at generation 7", 1.2, "live")
WRONG = Checked(
    "smoke", "fail", "outputs.total == `42`", "outputs.total == `42` is not true (got 41)", 812.4, "smoke-a1"
)
AWAY = Checked("dependencies", "unknown", "https://rates/ answers", "no answer within 10 s", 10_000.0, "rates")
NONE = Checked("data", "skipped", "the numbers", "no data check is declared")
OPTIONAL = Checked("workers", "fail", "it acknowledges", "failed: exit 1", 3.0, "listener cache", required=False)


def report(*found: Checked, channel: str = "live") -> dict[str, Any]:
    return as_data(found, verdict(found), workflow="prod-invoice", channel=channel, version="v-2", generation=7)


def test_the_verdict_comes_first_then_what_to_do_then_what_failed() -> None:
    assert markdown(report(GOOD, AWAY, WRONG, NONE, OPTIONAL)) == (
        "# NOT WELL: live of prod-invoice serves v-2, and 1 check failed\n"
        "\n"
        "- To go back to the last good version: `lastgood rollback prod-invoice`\n"
        "- To look again: `lastgood verify prod-invoice`\n"
        "\n"
        "## Failed\n"
        "\n"
        "- **smoke smoke-a1**\n"
        "  - got: outputs.total == `42` is not true (got 41)\n"
        "  - want: outputs.total == `42`\n"
        "- **workers listener cache** (told only: it is not required)\n"
        "  - got: failed: exit 1\n"
        "  - want: it acknowledges\n"
        "\n"
        "## Not known\n"
        "\n"
        "- **dependencies rates**\n"
        "  - got: no answer within 10 s\n"
        "  - want: https://rates/ answers\n"
        "\n"
        "## The rest\n"
        "\n"
        "| check | verdict | found | took |\n"
        "|---|---|---|---|\n"
        "| pointer live | pass | got v-2 at generation 7 | 1 ms |\n"
        "| data | skipped | no data check is declared |  |\n"
    )


@pytest.mark.parametrize(
    ("found", "headline"),
    [
        ((GOOD,), "WELL: live of prod-invoice serves v-2, and every check passed"),
        ((GOOD, AWAY), "NOT KNOWN: live of prod-invoice serves v-2, and 1 check could not be answered"),
        ((WRONG, WRONG), "NOT WELL: live of prod-invoice serves v-2, and 2 checks failed"),
        ((NONE,), "NOTHING CHECKED: live of prod-invoice serves v-2"),
    ],
)
def test_headlines(found: tuple[Checked, ...], headline: str) -> None:
    assert markdown(report(*found)).splitlines()[0] == f"# {headline}"


def test_got_and_want_of_the_pointer_are_not_said_twice() -> None:
    moved = Checked("pointer", "fail", "want v-2 at generation 7", "got v-3 at generation 8", subject="live")
    text = markdown(report(moved, channel="staging"))
    assert "  - got: v-3 at generation 8\n  - want: v-2 at generation 7\n" in text
    assert "`lastgood rollback prod-invoice --channel staging`" in text


def test_passing_without_smoke_requests_is_not_called_proven() -> None:
    passed = Checked("smoke", "pass", "as expected", "as expected", 5.0, "smoke-a1")
    assert report(GOOD, passed)["smoked"] is True
    assert "no smoke request" not in markdown(report(GOOD, passed))
    for other in ((GOOD,), (GOOD, Checked("smoke", "skipped", "", "there is none")), (GOOD, passed, WRONG)):
        assert report(*other)["smoked"] is False
    assert "v-2 answered no smoke request in this check" in markdown(report(GOOD))


def test_it_is_json() -> None:
    data = report(GOOD, WRONG)
    assert json.loads(json.dumps(data)) == data
    assert (data["verdict"], data["sentence"]) == (
        "failed",
        "failed: smoke smoke-a1: outputs.total == `42` is not true (got 41)",
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "nothing was checked"),
        ([NONE, OPTIONAL], "nothing was checked"),
        ([GOOD], "1 check passed"),
        ([GOOD, GOOD, OPTIONAL], "2 checks passed"),
        ([GOOD, AWAY], "not known: dependencies rates: no answer within 10 s"),
        ([AWAY, WRONG, WRONG], "failed: smoke smoke-a1: outputs.total == `42` is not true (got 41) (and 1 more)"),
    ],
)
def test_the_outcome_in_one_sentence(found: list[Checked], said: str) -> None:
    assert sentence(found) == said


def test_a_bar_does_not_break_the_table() -> None:
    text = markdown(report(Checked("x", "pass", "", "a | b", subject="c|d")))
    assert "| x c\\|d | pass | a \\| b |  |" in text
