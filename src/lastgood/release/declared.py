"""What a plan names, looked up in what `lastgood.toml` declares. A command that is not declared is for a plan of
somebody who may run it on this machine anyway."""

from collections.abc import Iterable

from lastgood.catalogue import HOOK_SECONDS, Hook
from lastgood.errors import InvalidRequest
from lastgood.release.checks import checklist
from lastgood.release.plan import Plan
from lastgood.settings import Settings


def hook(settings: Settings, name: str, *, local: bool) -> Hook:
    """The hook that a plan calls `name`: a declared one, by its name or by its whole command; or, for a plan that is
    `local`, a path. Raises `InvalidRequest`."""
    found = settings.hooks.get(name)
    if found is None:
        found = next((one for one in settings.hooks.values() if " ".join(one.command) == name), None)
    if found is None and local and "/" in name:
        found = Hook(command=(name,), timeout=HOOK_SECONDS)
    if found is None:
        raise _unknown("hook", name, settings.hooks)
    return found


def check(settings: Settings, plan: Plan, *, local: bool) -> None:
    """Refuse a plan that names what is not declared. Raises `InvalidRequest`."""
    for name in filter(None, (plan.pre_rollback_hook, plan.post_rollback_hook)):
        hook(settings, name, local=local)
    declared: dict[str, Iterable[str]] = {
        "listeners": settings.listeners,
        "data_checks": settings.data_checks,
        "verification": checklist.names(),
    }
    for where, names in declared.items():
        for name in getattr(plan, where) or ():
            if name not in names:
                raise _unknown(where, name, names)


def _unknown(where: str, name: str, known: Iterable[str]) -> InvalidRequest:
    listed = ", ".join(sorted(known)) or "none"
    reason = f"{name!r} is not declared in this server's lastgood.toml (declared: {listed})"
    return InvalidRequest(where=where, reason=reason)
