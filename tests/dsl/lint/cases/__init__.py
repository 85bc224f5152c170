"""For every rule documents that break it, each with one beside it that does not."""

from typing import Final

from . import clear, code, contract, handles, needs, plain, settings, structure, templates, values
from .parts import SOUND, Case

__all__ = ["CASES", "SOUND", "Case"]

_THEMES: Final = (clear, code, contract, handles, needs, plain, settings, structure, templates, values)
CASES: Final = [case for theme in _THEMES for case in theme.CASES]
