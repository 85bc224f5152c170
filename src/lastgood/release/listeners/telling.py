"""Telling listeners of a move: which of them, and how each answered."""

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from time import monotonic, perf_counter
from typing import Final

from lastgood.catalogue import Listener
from lastgood.dsl.mask import Mask
from lastgood.errors import UnknownListener
from lastgood.release.listeners import command, docker, files, http, systemd
from lastgood.release.listeners.answer import Answer
from lastgood.release.listeners.template import BadTemplate
from lastgood.release.listeners.tools import Stopped
from lastgood.release.means import Notice, Told
from lastgood.release.output import masked
from lastgood.settings import Settings

_AT_ONCE: Final = 32
_DETAIL: Final = 500  # characters
_TELL: Final[dict[str, Callable[[Listener, Notice, float, Mask], Answer]]] = {
    "file": files.tell,
    "systemd": systemd.tell,
    "docker": docker.tell,
    "command": command.tell,
    "http": http.tell,
}
_FLAW: Final[dict[str, Callable[[Listener], str]]] = {
    "file": files.flaw,
    "systemd": systemd.flaw,
    "docker": docker.flaw,
    "command": command.flaw,
    "http": http.flaw,
}


def for_move(settings: Settings, notice: Notice, named: tuple[str, ...] | None) -> dict[str, Listener]:
    """The listeners to tell of a move, by name: those that are declared for its workflow and channel, or those that a
    plan names. Raises `UnknownListener`."""
    if named is None:
        return {name: one for name, one in settings.listeners.items() if concerns(one, notice)}
    for name in named:
        if name not in settings.listeners:
            known = ", ".join(sorted(settings.listeners)) or "none"
            raise UnknownListener(listener=name, known=known)
    return {name: settings.listeners[name] for name in named}


def concerns(listener: Listener, notice: Notice) -> bool:
    """Whether it is declared for the workflow (by slug or id) and the channel of this move."""
    workflow = any(fnmatchcase(one, pattern) for pattern in listener.workflows for one in _names(notice))
    return workflow and any(fnmatchcase(notice.channel, pattern) for pattern in listener.channels)


def flaw(listener: Listener) -> str:
    """What is wrong with a listener as it is declared, a sentence without its name; empty where it can be told."""
    try:
        return _FLAW[listener.kind](listener)
    except BadTemplate as error:
        return str(error)


def tell(name: str, listener: Listener, notice: Notice, *, secrets: Iterable[str] = ()) -> Told:
    """Tell one listener of a move and wait for its answer, at most for its timeout (and some seconds where a command
    must be killed). Never raises: what goes wrong is its answer. `secrets` are masked."""
    began = perf_counter()
    mask = Mask(secrets)
    answer = _answer(listener, notice, mask)
    detail = " ".join(masked(answer.detail, mask).split())
    if len(detail) > _DETAIL:
        detail = detail[: _DETAIL - 1] + "…"
    return Told(name, answer.outcome, detail, (perf_counter() - began) * 1000, listener.required)


def tell_all(listeners: Mapping[str, Listener], notice: Notice, *, secrets: Iterable[str] = ()) -> list[Told]:
    """Tell all of them at once; their answers in the order of `listeners`."""
    if not listeners:
        return []
    kept = tuple(secrets)
    with ThreadPoolExecutor(min(len(listeners), _AT_ONCE), thread_name_prefix="listener") as pool:
        return list(pool.map(lambda item: tell(item[0], item[1], notice, secrets=kept), listeners.items()))


def _names(notice: Notice) -> tuple[str, str]:
    return notice.workflow, notice.workflow_id


def _answer(listener: Listener, notice: Notice, mask: Mask) -> Answer:
    if not concerns(listener, notice):
        return Answer("skipped", f"it is not declared for {notice.channel} of {notice.workflow}")
    found = flaw(listener)
    if found:
        return Answer("failed", f"{found}; see lastgood.toml")
    try:
        return _TELL[listener.kind](listener, notice, monotonic() + listener.timeout, mask)
    except Stopped as error:
        return error.answer
    except Exception as error:  # whatever it is, the operation goes on and says which listener it was
        return _went_wrong(error)


def _went_wrong(error: Exception) -> Answer:
    if isinstance(error, BadTemplate):
        return Answer("failed", str(error))
    if isinstance(error, TimeoutError):
        return Answer("timed out", str(error))
    if isinstance(error, OSError) and error.errno:
        where = f"{error.filename}: " if error.filename else ""
        return Answer("failed", where + os.strerror(error.errno))
    return Answer("failed", f"it could not be told ({type(error).__name__}: {error})")
