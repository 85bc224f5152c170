"""A URL that each checkpoint is posted to, signed as Standard Webhooks say."""

import base64
import binascii
import hmac
import json
import time
from dataclasses import dataclass

from lastgood.access.log.destinations.delivery import SECONDS, Delivery, given, host_of
from lastgood.errors import CheckpointNotSent

TYPE = "audit.checkpoint"


def signature(secret: str, id: str, at: int, body: bytes) -> str:
    """The ``webhook-signature`` of a message: HMAC-SHA256 over id, time and body, under a secret that is ``whsec_``
    and base64, or any other text as it is."""
    key = secret.encode()
    if secret.startswith("whsec_"):
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            key = secret.encode()
    made = hmac.digest(key, f"{id}.{at}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(made).decode()}"


@dataclass(frozen=True, slots=True)
class Callback:
    """A subscriber; `url` and `secret` may name variables."""

    url: str
    secret: str

    @property
    def name(self) -> str:
        """How it is called: without the path, which may hold a secret."""
        return f"callback {self.url if self.url.startswith('env:') else host_of(self.url)}"[:255]

    def send(self, delivery: Delivery) -> None:
        """POST it. The id is the same at each attempt, so that a subscriber can tell a second one."""
        import httpx

        said = delivery.checkpoint
        data = {"origin": said.origin, "size": said.size, "root": said.root.hex(), "checkpoint": delivery.note}
        body = json.dumps({"type": TYPE, "timestamp": delivery.at, "data": data}).encode()
        id, at = f"checkpoint-{said.size}-{said.root.hex()[:16]}", int(time.time())
        headers = {"Content-Type": "application/json", "webhook-id": id, "webhook-timestamp": str(at)}
        if self.secret:
            headers["webhook-signature"] = signature(given(self.secret, self.name), id, at, body)
        url = given(self.url, self.name)
        try:
            answer = httpx.post(url, content=body, headers=headers, timeout=SECONDS, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CheckpointNotSent(destination=self.name, reason=type(error).__name__) from None
        if not answer.is_success:
            raise CheckpointNotSent(destination=self.name, reason=f"it answered {answer.status_code}")
