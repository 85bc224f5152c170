"""The embedded engine: graphon, Dify's own graph engine, behind Dify's Service API, in processes of its own.

`source` is the seam to the store, `prepared` and `nodes` make a version ready to run, `run` runs it, `app`
serves it, and ``python -m lastgood.targets.engine`` is the process."""

from importlib.util import find_spec

from lastgood.errors import EngineMissing

NAME = "engine"


def require() -> None:
    """Raise `EngineMissing` where the extra ``lastgood[engine]`` is not installed."""
    if find_spec("graphon") is None or find_spec("jinja2") is None:
        raise EngineMissing()
