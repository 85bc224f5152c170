"""The blocking answer of a chatflow, put together from the events of a streamed one, as Dify 1.14.2 gives it.

Dify 1.13.0 never answers a blocking call of a chatflow."""

from typing import Any, Final

from lastgood.gateway.answers import Answer, dify_error, json_answer
from lastgood.gateway.events import Event

_LARGEST: Final = 16 * 2**20
_IDS: Final = ("task_id", "message_id", "conversation_id", "created_at")
_NO_METADATA: Final[dict[str, Any]] = {"annotation_reply": None, "retriever_resources": []}
_FORM: Final = " in input form"


class TooLarge(Exception):
    """The answer is larger than the gateway puts together."""


class Assembly:
    """Is told the events of one message, and gives the answer. `mode` is the app's."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._ids: dict[str, Any] = {}
        self._said: list[str] = []
        self._size = 0
        self._metadata: dict[str, Any] | None = None
        self._finished: dict[str, Any] = {}
        self._error: dict[str, Any] | None = None

    def take(self, event: Event) -> None:
        """The next event. Raises `TooLarge`."""
        if event.name in {b"message", b"agent_message"}:
            told = self._told(event)
            text = told.get("answer")
            if isinstance(text, str):
                self._add(text)
        elif event.name == b"message_replace":
            told = self._told(event)
            self._said, self._size = [], 0
            self._add(str(told.get("answer") or ""))
        elif event.name == b"message_end":
            metadata = self._told(event).get("metadata")
            self._metadata = metadata if isinstance(metadata, dict) else None
        elif event.name == b"workflow_finished":
            data = self._told(event).get("data")
            self._finished = data if isinstance(data, dict) else {}
        elif event.name == b"error":
            self._error = event.read()
        elif not self._ids and event.name != b"ping":
            self._told(event)

    def answer(self) -> Answer:
        """What Dify would answer to the blocking call."""
        if self._error is not None:
            return _refusal(self._error)
        if self._finished.get("status") == "failed":
            return dify_error(400, "invalid_param", f"Run failed: {self._finished.get('error') or ''}")
        outputs = self._finished.get("outputs")
        whole = outputs.get("answer") if isinstance(outputs, dict) and not self._said else None
        content = {
            "event": "message",
            "task_id": self._ids.get("task_id"),
            "id": self._ids.get("message_id"),
            "message_id": self._ids.get("message_id"),
            "conversation_id": self._ids.get("conversation_id"),
            "mode": self._mode,
            "answer": whole if isinstance(whole, str) else "".join(self._said),
            "metadata": _NO_METADATA if self._metadata is None else self._metadata,
            "created_at": self._ids.get("created_at"),
        }
        return json_answer(200, content, kind=b"application/json; charset=utf-8")

    def _told(self, event: Event) -> dict[str, Any]:
        if not event.whole:
            raise TooLarge
        told = event.read()
        for name in _IDS:
            if name not in self._ids and told.get(name) is not None:
                self._ids[name] = told[name]
        return told

    def _add(self, text: str) -> None:
        self._size += len(text)
        if self._size > _LARGEST:
            raise TooLarge
        self._said.append(text)


def _refusal(error: dict[str, Any]) -> Answer:
    """An error event as the answer to a blocking call. One without a code is what the worker raised: for inputs
    that do not fit, Dify's blocking calls say 400."""
    message = str(error.get("message") or "The run broke off.")
    status, code = error.get("status"), error.get("code")
    if not isinstance(status, int) or not 400 <= status <= 599:
        status = 500
    if not isinstance(code, str) or not code:
        if _FORM in message:
            return dify_error(400, "invalid_param", message)
        code = "internal_server_error" if status >= 500 else "invalid_param"
    return dify_error(status, code, message)
