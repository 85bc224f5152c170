"""The embedded engine: graphon, Dify's own graph engine, behind Dify's Service API, in processes of its own.

`source` is the seam to the store, `plan` and `prepared` make a version ready to run, `run` runs it, `app`
serves it, and ``python -m lastgood.targets.engine`` is the process."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lastgood.errors import EngineMissing

NAME = "engine"


def require() -> None:
    """Raise `EngineMissing` where the extra ``lastgood[engine]`` is not installed."""
    if find_spec("graphon") is None or find_spec("jinja2") is None:
        raise EngineMissing()


def warm() -> None:
    """Import graphon (over a second) where it is installed, so that `unrunnable` answers at once."""
    if find_spec("graphon") is not None:
        import_module("lastgood.targets.engine.plan")


def unrunnable(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Every reason why this engine cannot run `document` (Dify's envelope); none known where graphon is missing."""
    if find_spec("graphon") is None:
        return ()
    reasons: tuple[str, ...] = import_module("lastgood.targets.engine.plan").unrunnable(document)
    return reasons
