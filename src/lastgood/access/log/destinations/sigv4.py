"""AWS Signature Version 4 for one request with a header signature (the form that every S3-compatible store takes).

As AWS's "Authenticating Requests (AWS Signature Version 4)" describes it; the tests hold it to the examples there."""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"


def authorization(
    method: str,
    path: str,
    headers: Mapping[str, str],
    *,
    payload: str,
    time: str,
    region: str,
    access_key: str,
    secret_key: str,
    service: str = "s3",
    query: Mapping[str, str] | None = None,
) -> str:
    """The value of the Authorization header. `headers` are all that is signed, Host among them; `path` is not yet
    quoted; `payload` is the SHA-256 of the body in hex; `time` is ``20130524T000000Z``."""
    named = sorted((name.lower(), " ".join(value.split())) for name, value in headers.items())
    signed = ";".join(name for name, _ in named)
    asked = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in (query or {}).items())
    request = "\n".join(
        [
            method,
            quote(path, safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in asked),
            *(f"{name}:{value}" for name, value in named),
            "",
            signed,
            payload,
        ]
    )
    scope = f"{time[:8]}/{region}/{service}/aws4_request"
    text = "\n".join([_ALGORITHM, time, scope, sha256(request.encode()).hexdigest()])
    key = f"AWS4{secret_key}".encode()
    for part in (time[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return f"{_ALGORITHM} Credential={access_key}/{scope},SignedHeaders={signed},Signature={signature}"
