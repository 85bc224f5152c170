"""May this principal do that? The one place where it is asked, by every door.

Today everybody who holds a valid token is an admin; roles come to stand behind `decide` and nowhere else."""

from dataclasses import dataclass

from lastgood.db import audit
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.errors import Denied


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, and the rule that gave it."""

    allowed: bool
    reason: str


def decide(who: Principal, action: str, resource: str) -> Decision:
    """Whether `who` may do `action` (``workflow:publish``) on `resource` (``workflow/prod-invoice``)."""
    if "admin" in who.roles:
        return Decision(True, "the role admin may do everything")
    return Decision(False, f"no role of {who.name} allows {action} on {resource}")


def require(store: Store, who: Principal, action: str, resource: str) -> None:
    """Let `who` pass, or keep the refusal in the audit log and raise `Denied`."""
    decision = decide(who, action, resource)
    if not decision.allowed:
        store.write(lambda tx: audit.append(tx, who, action, resource, result="denied", reason=decision.reason))
        raise Denied(actor=who.name, action=action, resource=resource, reason=decision.reason)
