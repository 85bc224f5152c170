"""Where the server may listen: beyond loopback only with TLS or a proxy with TLS in front (or where one is told that
the network can be trusted), and only once somebody has the keys of the house."""

from urllib.parse import urlsplit

from lastgood.access import admins
from lastgood.db.store import Store
from lastgood.errors import InvalidSetting
from lastgood.server.doorstep import Way
from lastgood.settings import Settings

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - where a client finds what listens everywhere


def check(settings: Settings) -> Way:
    """How requests may come under `settings`. Raises `InvalidSetting`."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        given = "tls_cert" if settings.tls_cert else "tls_key"
        raise InvalidSetting(
            name=given,
            value=str(settings.tls_cert or settings.tls_key),
            reason="certificate and key are given together",
        )
    for name in ("tls_cert", "tls_key"):
        file = getattr(settings, name)
        if file is not None and not file.is_file():
            raise InvalidSetting(name=name, value=str(file), reason="there is no such file")
    told = settings.trusted_network
    beyond = settings.api_host not in _LOOPBACK
    encrypted = settings.tls_cert is not None
    if beyond and not (encrypted or settings.trusted_proxies or told):
        reason = (
            "beyond loopback the management API needs TLS (LASTGOOD_TLS_CERT and LASTGOOD_TLS_KEY), or a proxy with "
            "TLS in front (LASTGOOD_TRUSTED_PROXIES), or your word that the network can be trusted "
            "(LASTGOOD_TRUSTED_NETWORK=true)"
        )
        raise InvalidSetting(name="api_host", value=settings.api_host, reason=reason)
    if settings.gateway_host not in _LOOPBACK and not told:
        reason = (
            "only loopback addresses are allowed; put a proxy with TLS in front, or say that the network can be "
            "trusted (LASTGOOD_TRUSTED_NETWORK=true)"
        )
        raise InvalidSetting(name="gateway_host", value=settings.gateway_host, reason=reason)
    return Way.of(settings.trusted_proxies, only=beyond and not encrypted and not told)


def require_admin(settings: Settings, store: Store) -> None:
    """Raises `InvalidSetting` where strangers could come while there is no admin yet."""
    if settings.api_host in _LOOPBACK:
        return
    with store.read() as tx:
        if admins.exist(tx):
            return
    reason = "there is no admin yet, and until then only loopback is listened on; make one with `lastgood init`"
    raise InvalidSetting(name="api_host", value=settings.api_host, reason=reason)


def address_of(settings: Settings, url: str) -> str:
    """The address that clients on this machine use for what listens at `url`."""
    parts = urlsplit(url)
    host = _EVERYWHERE.get(parts.hostname or "", parts.netloc.rpartition(":")[0])
    return f"{'https' if settings.tls_cert else 'http'}://{host}:{parts.port}"


def certificate(settings: Settings) -> dict[str, str]:
    """What the local command line holds the server's certificate against: that very file."""
    return {"certificate": str(settings.tls_cert.absolute())} if settings.tls_cert else {}
