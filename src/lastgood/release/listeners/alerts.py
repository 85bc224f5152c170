"""The alert webhook, which hears that a move was done."""

from collections.abc import Iterable
from time import monotonic, perf_counter
from typing import Final

from lastgood.dsl.mask import Mask
from lastgood.release.listeners import http
from lastgood.release.listeners.answer import Answer
from lastgood.release.means import Notice, Told

_NAME: Final = "alert"
_SECONDS: Final = 10.0


def alert(url: str, notice: Notice, *, secrets: Iterable[str] = ()) -> Told:
    """Post the text that says what was done, as chat programs take it: ``text`` for Slack and those like it,
    ``content`` for Discord. Skipped where `url` is empty. Never raises, and never required."""
    began = perf_counter()
    if not url:
        return Told(_NAME, "skipped", "no alert webhook is set", 0.0, required=False)
    said = text(notice)
    try:
        answer = http.post(
            url,
            {"text": said, "content": said},
            {"Idempotency-Key": notice.key},
            monotonic() + _SECONDS,
            Mask([*secrets, url]),
        )
    except Exception as error:  # whatever it is, the move is done
        answer = Answer("failed", f"the alert could not be sent ({type(error).__name__})")
    return Told(_NAME, answer.outcome, answer.detail, (perf_counter() - began) * 1000, required=False)


def text(notice: Notice) -> str:
    """``Rollback executed to v-…``; for an undo ``Rollback undone, back to v-…``."""
    what = notice.kind.capitalize()
    if notice.direction == "undo":
        return f"{what} undone, back to {notice.to_version}"
    return f"{what} executed to {notice.to_version}"
