"""What the examples return fits the interface that is computed from their files: none that is good is condemned."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lastgood import dsl
from lastgood.dsl.schema import output_schema
from lastgood.history.smokes import Smoke
from lastgood.release.verification import judge_answer

from .test_example_invoice import LOOKS_UP_ALWAYS, SAMPLES, VERSIONS

EXAMPLE = Path(__file__).parents[2] / "examples" / "invoice-intake"
ANY = Smoke("smoke-1", {}, "", (), None, "", "")

type Ask = Callable[[str, dict[str, Any]], dict[str, Any]]


@pytest.mark.parametrize("stem", VERSIONS)
def test_what_a_version_returns_fits_its_interface(run: Ask, stem: str) -> None:
    schema = output_schema(dsl.parse((EXAMPLE / f"{stem}.yml").read_bytes(), source=stem))
    services = ("live", "alone") if stem in LOOKS_UP_ALWAYS else ("live",)
    for service in services:
        for sample in SAMPLES.values():
            returned = run(f"{stem}.{service}", sample["inputs"])
            if returned["status"] != "failed":
                found = judge_answer(ANY, {"data": returned}, 1.0, schema)
                assert found.passed, found.detail
