"""Break-glass is heard of: in the audit log and as an event, in the transaction of what it did, and by a command or a
URL of `lastgood.toml` right after, which never hold it up."""

import json
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from lastgood.db import audit
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.dsl.mask import Mask
from lastgood.errors import LastgoodError
from lastgood.release import commands
from lastgood.release.listeners import http
from lastgood.release.means import Means
from lastgood.release.output import server_secrets
from lastgood.release.plan import Plan

EVENT: Final = "break-glass.used"
_SECONDS: Final = 10.0


def record(tx: Tx, who: Principal, plan: Plan, operation: str | None, broken: Sequence[str]) -> None:
    """Keep that `who` passed what `broken` says."""
    for one in plan.moves:
        resource = f"workflow/{one.workflow_id}/channel/{one.channel}"
        facts: dict[str, Any] = {
            "operation": operation,
            "plan_kind": plan.kind,
            "to": one.to_version,
            "passed": list(broken),
        }
        audit.append(tx, who, "channel:break-glass", resource, reason=plan.reason, **facts)
    audit.emit(tx, EVENT, operation or plan.moves[0].workflow_id, _told(who, plan, operation, broken))


def page(
    means: Means, who: Principal, plan: Plan, operation: str | None, broken: Sequence[str]
) -> threading.Thread | None:
    """Tell the command and the URL of the settings in a thread of its own, which is given; None where none is set.
    What fails is said on standard error and in the audit log, and changes nothing else."""
    settings = means.settings
    if not (settings.break_glass_command or settings.break_glass_url):
        return None
    told = _told(who, plan, operation, broken)

    def run() -> None:
        failed = list(_tell(means, told))
        for reason in failed:
            print(f"lastgood: nobody was paged of break-glass: {reason}", file=sys.stderr)
        if not failed:
            return
        with suppress(LastgoodError, OSError):  # the store is closed or away; standard error has it
            means.store.write(
                lambda tx: audit.append(
                    tx,
                    who,
                    "channel:break-glass",
                    f"operation/{operation or '-'}",
                    result="failed",
                    reason=f"the page was not heard: {'; '.join(failed)}",
                )
            )

    # Not a daemon: a command line that ends must not take the page with it.
    thread = threading.Thread(target=run, name="break-glass page", daemon=False)
    thread.start()
    return thread


def _tell(means: Means, told: dict[str, Any]) -> Iterable[str]:
    settings = means.settings
    mask = Mask(server_secrets(settings))
    if settings.break_glass_command:
        variables = {
            f"LASTGOOD_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in told.items()
        }
        ended = commands.run(
            settings.break_glass_command,
            commands.inherited() | {name: value.replace("\0", "") for name, value in variables.items()},
            timeout=_SECONDS,
            mask=mask,
            given=json.dumps(told).encode(),
        )
        if not ended.good:
            yield mask.text(f"{settings.break_glass_command[0]} {ended.sentence}")
    if settings.break_glass_url:
        try:
            answer = http.post(settings.break_glass_url, told, {}, monotonic() + _SECONDS, mask)
        except Exception as error:  # whatever it is, the move is done
            yield f"the page could not be sent ({type(error).__name__})"
        else:
            if answer.outcome != "acknowledged":
                yield mask.text(answer.detail)


def _told(who: Principal, plan: Plan, operation: str | None, broken: Sequence[str]) -> dict[str, Any]:
    moves = [
        {"workflow": one.workflow, "channel": one.channel, "from": one.from_version, "to": one.to_version}
        for one in plan.moves
    ]
    named = ", ".join(f"{one['channel']} of {one['workflow']} to {one['to']}" for one in moves)
    text = f"BREAK-GLASS by {who.name}: {plan.kind} of {named}. Reason: {plan.reason}"
    return {
        "event": EVENT,
        "text": text,
        "content": text,  # `text` for Slack and those like it, `content` for Discord
        "actor": who.name,
        "subject": who.subject,
        "kind": plan.kind,
        "moves": moves,
        "reason": plan.reason,
        "passed": list(broken),
        "operation": operation,
    }
