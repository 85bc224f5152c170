"""What one kind of listener answers, before it has a name and a time."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["acknowledged", "failed", "timed out", "skipped"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome, and a sentence for people."""

    outcome: Outcome
    detail: str
