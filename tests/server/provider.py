"""A small OpenID Connect provider, which can be told to misbehave."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

CLIENT, SECRET = "lastgood", "client-secret-of-the-test"
REDIRECT = "http://api/v1/session/oidc/callback"


def encoded(data: bytes | dict[str, Any]) -> str:
    """As JWTs write it."""
    raw = json.dumps(data).encode() if isinstance(data, dict) else data
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def number(value: int) -> str:
    """As JWKs write it."""
    return encoded(value.to_bytes((value.bit_length() + 7) // 8))


@dataclass
class Provider:
    """`claims` go over those of a good ID token (None takes one away); `algorithm` and `key` sign it. What it saw of
    requests stands in `asked`."""

    url: str = ""
    kid: str = "k1"
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    published: rsa.RSAPrivateKey | None = None
    algorithm: str = "RS256"
    claims: dict[str, Any] = field(default_factory=dict)
    issuer: str = ""
    grants: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def authorize(self, url: str) -> tuple[str, str]:
        """What a browser brings back from the address `url`: state and code."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["response_type"] == "code" and asked["redirect_uri"] == REDIRECT
        assert asked["client_id"] == CLIENT and asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = f"code-{len(self.grants)}"
        self.grants[code] = asked
        return asked["state"], code

    def discovery(self) -> dict[str, Any]:
        """The document at the well-known place."""
        return {
            "issuer": self.issuer or self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }

    def jwks(self) -> dict[str, Any]:
        """The public keys."""
        numbers = (self.published or self.key).public_key().public_numbers()
        return {
            "keys": [{"kty": "RSA", "kid": self.kid, "use": "sig", "n": number(numbers.n), "e": number(numbers.e)}]
        }

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """The answer of the token endpoint. A code counts once, and only with its verifier."""
        asked = self.grants.pop(form.get("code", ""), None)
        challenge = encoded(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if asked is None or challenge != asked["code_challenge"] or form.get("redirect_uri") != REDIRECT:
            return 400, {"error": "invalid_grant", "error_description": f"not {SECRET}\x1b[2J"}
        return 200, {"access_token": "at", "token_type": "Bearer", "id_token": self.id_token(asked["nonce"])}

    def id_token(self, nonce: str) -> str:
        """A signed ID token."""
        now = int(time.time())
        claims = {
            **{"iss": self.url, "aud": CLIENT, "sub": "subject-7", "exp": now + 300, "iat": now, "nonce": nonce},
            **{"preferred_username": "ada", "name": "Ada Lovelace", "groups": ["sre", "everybody"]},
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        text = f"{encoded({'alg': self.algorithm, 'kid': self.kid, 'typ': 'JWT'})}.{encoded(claims)}"
        if self.algorithm == "none":
            return f"{text}."
        if self.algorithm == "HS256":  # with what everybody knows
            import hmac

            return f"{text}.{encoded(hmac.digest(json.dumps(self.jwks()).encode(), text.encode(), 'sha256'))}"
        return f"{text}.{encoded(self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@contextmanager
def provider() -> Iterator[Provider]:
    """One that runs."""
    told = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = {"/.well-known/openid-configuration": told.discovery, "/keys": told.jwks}.get(self.path)
            self._say(404 if found is None else 200, {} if found is None else found())

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            flat = {name: values[0] for name, values in form.items()}
            told.asked.append((self.headers.get("authorization", ""), flat))
            self._say(*told.token(flat))

        def _say(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield told
    server.shutdown()
    server.server_close()
