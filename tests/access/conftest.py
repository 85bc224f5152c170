"""Passwords that take no time."""

import pytest
from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST

from lastgood.access import passwords


@pytest.fixture
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash with the least work that Argon2 allows."""
    hasher = PasswordHasher.from_parameters(CHEAPEST)
    monkeypatch.setattr(passwords, "_hasher", hasher)
    monkeypatch.setattr(passwords, "_NOBODY", hasher.hash("nobody's"))
