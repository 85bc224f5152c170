"""Variables where a version is promoted to: what stands stays, what is overlaid wins, a secret is never guessed."""

from typing import Any

import pytest

from lastgood.dsl import Document
from lastgood.errors import InvalidOverlay
from lastgood.release.promotion import overlay
from lastgood.release.promotion.environment import Carriage, Standing, overlaid
from lastgood.release.promotion.overlay import Given

from .documents import whole


def var(name: str, value: Any = "", kind: str = "string", id: str = "s") -> dict[str, Any]:
    return {"id": f"{id}-{name}", "name": name, "value": value, "value_type": kind}


SOURCE = whole(environment=[var("REGION", "dev"), var("LIMIT", 5, "number"), var("TOKEN", "", "secret")])
NOTHING = Standing("live", "staging", given=frozenset({"TOKEN"}))


def standing(*items: dict[str, Any], held: str = "") -> Standing:
    return Standing("live", "staging", whole(environment=list(items)), frozenset(held.split()), frozenset({"TOKEN"}))


def values(document: Document) -> dict[str, Any]:
    return {one["name"]: one["value"] for one in document.environment_variables}


@pytest.mark.parametrize(
    ("stands", "given", "outcome", "refused"),
    [
        (NOTHING, {"TOKEN": Given("source")}, {"REGION": "dev", "LIMIT": 5}, ()),
        (NOTHING, {}, {"REGION": "dev", "LIMIT": 5}, ("live has no value for the secret TOKEN",)),
        (NOTHING, {"TOKEN": Given("written", "x")}, {}, ("write it in the overlay as env:NAME",)),
        (NOTHING, {"TOKEN": Given("referred", "")}, {}, ("is empty",)),
        (
            NOTHING,
            {"TOKEN": Given("referred", "x"), "REGION": Given("written", "eu"), "LIMIT": Given("referred", "7")},
            {"REGION": "eu", "LIMIT": 7},
            (),
        ),
        (
            standing(var("REGION", "eu"), var("TOKEN", "", "secret"), held="TOKEN"),
            {},
            {"REGION": "eu", "LIMIT": 5},
            (),
        ),
        (standing(var("TOKEN", "", "secret")), {}, {}, ("live has no value for the secret TOKEN",)),
        (standing(var("TOKEN", "plain")), {}, {}, ("live has no value for the secret TOKEN",)),
        (standing(var("REGION", 4, "number")), {"TOKEN": Given("source")}, {"REGION": "dev", "LIMIT": 5}, ()),
        # An export writes what the API calls a number as an integer or a float.
        (standing(var("LIMIT", 9, "integer")), {"TOKEN": Given("source")}, {"REGION": "dev", "LIMIT": 9}, ()),
        (standing(var("LIMIT", 0.5, "float")), {"TOKEN": Given("source")}, {"REGION": "dev", "LIMIT": 0.5}, ()),
        (NOTHING, {"TOKEN": Given("source"), "LIMIT": Given("written", "many")}, {}, ("no number",)),
        (NOTHING, {"TOKEN": Given("source"), "REGION": Given("written", 4)}, {}, ("no string",)),
        (NOTHING, {"TOKEN": Given("source"), "X": Given("written", 4)}, {}, ("the version has no such variable",)),
    ],
)
def test_where_values_come_from(
    stands: Standing, given: dict[str, Given], outcome: dict[str, Any], refused: tuple[str, ...]
) -> None:
    document, _, findings = overlaid(SOURCE, given, stands)
    said = [one.sentence for one in findings if one.verdict == "refuse"]
    assert len(said) == len(refused) and all(part in one for part, one in zip(refused, said, strict=True))
    if not refused:
        assert values(document) == {**outcome, "TOKEN": ""}


def test_known_variables_keep_the_ids_that_the_target_knows_them_by_and_it_is_told_what_goes() -> None:
    stands = standing(
        var("REGION", "eu", id="t"), var("OLD", "1", id="t"), var("TOKEN", "", "secret", "t"), held="TOKEN"
    )
    document, carriages, findings = overlaid(SOURCE, {}, stands)
    assert [one["id"] for one in document.environment_variables] == ["t-REGION", "s-LIMIT", "t-TOKEN"]
    assert carriages == (
        Carriage("REGION", False, "target"),
        Carriage("LIMIT", False, "source"),
        Carriage("TOKEN", True, "target"),
    )
    assert any(one.verdict == "warn" and one.subject == "OLD" for one in findings)


def test_an_overlay_file_with_every_kind_of_value() -> None:
    text = "environment: {A: eu, B: 200, C: 'env:X', D: 'file:y', E: 'source:', F: {provider: p, name: n}}"
    found = overlay.read(text, source="o.yaml", fetch=lambda kind, name: f"{kind}!{name}")
    assert [(name, one.how, one.value) for name, one in found.items()] == [
        ("A", "written", "eu"),
        ("B", "written", 200),
        ("C", "referred", "env!X"),
        ("D", "referred", "file!y"),
        ("E", "source", None),
        ("F", "written", {"provider": "p", "name": "n"}),
    ]
    assert "env!X" not in repr(found)


@pytest.mark.parametrize("text", ["[]", "environment: 1", "{environment: {}, secrets: {}}", "environment: {A: null}"])
def test_a_bad_overlay_file_is_refused(text: str) -> None:
    with pytest.raises(InvalidOverlay, match=r"o\.yaml"):
        overlay.read(text, source="o.yaml", fetch=lambda kind, name: "")
