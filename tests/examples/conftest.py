"""The rate service of the invoice example, running."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

RATES = Path(__file__).parents[2] / "examples" / "invoice-intake" / "rates.py"


@contextmanager
def service(*options: str) -> Iterator[str]:
    with subprocess.Popen([sys.executable, RATES, "--port", "0", *options], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        try:
            yield run.stdout.readline().strip()
        finally:
            run.terminate()


@pytest.fixture(scope="session")
def start_rates() -> Iterator[Callable[..., str]]:
    """Starts a rate service with more options, and gives its address; all end with the session."""
    with ExitStack() as running:
        yield lambda *options: running.enter_context(service(*options))


@pytest.fixture(scope="session")
def rates(start_rates: Callable[..., str]) -> str:
    """The address of a rate service that takes the example's keys."""
    return start_rates()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, Any]], dict[str, Any] | None]:
    """Runs a document's text with inputs; gives its outputs, or None where the run fails."""
    from graphon.dsl import SandboxCodeExecutor, loads

    def execute(_: Any, *, language: str, code: str, inputs: dict[str, Any]) -> Any:
        names: dict[str, Any] = {}
        exec(code, names)
        return json.loads(json.dumps(names["main"](**inputs)))

    monkeypatch.setattr(SandboxCodeExecutor, "execute", execute)

    def once(text: str, inputs: dict[str, Any]) -> dict[str, Any] | None:
        engine = loads(text, start_inputs={"currency": "", "reference": "", **inputs}, workers=1)
        try:
            *_, last = engine.run()
        except RuntimeError:
            return None
        return dict(getattr(last, "outputs"))  # noqa: B009

    return once
