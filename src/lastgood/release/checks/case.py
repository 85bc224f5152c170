"""What a verification item looks at, and what it answers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lastgood.db.audit import Principal
from lastgood.history.versions import Version
from lastgood.history.workflows import Workflow
from lastgood.release.means import Means

Verdict = Literal["pass", "fail", "unknown", "skipped"]


@dataclass(frozen=True, slots=True)
class Case:
    """One channel that should serve `version` at `generation`; `who` asks. `condemn`: failing smoke requests make the
    version failed (after a publish; after a rollback the cause may lie outside it).

    `baseline` is what was recorded before the move (`record` of the check, by check name; empty when none was);
    `told` are the listeners' answers of the operation, as JSON; `positions` says whether consumer positions were to
    be kept or reset; `proven_lately` that smoke requests may be skipped by the setting."""

    means: Means
    who: Principal
    workflow: Workflow
    channel: str
    version: Version
    generation: int
    baseline: Mapping[str, Any] = field(default_factory=dict)
    told: tuple[Mapping[str, Any], ...] = ()
    data_checks: tuple[str, ...] | None = None
    positions: Literal["keep", "reset"] = "keep"
    proven_lately: bool = False
    condemn: bool = True


@dataclass(frozen=True, slots=True)
class Checked:
    """One item of the checklist: what was expected, what was found, and the verdict. ``unknown`` is never a pass.
    What is not `required` is told, and does not count."""

    check: str
    verdict: Verdict
    expected: str
    found: str
    elapsed_ms: float = 0.0
    subject: str = ""
    required: bool = True

    def as_data(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "check": self.check,
            "subject": self.subject,
            "verdict": self.verdict,
            "expected": self.expected,
            "found": self.found,
            "elapsed_ms": round(self.elapsed_ms, 1),
            "required": self.required,
        }


Check = Callable[[Case], Iterable[Checked]]
