"""The `systemd` listener: a unit is restarted and must be active. With ``{version}`` in its name, as in
``invoice@{version}.service``, the unit of the old version is stopped first."""

from typing import Final

from lastgood.catalogue import Listener
from lastgood.dsl.mask import Mask
from lastgood.release.listeners import template, tools
from lastgood.release.listeners.answer import Answer
from lastgood.release.listeners.tools import Seen
from lastgood.release.means import Notice

_SYSTEMCTL: Final = ("systemctl", "--no-ask-password")  # nobody is there to type one
_NOT_LOADED: Final = 5
_UNKNOWN: Final = 4
_WELL: Final = ("active", "reloading", "refreshing")
_WAIT: Final = ("activating", "deactivating", "maintenance")


def tell(listener: Listener, notice: Notice, until: float, mask: Mask) -> Answer:
    """Restart the unit and wait until it is active. Raises `BadTemplate`, `Stopped`."""
    given = template.values(notice)
    unit = template.argument(listener.unit, given)
    if "version" in template.names(listener.unit) and notice.from_version:
        old = template.argument(listener.unit, given | {"version": notice.from_version})
        if old != unit:
            ended = tools.call(*_SYSTEMCTL, "stop", "--", old, until=until, mask=mask)
            if not ended.good and ended.code != _NOT_LOADED:  # what is not loaded does not run
                return Answer("failed", tools.telling((*_SYSTEMCTL, "stop", old), ended))
    tools.require(*_SYSTEMCTL, "restart", "--", unit, until=until, mask=mask)
    return tools.watch(lambda: _look(unit, until, mask), until)


def flaw(listener: Listener) -> str:
    """What its declaration lacks."""
    template.names(listener.unit)
    if listener.unit.startswith("-"):
        return f"its unit {listener.unit!r} would be an option"
    return "" if listener.unit else "it has no unit"


def _look(unit: str, until: float, mask: Mask) -> Seen:
    command = (*_SYSTEMCTL, "is-active", "--", unit)
    ended = tools.call(*command, until=until, mask=mask)
    state, *_ = tools.line_of(ended, (*_WELL, *_WAIT, "inactive", "failed"))
    if ended.good and state in _WELL:
        return Seen("well", f"{unit} is {state}")
    if state in _WAIT:
        return Seen("wait", f"{unit} is still {state}")
    if ended.code == _UNKNOWN:
        return Seen("lost", f"there is no unit {unit}")
    if state == "inactive":
        return Seen("lost", f"{unit} is inactive: it has ended (a oneshot unit needs RemainAfterExit=yes)")
    if state == "failed":
        return Seen("lost", f"{unit} failed; look at journalctl -u {unit}")
    return Seen("lost", tools.telling(command, ended))
