"""The plan as a file that people read, edit and review: the design brief's shape, extended.

```yaml
version: 1.2
rollback_plan:
  impact_analysis: {services_affected: [auth-service, order-api], data_consistency_check: true}
  pre_rollback_hook: /bin/run-backup.sh
  workflow: prod-invoice
  to: v-20240401-01
  …
```
Only `version` and the first three lines are the brief's; a file without a workflow gets it from the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lastgood.dsl.export import write_yaml
from lastgood.dsl.limits import Limits
from lastgood.dsl.yamltext import load_yaml
from lastgood.errors import InvalidDocument, InvalidPlan
from lastgood.history import channels
from lastgood.release.plan import NOT_ROLLED_BACK, Finding, Plan, PlannedMove, Service

VERSION = "1.2"
_WIDTH = 110
_LIMITS = Limits(bytes=2**20)
_Names = tuple[str, ...]
_REASONS = {
    "extra_forbidden": "no such field",
    "missing": "it is missing",
    "model_type": "it is not a mapping of fields to values",
}


def _listed(value: Any) -> Any:
    """A lone text where a list is meant."""
    return [value] if isinstance(value, str) else value


_List = Annotated[_Names, BeforeValidator(_listed)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class _Impact(_Part):
    services_affected: _List = ()
    data_consistency_check: bool = True
    services: tuple[Service, ...] = ()


class _Move(_Part):
    workflow: str
    channel: str = channels.LIVE
    from_: str | None = Field(None, alias="from")
    to: str | None = None
    expected_generation: int | None = Field(None, ge=0, lt=2**62)
    workflow_id: str = ""
    why: str = ""
    evidence: Mapping[str, Any] = {}


class _Body(_Part):
    impact_analysis: _Impact = _Impact()
    pre_rollback_hook: str | None = None
    post_rollback_hook: str | None = None
    kind: Literal["rollback", "publish"] = "rollback"
    workflow: str | None = None
    workflow_id: str = ""
    channel: str = channels.LIVE
    from_: str | None = Field(None, alias="from")
    to: str | None = None
    expected_generation: int | None = Field(None, ge=0, lt=2**62)
    why: str = ""
    evidence: Mapping[str, Any] = {}
    moves: tuple[_Move, ...] = ()
    reason: str = Field("", max_length=2000)
    force: bool = False
    semver: str | None = None
    findings: tuple[Finding, ...] = ()
    not_rolled_back: _List = NOT_ROLLED_BACK
    listeners: _List | None = None
    data_checks: _List | None = None
    verify: bool = True
    verification: _List = ()
    on_verification_failure: Literal["undo", "keep", "ask"] | None = None
    consumer_positions: Literal["keep", "reset"] = "keep"
    conditions: _List = ()
    responsible: str = ""


class _File(_Part):
    version: float | str
    rollback_plan: _Body


@dataclass(frozen=True, slots=True)
class Read:
    """A plan that was read. `complete` says whether it is one that was made before, with its versions and
    generations, and not only choices; `policy` whether the file says what to do when verification fails; `named`
    whether it names a workflow."""

    plan: Plan
    complete: bool
    policy: bool
    named: bool


def write(plan: Plan) -> str:
    """`plan` as YAML."""
    body: dict[str, Any] = {
        "impact_analysis": {
            "services_affected": [one.name for one in plan.services],
            "data_consistency_check": plan.data_consistency_check,
            "services": [asdict(one) for one in plan.services],
        },
        "pre_rollback_hook": plan.pre_rollback_hook or None,
        "kind": plan.kind,
    }
    parts = [_move(one) for one in plan.moves]
    body |= parts[0] if len(parts) == 1 else {"moves": parts}
    body |= {
        "reason": plan.reason,
        "force": plan.force,
        "findings": [asdict(one) for one in plan.findings],
        "not_rolled_back": list(plan.not_rolled_back),
        "listeners": None if plan.listeners is None else list(plan.listeners),
        "data_checks": None if plan.data_checks is None else list(plan.data_checks),
        "verify": plan.verify,
        "verification": list(plan.verification),
        "post_rollback_hook": plan.post_rollback_hook or None,
        "on_verification_failure": plan.on_verification_failure,
        "consumer_positions": plan.consumer_positions,
        "conditions": list(plan.conditions),
        "responsible": plan.responsible,
    }
    if plan.semver is not None:
        body["semver"] = plan.semver
    whole = {"version": float(VERSION), "rollback_plan": body}
    return write_yaml(whole, sort_keys=False, width=_WIDTH)


def _move(one: PlannedMove) -> dict[str, Any]:
    return {
        "workflow": one.workflow,
        "workflow_id": one.workflow_id,
        "channel": one.channel,
        "from": one.from_version,
        "to": one.to_version,
        "expected_generation": one.expected_generation,
        "why": one.why,
        "evidence": dict(one.evidence),
    }


def read(text: str, *, source: str = "the plan") -> Read:
    """The plan that `text` holds. Raises `InvalidPlan`."""
    try:
        file = _File.model_validate(load_yaml(text, source, _LIMITS))
    except InvalidDocument as error:
        where = f"line {error.data['line']}" if "line" in error.data else "the file"
        raise InvalidPlan(source=source, where=where, reason=str(error.data.get("reason", error))) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        reason = _REASONS.get(first["type"], first["msg"])
        raise InvalidPlan(source=source, where=where, reason=reason) from None
    if str(file.version).partition(".")[0] != VERSION[0]:
        reason = f"version {file.version} is not known here; this release writes {VERSION}"
        raise InvalidPlan(source=source, where="version", reason=reason)
    return _read(file.rollback_plan, source)


def _read(body: _Body, source: str) -> Read:
    if body.moves and body.workflow:
        raise InvalidPlan(source=source, where="moves", reason="name either one workflow or several moves")
    parts: Sequence[_Move | _Body] = body.moves or ((body,) if body.workflow else ())
    plan = Plan(
        kind=body.kind,
        moves=tuple(_planned(one) for one in parts),
        reason=body.reason,
        force=body.force,
        semver=body.semver,
        findings=body.findings,
        services=body.impact_analysis.services,
        data_consistency_check=body.impact_analysis.data_consistency_check,
        pre_rollback_hook=body.pre_rollback_hook or "",
        post_rollback_hook=body.post_rollback_hook or "",
        listeners=body.listeners,
        data_checks=body.data_checks,
        verify=body.verify,
        verification=body.verification,
        on_verification_failure=body.on_verification_failure or "keep",
        consumer_positions=body.consumer_positions,
        conditions=body.conditions,
        responsible=body.responsible,
        not_rolled_back=body.not_rolled_back,
    )
    complete = bool(parts) and all(one.to and one.expected_generation is not None for one in parts)
    return Read(plan, complete, body.on_verification_failure is not None, bool(parts))


def _planned(one: _Move | _Body) -> PlannedMove:
    return PlannedMove(
        workflow_id=one.workflow_id,
        workflow=one.workflow or "",
        channel=one.channel,
        from_version=one.from_,
        to_version=one.to or "",
        expected_generation=one.expected_generation if one.expected_generation is not None else -1,
        why=one.why,
        evidence=one.evidence,
    )


def findings_of(plan: Plan) -> list[Finding]:
    """The findings, worst first."""
    return sorted(plan.findings, key=lambda one: ("refuse", "warn", "pass").index(one.verdict))
