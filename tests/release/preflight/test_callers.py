"""What callers sent and got, against the version to go to: both ways round."""

from typing import Any

import pytest

from lastgood.dsl import Document
from lastgood.history.calls import SeenShape
from lastgood.release.preflight.facts import Caller, Calls, Facts, Unknown

from .small import facts, field, flow, found, told, verdicts

BILLING = Caller("key-1", "billing", "curl/8", follows=True, pins=False)
SHOP = Caller("key-2", "shop", "httpx/0.28", follows=True, pins=False)
PINS = Caller("key-3", "audit", "curl/8", follows=False, pins=True)
STAGING = Caller("key-4", "tester", "curl/8", follows=False, pins=False)


def sent(shape: dict[str, str] | None, by: Caller = BILLING, requests: int = 10, **more: Any) -> SeenShape:
    """Requests of a shape."""
    base: dict[str, Any] = {"kind": "inputs", "refused": 0, "version_id": "v", "first_at": "a", "last_at": "b"}
    return SeenShape(
        **{**base, "shape": shape, "key_id": by.key, "user_agent": by.user_agent, "requests": requests, **more}
    )


def got(shape: dict[str, str] | None, by: Caller = BILLING, requests: int = 10) -> SeenShape:
    """Answers of a shape."""
    return sent(shape, by, requests, kind="outputs")


def seen(to: Document, now: Document, *shapes: SeenShape, limit: int = 100) -> Facts:
    return facts(to, now, calls=Calls((BILLING, SHOP, PINS, STAGING), shapes, limit))


PLAIN = flow(inputs=(field("a"),))
NEEDS_B = flow(inputs=(field("a"), field("b", required=True)))
NUMBER_A = flow(inputs=(field("a", "number"),))
GIVES = flow(outputs=("said", "vat"))
GIVES_LESS = flow(outputs=("said",))


@pytest.mark.parametrize(
    ("to", "now", "shapes", "verdict", "says"),
    [
        ("plain", "plain", [sent({"a": "string"})], "pass", "takes what all 1 caller sent in 10 recorded requests"),
        (
            "needs-b",
            "plain",
            [sent({"a": "string"}, requests=30), sent({"a": "string", "b": "string"}, SHOP, 70)],
            "warn",
            "would refuse 30 of 100 recorded requests (30%) by billing: b is required in input form",
        ),
        (
            "needs-b",
            "plain",
            [sent({"a": "string"}), sent({"a": "string"}, SHOP)],
            "refuse",
            "would refuse every recorded request (20, by “billing”, “shop”)",
        ),
        ("needs-b", "needs-b", [sent({"a": "string"})], "pass", "takes what"),  # refused in service too
        (
            "number-a",
            "plain",
            [sent({"a": "string"}), sent({"a": "number"}, SHOP)],
            "warn",
            "may refuse 10 of 20 recorded requests (50%) by billing",
        ),
        (
            "plain",
            "needs-b",
            [sent({"a": "string", "b": "string"})],
            "warn",
            "would drop a part of 10 of 10 recorded requests (100%) by billing: b is sent, and would be dropped",
        ),
        ("plain", "plain", [sent({"a": "string", "junk": "string"})], "pass", "takes what"),
        ("plain", "plain", [sent(None)], "warn", "Of 10 of the recorded requests the shape is not known"),
        ("needs-b", "plain", [sent(None), sent({"a": "string"}, SHOP)], "warn warn", "by shop"),
        ("gives", "gives-less", [got({"said": "string"})], "pass", "gives what they got"),
        (
            "gives-less",
            "gives",
            [got({"said": "string", "vat": "string"})],
            "warn",
            "billing loses outputs with v-20261101-01, seen in 10 of 10 recorded answers (100%): vat was received",
        ),
        ("gives-less", "gives-less", [got({"said": "string", "vat": "string"})], "pass", "takes what"),
        ("gives", "gives", [got(None)], "warn", "recorded answers the shape is not known"),
    ],
)
def test_shapes_of_callers(to: str, now: str, shapes: list[SeenShape], verdict: str, says: str) -> None:
    by_name = {
        "plain": PLAIN,
        "needs-b": NEEDS_B,
        "number-a": NUMBER_A,
        "gives": GIVES,
        "gives-less": GIVES_LESS,
    }
    given = seen(by_name[to], by_name[now], *shapes)
    every = found("callers", given)[1:]  # the first is on those that pin
    assert " ".join(one for one, _ in every) == verdict
    assert says in " ".join(sentence for _, sentence in every)


def test_who_names_versions_itself_is_told_apart() -> None:
    given = seen(NEEDS_B, PLAIN, sent({"a": "string"}, PINS))
    (verdict, sentence), (other, nothing) = found("callers", given)
    assert (verdict, other) == ("pass", "pass")
    assert "Not affected" in sentence
    assert "requests of “audit”" in sentence
    assert "Nothing recorded" in nothing


def test_who_names_versions_sometimes_is_affected_all_the_same() -> None:
    both = Caller("key-5", "both", "curl/8", follows=True, pins=True)
    given = facts(NEEDS_B, PLAIN, calls=Calls((both,), (sent({"a": "string"}, both),), 100))
    assert verdicts("callers", given) == "pass refuse"
    assert "a part of the requests of “both”" in told("callers", given)


def test_who_calls_another_channel_is_not_affected() -> None:
    given = seen(NEEDS_B, PLAIN, sent({"a": "string"}, STAGING))
    assert "tester" not in told("callers", given)
    assert "refuse" not in verdicts("callers", given)


@pytest.mark.parametrize(
    ("calls", "verdict", "says"),
    [
        (Calls((), (), 100), "pass", "Nothing recorded"),
        (Calls((), (), 0), "pass", "rollback.callers is 0"),
        (Unknown("there is no store of runs here"), "warn", "no store of runs"),
    ],
)
def test_without_calls(calls: Calls | Unknown, verdict: str, says: str) -> None:
    given = facts(calls=calls)
    assert verdicts("callers", given) == verdict
    assert says in told("callers", given)


def test_a_finding_is_known_again_by_who_and_what_not_by_how_often() -> None:
    from lastgood.release.plan import news
    from lastgood.release.preflight.examination import judge

    few = judge(seen(NEEDS_B, PLAIN, sent({"a": "string"}), sent({"a": "string", "b": "string"}, SHOP)))
    many = judge(seen(NEEDS_B, PLAIN, sent({"a": "string"}, requests=99), sent({"a": "string", "b": "string"}, SHOP)))
    other = judge(seen(NEEDS_B, PLAIN, sent({"a": "string", "b": "string"}), sent({"a": "string"}, SHOP)))
    assert news(few, many) == []
    assert [one.subject for one in news(few, other)] == ["greet/live shop: would refuse"]
