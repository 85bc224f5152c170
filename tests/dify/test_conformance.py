"""The stand-in against recordings of real servers: every exchange is replayed in the order in which it was made, and
answered alike: status, keys, kinds, and all values but times. Ids and tokens are its own, but the same one
wherever the recording has the same one. What it answers otherwise is listed here, and the list is exact."""

import json
from typing import Any

import pytest

from support.shared import shared

from .replay import Outcome, replay

LEAST = 95.0  # per cent of all exchanges
Name = tuple[str, str, int]  # file, label, which of the exchanges of this label

_TIES = "the real server put what had come in the same second in no order"
_COUNT = "the real server counted one turn more than the conversation had"
DIFFERENT: dict[str, dict[Name, str]] = {
    "1.13.0": {
        ("1.13.0/02_import_export", "list apps (leftovers of failed imports?)", 1): (
            "ten more apps, of a first take that was not kept"
        ),
        ("1.13.0/05a_service_workflow", "logs", 1): _TIES,
        (
            "1.13.0/05b_service_chatflow", "same conversation continues on v2 (conversations are not pinned)", 1,
        ): _COUNT,
        ("1.13.0/05b_service_chatflow", "workflow_id=v1 in the same conversation", 1): _COUNT,
        ("1.13.0/05b_service_chatflow", "messages", 1): _TIES,
    },
    "1.14.2": {
        ("1.14.2/13_openapi", "no credentials", 3): "the description of /openapi/v1 by itself is not played",
        ("1.14.2/13_openapi", "rate limit 0", 1): _TIES,
    },
}  # fmt: skip


def recordings(version: str) -> list[dict[str, Any]]:
    found = []
    for file in sorted(shared("dify-recordings", version).glob("*.json")):
        read = json.loads(file.read_text())
        found.append({**read, "name": f"{version}/{file.stem}"})
    return found


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[Outcome]]:
    return {version: replay(version, recordings(version)) for version in DIFFERENT}


@pytest.mark.parametrize("version", list(DIFFERENT))
def test_what_is_answered_otherwise_is_exactly_what_is_listed(
    version: str, outcomes: dict[str, list[Outcome]]
) -> None:
    wrong = {one.exchange.name: one.why for one in outcomes[version] if one.why}
    listed = DIFFERENT[version]
    assert {name: why for name, why in wrong.items() if name not in listed} == {}
    assert [name for name in listed if name not in wrong] == [], "listed, yet answered alike"


def test_enough_of_everything_is_answered_alike(
    outcomes: dict[str, list[Outcome]], capsys: pytest.CaptureFixture[str]
) -> None:
    lines, alike, all_of_them = [], 0, 0
    for version, found in outcomes.items():
        good = sum(not one.why for one in found)
        alike, all_of_them = alike + good, all_of_them + len(found)
        lines.append(f"{version}: {good} of {len(found)} exchanges alike ({100 * good / len(found):.1f} %)")
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert 100 * alike / all_of_them >= LEAST


def test_every_exchange_is_replayed(outcomes: dict[str, list[Outcome]]) -> None:
    for version, found in outcomes.items():
        recorded = [one for file in recordings(version) for one in file["exchanges"] if "method" in one]
        assert len(found) == len(recorded)
