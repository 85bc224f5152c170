"""An S3-compatible store: an object for each checkpoint. With object lock not even its owner can take it back."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote, urlsplit

from lastgood.access.log.destinations import sigv4
from lastgood.access.log.destinations.delivery import SECONDS, Delivery, given, host_of
from lastgood.catalogue import Bucket
from lastgood.errors import CheckpointNotSent

_TYPE = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class S3:
    """A bucket, addressed by path."""

    bucket: Bucket

    @property
    def name(self) -> str:
        """How it is called."""
        return f"s3 {host_of(self.bucket.endpoint)}/{self.bucket.bucket}/{self.bucket.prefix}"[:255]

    def send(self, delivery: Delivery) -> None:
        """PUT the note as ``<prefix>checkpoint-<size>``, the size with leading zeros."""
        import httpx

        one = self.bucket
        access, secret = (given(value, self.name) for value in (one.access_key, one.secret_key))
        object = f"{one.prefix}checkpoint-{delivery.checkpoint.size:020d}"
        path = f"{urlsplit(one.endpoint).path.rstrip('/')}/{one.bucket}/{object}"
        body = delivery.note.encode()
        time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        payload = sha256(body).hexdigest()
        headers = {
            "Host": urlsplit(one.endpoint).netloc.rpartition("@")[2],
            "Content-Type": _TYPE,
            "X-Amz-Content-Sha256": payload,
            "X-Amz-Date": time,
        }
        headers["Authorization"] = sigv4.authorization(
            "PUT", path, headers, payload=payload, time=time, region=one.region, access_key=access, secret_key=secret
        )
        url = f"{host_of(one.endpoint)}{quote(path, safe='/-_.~')}"
        try:
            answer = httpx.put(url, content=body, headers=headers, timeout=SECONDS, follow_redirects=False)
        except httpx.HTTPError as error:
            raise CheckpointNotSent(destination=self.name, reason=type(error).__name__) from None
        if not answer.is_success:
            raise CheckpointNotSent(destination=self.name, reason=f"it answered {answer.status_code}")
