"""Each version of the invoice workflow, run: it returns what its history promises, right or wrong."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

INVOICE = Path(__file__).parents[2] / "examples" / "invoice-intake"
HISTORY = yaml.safe_load((INVOICE / "history.yml").read_text())
SAMPLES = HISTORY["samples"]
CASES = [
    pytest.param(entry, name, id=f"{entry['file'][:2]}-{name}") for entry in HISTORY["versions"] for name in SAMPLES
]
NOBODY = "http://127.0.0.1:9"

type Run = Callable[[str, dict[str, Any]], dict[str, Any] | None]


def text_of(file: str, rates: str) -> str:
    """The version with its lookups going to `rates`."""
    return (INVOICE / file).read_text().replace(HISTORY["rates_url"], rates)


@pytest.mark.parametrize(("entry", "name"), CASES)
def test_a_version_returns_what_its_history_says(run: Run, rates: str, entry: dict[str, Any], name: str) -> None:
    sample = SAMPLES[name]
    returned = run(text_of(entry["file"], rates), sample["inputs"])
    expected = entry["differs"].get(name, sample["outputs"])
    assert relevant(returned, expected) == expected


@pytest.mark.parametrize("name", ["cups", "dollars"])
@pytest.mark.parametrize("entry", [entry for entry in HISTORY["versions"] if entry["behaviour"] in {"good", "wrong"}])
def test_a_version_does_without_the_rate_service(run: Run, entry: dict[str, Any], name: str) -> None:
    sample = SAMPLES[name]
    returned = run(text_of(entry["file"], NOBODY), sample["inputs"])
    expected = entry["differs"].get(name, sample.get("without_rates", sample["outputs"]))
    assert relevant(returned, expected) == expected


def test_good_versions_and_only_they_and_the_slow_one_return_42(run: Run, rates: str) -> None:
    inputs = SAMPLES[HISTORY["smoke"]["sample"]]["inputs"]
    totals: dict[str, list[Any]] = {}
    for entry in HISTORY["versions"]:
        returned = run(text_of(entry["file"], rates), inputs)
        totals.setdefault(entry["behaviour"], []).append(returned and returned["total"])
    assert totals == {"good": [42] * 8, "wrong": [50.4], "fails": [None], "slow": [42]}


def test_the_slow_version_waits_before_it_looks_up(run: Run, rates: str) -> None:
    (entry,) = [entry for entry in HISTORY["versions"] if entry["behaviour"] == "slow"]
    started = time.monotonic()
    run(text_of(entry["file"], rates), SAMPLES["cups"]["inputs"])
    assert time.monotonic() - started >= entry["seconds"]


def test_a_key_that_was_replaced_gets_no_rate_any_more(run: Run, start_rates: Callable[..., str]) -> None:
    address = start_rates("--key", "rates-demo-key-october")
    inputs = SAMPLES["dollars"]["inputs"]
    old, new = (run(text_of(file, address), inputs) for file in ("04-checked-totals.yml", "05-new-rates-key.yml"))
    assert old is not None
    assert new is not None
    assert (old["status"], old["total"]) == ("unconverted", 100)
    assert (new["status"], new["total"]) == ("ok", 110)


def test_the_newest_version_hands_the_reference_through(run: Run, rates: str) -> None:
    text = text_of("11-reference.yml", rates)
    accepted = run(text, {**SAMPLES["cups"]["inputs"], "reference": "PO-7"})
    rejected = run(text, {**SAMPLES["letter"]["inputs"], "reference": "PO-8"})
    assert accepted is not None
    assert rejected is not None
    assert (accepted["reference"], accepted["summary"]) == ("PO-7", "PO-7: 3 lines, EUR 42.00 with VAT.")
    assert rejected["reference"] == "PO-8"


def relevant(returned: dict[str, Any] | None, expected: dict[str, Any] | None) -> dict[str, Any] | None:
    if returned is None or expected is None:
        return returned
    assert returned["summary"]
    return {name: returned[name] for name in expected}
