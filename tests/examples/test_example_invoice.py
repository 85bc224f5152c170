"""Each version of the invoice workflow, run on the engine: it returns what its history promises, right or wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

HISTORY = yaml.safe_load((Path(__file__).parents[2] / "examples" / "invoice-intake" / "history.yml").read_text())
VERSIONS = {Path(entry["file"]).stem: entry for entry in HISTORY["versions"]}
SAMPLES = HISTORY["samples"]
LOOKS_UP_ALWAYS = [stem for stem in VERSIONS if "02" <= stem < "10"]

type Ask = Callable[[str, dict[str, Any]], dict[str, Any]]


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("stem", VERSIONS)
def test_a_version_returns_what_its_history_says(run: Ask, stem: str, name: str) -> None:
    expected = VERSIONS[stem]["differs"].get(name, SAMPLES[name]["outputs"])
    check(run(f"{stem}.live", SAMPLES[name]["inputs"]), expected, "succeeded")


@pytest.mark.parametrize("name", ["cups", "dollars"])
@pytest.mark.parametrize(
    "stem", [stem for stem, entry in VERSIONS.items() if entry["behaviour"] in {"good", "wrong"}]
)
def test_a_version_does_without_the_rate_service(run: Ask, stem: str, name: str) -> None:
    sample = SAMPLES[name]
    expected = VERSIONS[stem]["differs"].get(name, sample.get("without_rates", sample["outputs"]))
    looked_up = stem in LOOKS_UP_ALWAYS or (stem >= "10" and name == "dollars")
    check(run(f"{stem}.alone", sample["inputs"]), expected, "partial-succeeded" if looked_up else "succeeded")


def test_the_smoke_request_tells_the_good_versions_from_the_others(run: Ask) -> None:
    inputs = SAMPLES[HISTORY["smoke"]["sample"]]["inputs"]
    totals: dict[str, list[Any]] = {}
    for stem, entry in VERSIONS.items():
        returned = run(f"{stem}.live", inputs)
        totals.setdefault(entry["behaviour"], []).append(returned["outputs"].get("total"))
    assert HISTORY["smoke"]["expect"] == "outputs.total == `42`"
    assert totals == {"good": [42] * 8, "wrong": [50.4], "fails": [None], "slow": [42]}


def test_the_slow_version_waits_before_it_looks_up(run: Ask) -> None:
    ((stem, entry),) = [item for item in VERSIONS.items() if item[1]["behaviour"] == "slow"]
    assert run(f"{stem}.live", SAMPLES["cups"]["inputs"])["elapsed_time"] >= entry["seconds"]


def test_a_key_that_was_replaced_gets_no_rate_any_more(run: Ask) -> None:
    inputs = SAMPLES["dollars"]["inputs"]
    check(run("04-checked-totals.october", inputs), SAMPLES["dollars"]["without_rates"], "partial-succeeded")
    check(run("05-new-rates-key.october", inputs), SAMPLES["dollars"]["outputs"], "succeeded")


def test_the_newest_version_hands_the_reference_through(run: Ask) -> None:
    accepted = run("11-reference.live", {**SAMPLES["cups"]["inputs"], "reference": "PO-7"})["outputs"]
    rejected = run("11-reference.live", {**SAMPLES["letter"]["inputs"], "reference": "PO-8"})["outputs"]
    assert (accepted["reference"], accepted["summary"]) == ("PO-7", "PO-7: 3 lines, EUR 42.00 with VAT.")
    assert rejected["reference"] == "PO-8"


def check(returned: dict[str, Any], expected: dict[str, Any] | None, status: str) -> None:
    if expected is None:
        assert (returned["status"], returned["outputs"]) == ("failed", {})
        assert "total is not a number" in returned["error"]
        return
    outputs = returned["outputs"]
    assert ({name: outputs[name] for name in expected}, returned["status"]) == (expected, status)
    assert outputs["summary"]
