"""The `http` listener: the move is POSTed as JSON, and an answer of 2xx acknowledges it."""

import queue
import threading
from collections.abc import Callable, Mapping
from time import monotonic, sleep
from typing import Any, Final

import httpx

from lastgood.catalogue import Listener
from lastgood.dsl.mask import Mask
from lastgood.release.listeners import template
from lastgood.release.listeners.answer import Answer
from lastgood.release.means import Notice
from lastgood.release.output import masked
from lastgood.release.tls import trusted

_ATTEMPTS: Final = 3
_PAUSE: Final = 0.2  # seconds before the second attempt; twice as many before the third
_SAID: Final = 200  # characters of a refusal that are quoted


def tell(listener: Listener, notice: Notice, until: float, mask: Mask) -> Answer:
    """Post the notice. Raises `BadTemplate`."""
    url = template.address(listener.url, template.values(notice))
    return post(url, notice.as_data(), {"Idempotency-Key": notice.key}, until, mask)


def flaw(listener: Listener) -> str:
    """What its declaration lacks. A URL may hold a token, so it is not quoted."""
    if not listener.url:
        return "it has no url"
    template.names(listener.url)
    return "" if is_web(template.address(listener.url, dict.fromkeys(template.PLACEHOLDERS, "x"))) else NO_WEB


NO_WEB: Final = "its url is not an http:// or https:// address"


def is_web(url: str) -> bool:
    """Whether `url` can be posted to."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme in ("http", "https") and bool(parsed.host)


def post(url: str, body: Mapping[str, Any], headers: Mapping[str, str], until: float, mask: Mask) -> Answer:
    """Post `body` as JSON, up to three times where nobody answers or the answer is 5xx, until the monotonic time
    `until`. Redirects are not followed: what is at the other end need not be what was declared."""
    if not is_web(url):
        return Answer("failed", NO_WEB)
    host = httpx.URL(url).netloc.decode(errors="replace")  # the rest of the URL may be a token
    late = Answer("timed out", f"{host} gave no answer in time")
    return _within(until, lambda: _attempts(url, host, body, headers, until, mask), late)


def _attempts(
    url: str, host: str, body: Mapping[str, Any], headers: Mapping[str, str], until: float, mask: Mask
) -> Answer:
    answer = Answer("timed out", f"{host} gave no answer in time")
    with httpx.Client(verify=trusted(), trust_env=False, follow_redirects=False) as client:
        for attempt in range(_ATTEMPTS):
            pause = _PAUSE * 2 ** (attempt - 1) if attempt else 0.0
            left = until - monotonic() - pause
            if left <= 0:
                break
            sleep(pause)
            try:
                with client.stream("POST", url, json=body, headers=headers, timeout=left) as response:
                    if response.status_code < 500:
                        return _judged(host, response, mask)
                    answer = Answer("failed", f"{host} answered {response.status_code}, {attempt + 1} times")
            except httpx.TimeoutException:
                return Answer("timed out", f"{host} gave no answer in time")
            except httpx.TransportError as error:
                answer = Answer("failed", f"{host} was not reached ({type(error).__name__}), {attempt + 1} times")
    return answer


def _judged(host: str, response: httpx.Response, mask: Mask) -> Answer:
    status = response.status_code
    if response.is_success:
        return Answer("acknowledged", f"{host} answered {status}")
    if response.is_redirect:
        return Answer("failed", f"{host} answered {status}; redirects are not followed")
    said = next(response.iter_bytes(_SAID * 4), b"").decode(errors="replace")
    words = " ".join(masked(said, mask).split())[:_SAID]
    return Answer("failed", f"{host} answered {status}" + (f": {words}" if words else ""))


def _within(until: float, work: Callable[[], Answer], late: Answer) -> Answer:
    """What `work` answers, or `late`: httpx limits each read, and an answer that comes byte by byte has many."""
    answers: queue.Queue[Answer | Exception] = queue.Queue()

    def run() -> None:
        try:
            answers.put(work())
        except Exception as error:  # raised again where it is waited for
            answers.put(error)

    threading.Thread(target=run, name="http-listener", daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.0, until - monotonic()))
    except queue.Empty:
        return late
    if isinstance(answer, Exception):
        raise answer
    return answer
