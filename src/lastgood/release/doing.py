"""A step of an operation while it is done, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lastgood.release.journal import Operation, StepState
from lastgood.release.means import Means


@dataclass(frozen=True, slots=True)
class Doing:
    """The step `name` of an operation, being done."""

    means: Means
    operation: Operation
    name: str

    def detail(self, step: str) -> Mapping[str, Any]:
        """What an earlier step found or did; empty where it did not run."""
        found = self.operation.steps.get(step)
        return found.detail if found else {}

    @property
    def undoing(self) -> bool:
        """Whether this is a step back to where the operation began."""
        return self.name.startswith("undo")

    @property
    def again(self) -> bool:
        """Whether a former attempt was broken off, so that its effect may be there."""
        return self.name in self.operation.steps

    @property
    def done(self) -> list[dict[str, Any]]:
        """The moves that this step comes after."""
        made: list[dict[str, Any]] = self.detail("undo" if self.undoing else "move").get("moves", [])
        return made


@dataclass(frozen=True, slots=True)
class Result:
    """How a step ended; `summary` and `report` are what the last step says of the whole operation."""

    state: StepState
    detail: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    report: str = ""
