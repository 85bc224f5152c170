"""Signing in with an identity provider (OpenID Connect Core 1.0, the authorization code flow with PKCE), by Authlib.

What a client has to remember between the way there and the way back (state, nonce, PKCE verifier) travels in a cookie
of its own, sealed under the key ring, and counts once. The provider's keys and addresses come from its discovery
document and are asked for again after an hour, or when a token is signed by a key that is not known yet."""

import hashlib
import hmac
import json
import os
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlsplit

from lastgood.catalogue import Oidc
from lastgood.db.ring import KeyRing
from lastgood.errors import NoProvider, ProviderRefused, ProviderUnreachable, Unsealable

MEMORY_SECONDS = 600  # how long a person may take at the provider
_FRESH_SECONDS = 3600.0
_LEAST_SECONDS = 10.0  # between two looks for a key that is not known, or for a provider that was away
_ASK_SECONDS = 10.0
_MOST_BYTES = 2**20
_LEEWAY = 60
_CONTEXT = "session/oidc"
_ENVIRONMENT = "env:"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Signatures with a public key only: `none`, and a secret shared with the client, prove nothing of the provider.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the provider says it is: known by `issuer` and `subject`, called `name`, with the roles of their groups."""

    issuer: str
    subject: str
    name: str
    display: str
    email: str
    roles: frozenset[str]


class Provider:
    """The provider that `settings` name. Every method raises `NoProvider` where none is named, `ProviderUnreachable`
    and `ProviderRefused`. May be used by many threads."""

    def __init__(self, settings: Oidc) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._metadata: dict[str, Any] = {}
        self._metadata_until = 0.0
        self._away = ""
        self._away_until = 0.0
        self._keys: Any = None
        self._keys_at = 0.0

    def way_there(self, ring: KeyRing) -> tuple[str, str]:
        """The address that a browser is sent to, and what it is to remember (sealed, for a cookie)."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        metadata = self._discovered()
        memory = {
            "state": secrets.token_urlsafe(24),
            "nonce": secrets.token_urlsafe(24),
            "verifier": secrets.token_urlsafe(48),
            "at": time.time(),
        }
        url = prepare_grant_uri(
            metadata["authorization_endpoint"],
            client_id=self._settings.client_id,
            response_type="code",
            redirect_uri=self._settings.redirect_url,
            scope=" ".join(self._settings.scopes),
            state=memory["state"],
            nonce=memory["nonce"],
            code_challenge=create_s256_code_challenge(memory["verifier"]),
            code_challenge_method="S256",
        )
        return url, ring.seal(json.dumps(memory), _CONTEXT).hex()

    def way_back(self, ring: KeyRing, remembered: str, state: str, code: str) -> tuple[Identity, str]:
        """Who came back with `state` and `code`, and a name of this very way, which may be gone once only."""
        metadata = self._discovered()
        memory = _memory(ring, remembered)
        if not hmac.compare_digest(memory["state"].encode(), state.encode("utf-8", "replace")):
            raise ProviderRefused(reason="it is not the sign-in that this browser began (state)")
        claims = self._verified(self._token(metadata, code, memory["verifier"]), memory["nonce"], metadata)
        return self._identity(claims), hashlib.sha256(memory["state"].encode()).hexdigest()

    def _secret(self) -> str:
        value = self._settings.client_secret
        return os.environ.get(value.removeprefix(_ENVIRONMENT), "") if value.startswith(_ENVIRONMENT) else value

    def _token(self, metadata: dict[str, Any], code: str, verifier: str) -> str:
        import httpx
        from authlib.oauth2.rfc6749.parameters import prepare_token_request

        settings, secret = self._settings, self._secret()
        body = prepare_token_request(
            "authorization_code",
            code=code,
            redirect_uri=settings.redirect_url,
            code_verifier=verifier,
            **({} if secret else {"client_id": settings.client_id}),
        )
        # RFC 6749, 2.3.1: both are written as in a form before they are joined.
        auth = (quote_plus(settings.client_id), quote_plus(secret)) if secret else None
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        try:
            with _http() as http:
                said = http.post(metadata["token_endpoint"], content=body, headers=headers, auth=auth)
                answer = said.json()
        except (httpx.HTTPError, ValueError) as error:
            raise self._unreachable(type(error).__name__) from None
        if not isinstance(answer, dict):
            raise self._unreachable("not a JSON object")
        if not said.is_success:
            raise ProviderRefused(
                reason=f"it does not take the code ({_word(answer.get('error', said.status_code))})"
            )
        if not isinstance(answer.get("id_token"), str):
            raise ProviderRefused(reason="it gave no ID token; ask for the scope openid")
        return str(answer["id_token"])

    def _verified(self, id_token: str, nonce: str, metadata: dict[str, Any]) -> dict[str, Any]:
        from authlib.oidc.core import CodeIDToken
        from joserfc import errors, jwt

        def decode(keys: Any) -> Any:
            return jwt.decode(id_token, keys, algorithms=_ALGORITHMS)

        try:
            try:
                token = decode(self._key_set(metadata))
            except (errors.InvalidKeyIdError, errors.BadSignatureError):
                token = decode(self._key_set(metadata, anew=True))
            options = {
                "iss": {"essential": True, "value": metadata["issuer"]},
                "aud": {"essential": True, "value": self._settings.client_id},
                "sub": {"essential": True},
            }
            claims = CodeIDToken(
                token.claims, token.header, options, {"nonce": nonce, "client_id": self._settings.client_id}
            )
            claims.validate(leeway=_LEEWAY)
        except ProviderUnreachable:
            raise
        except Exception as error:  # whatever a hostile token makes of the libraries, it is refused
            raise ProviderRefused(reason=f"its ID token is not valid ({_fault(error)})") from None
        return dict(token.claims)

    def _identity(self, claims: dict[str, Any]) -> Identity:
        settings = self._settings
        email = claims.get("email") if claims.get("email_verified") is True else None
        name = claims.get(settings.name_claim) if settings.name_claim else claims.get("preferred_username") or email
        if not isinstance(name, str) or not name:
            wanted = settings.name_claim or "preferred_username nor a verified email"
            raise ProviderRefused(reason=f"the ID token has no {wanted}, so the person has no name here")
        groups = claims.get(settings.groups_claim, [])
        groups = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        roles = {settings.groups[group] for group in groups if isinstance(group, str) and group in settings.groups}
        display = claims.get("name")
        return Identity(
            issuer=settings.issuer,
            subject=str(claims["sub"]),
            name=name,
            display=display[:255] if isinstance(display, str) else "",
            email=email[:255] if isinstance(email, str) else "",
            roles=frozenset(roles),
        )

    def _discovered(self) -> dict[str, Any]:
        settings = self._settings
        if not (settings.issuer and settings.client_id and settings.redirect_url):
            raise NoProvider()
        with self._lock:
            now = time.monotonic()
            if now >= self._metadata_until:
                if now < self._away_until:  # else each who asks would wait in turn, and with them every other request
                    raise self._unreachable(self._away)
                try:
                    self._metadata, self._keys = self._discover(), None
                except ProviderUnreachable as error:
                    self._away, self._away_until = error.data["reason"], time.monotonic() + _LEAST_SECONDS
                    raise
                self._metadata_until = time.monotonic() + _FRESH_SECONDS
            return self._metadata

    def _discover(self) -> dict[str, Any]:
        issuer = self._settings.issuer
        found = self._ask(issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise self._unreachable("its discovery document is that of another issuer")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(found.get(name), str) or not _is_safe(found[name]):
                raise self._unreachable(f"its {name} is not an https address")
        return found

    def _key_set(self, metadata: dict[str, Any], *, anew: bool = False) -> Any:
        from joserfc.jwk import KeySet

        with self._lock:
            now = time.monotonic()
            if self._keys is None or (anew and now - self._keys_at >= _LEAST_SECONDS):
                self._keys, self._keys_at = KeySet.import_key_set(self._ask(metadata["jwks_uri"])), now  # type: ignore[arg-type]
            return self._keys

    def _ask(self, url: str) -> dict[str, Any]:
        import httpx

        if not _is_safe(url):
            raise self._unreachable("the address is not https")
        try:
            with _http() as http, http.stream("GET", url) as answer:
                answer.raise_for_status()
                body = b""
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise ValueError("too large")
            found = json.loads(body)
        except (httpx.HTTPError, ValueError) as error:
            raise self._unreachable(type(error).__name__) from None
        if not isinstance(found, dict):
            raise self._unreachable("not a JSON object")
        return found

    def _unreachable(self, reason: str) -> ProviderUnreachable:
        return ProviderUnreachable(issuer=self._settings.issuer, reason=reason)


def _http() -> Any:
    import httpx

    return httpx.Client(timeout=_ASK_SECONDS, follow_redirects=False, trust_env=False)


def _memory(ring: KeyRing, remembered: str) -> dict[str, str]:
    try:
        found: dict[str, Any] = json.loads(ring.unseal(bytes.fromhex(remembered), _CONTEXT))
    except (ValueError, Unsealable):
        raise ProviderRefused(reason="this browser began no sign-in, or keeps no cookies") from None
    if not 0 <= time.time() - found.pop("at") <= MEMORY_SECONDS:
        raise ProviderRefused(reason="it took too long")
    return found


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


def _word(text: object) -> str:
    """A short code of the provider's, free of anything that steers a terminal or a page."""
    return "".join(c for c in str(text) if c.isascii() and (c.isalnum() or c in "_- "))[:40]


def _fault(error: Exception) -> str:
    claim = getattr(error, "claim_name", None) or getattr(error, "claim", None)
    return " ".join(filter(None, (type(error).__name__.removesuffix("Error"), _word(claim) if claim else "")))
