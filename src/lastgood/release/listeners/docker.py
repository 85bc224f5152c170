"""The `docker` listener: with ``{version}`` in the container's name, the old version's container is stopped and the
new one's started; without, the one container is restarted. It must run then, and be healthy where it has a health
check."""

from typing import Final

from lastgood.catalogue import Listener
from lastgood.dsl.mask import Mask
from lastgood.release.listeners import template, tools
from lastgood.release.listeners.answer import Answer
from lastgood.release.listeners.tools import Seen
from lastgood.release.means import Notice

# A container without a health check has no State.Health to ask for.
_STATE: Final = "{{.State.Status}} {{.State.ExitCode}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"
_ABSENT: Final = ("no such container", "no such object")
_STATES: Final = ("created", "running", "paused", "restarting", "removing", "exited", "dead")


def tell(listener: Listener, notice: Notice, until: float, mask: Mask) -> Answer:
    """Start the version's container and wait until it is well. Raises `BadTemplate`, `Stopped`."""
    given = template.values(notice)
    name = template.argument(listener.container, given)
    if _look(name, until, mask) is None:
        return Answer("failed", f"there is no container {name}; nothing was stopped")
    stopped = ""
    if "version" not in template.names(listener.container):
        tools.require("docker", "restart", "--", name, until=until, mask=mask)
    else:
        old = template.argument(listener.container, given | {"version": notice.from_version or ""})
        if notice.from_version and old != name:
            stopped = _stop(old, until, mask)
        try:
            tools.require("docker", "start", "--", name, until=until, mask=mask)
        except tools.Stopped as error:
            raise tools.Stopped(Answer(error.answer.outcome, error.answer.detail + stopped)) from None
    answer = tools.watch(lambda: _look(name, until, mask) or Seen("lost", f"{name} was removed"), until)
    return Answer(answer.outcome, answer.detail + stopped)


def flaw(listener: Listener) -> str:
    """What its declaration lacks."""
    template.names(listener.container)
    if listener.container.startswith("-"):
        return f"its container {listener.container!r} would be an option"
    return "" if listener.container else "it has no container"


def _stop(name: str, until: float, mask: Mask) -> str:
    """Stop a container and say so; one that is not there needs no stopping. Raises `Stopped`."""
    ended = tools.call("docker", "stop", "--", name, until=until, mask=mask)
    if ended.good:
        return f"; {name} was stopped"
    if any(words in ended.output.lower() for words in _ABSENT):
        return f"; there was no {name} to stop"
    raise tools.Stopped(Answer("failed", tools.telling(("docker", "stop", name), ended)))


def _look(name: str, until: float, mask: Mask) -> Seen | None:
    """How a container is, None where there is none. Raises `Stopped` where docker cannot say."""
    command = ("docker", "inspect", "--type", "container", "--format", _STATE, "--", name)
    ended = tools.call(*command, until=until, mask=mask)
    if not ended.good:
        if any(words in ended.output.lower() for words in _ABSENT):
            return None
        raise tools.Stopped(Answer("failed", tools.telling(("docker", "inspect", name), ended)))
    state, code, health = tools.line_of(ended, _STATES)
    return _judged(name, state, code, health)


def _judged(name: str, state: str, code: str, health: str) -> Seen:
    if state == "running":
        return {
            "healthy": Seen("well", f"{name} is running and healthy"),
            "unhealthy": Seen("lost", f"{name} is running but unhealthy; look at docker inspect {name}"),
            "starting": Seen("wait", f"{name} is running, its health check has not passed yet"),
        }.get(health, Seen("well", f"{name} is running"))  # without a health check nothing is said, or "none"
    return {
        "restarting": Seen("wait", f"{name} keeps restarting (exit code {code})"),
        "created": Seen("wait", f"{name} is not running yet"),
        "": Seen("lost", f"docker inspect said nothing of how {name} is"),
    }.get(state, Seen("lost", f"{name} is {state} (exit code {code}); look at docker logs {name}"))
