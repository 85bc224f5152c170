"""The `command` listener: exit code 0 acknowledges the move."""

import json
from time import monotonic

from lastgood.catalogue import Listener
from lastgood.dsl.mask import Mask
from lastgood.release import commands
from lastgood.release.listeners import template
from lastgood.release.listeners.answer import Answer
from lastgood.release.means import Notice


def tell(listener: Listener, notice: Notice, until: float, mask: Mask) -> Answer:
    """Run the command as a hook is run. Raises `BadTemplate`."""
    given = template.values(notice)
    ended = commands.run(
        [template.argument(part, given) for part in listener.command],
        commands.environment(notice, {}),
        timeout=until - monotonic(),
        mask=mask,
        given=json.dumps(notice.as_data()).encode(),
    )
    said = f": {ended.last_line}" if ended.last_line else ""
    if ended.timed_out:
        return Answer("timed out", f"{listener.command[0]} had not ended within {listener.timeout:g} s{said}")
    return Answer("acknowledged" if ended.good else "failed", f"{listener.command[0]} {ended.sentence}{said}")


def flaw(listener: Listener) -> str:
    """What its declaration lacks."""
    for part in listener.command:
        template.names(part)
    return "" if listener.command else "it has no command"
