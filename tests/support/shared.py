"""Larger material beside the repository, for the tests that read it when it is there."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("LASTGOOD_SHARED") or Path(__file__).parents[3] / "shared")


def shared(*parts: str) -> Path:
    """A path of the shared material. Skips the test where it is missing."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts)} beside the repository (LASTGOOD_SHARED names the folder)")
    return path
