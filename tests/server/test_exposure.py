"""Where the server may listen, through whom requests come, and whom it believes."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import Request

from lastgood.access import tokens
from lastgood.db.store import Store
from lastgood.errors import InvalidSetting
from lastgood.server import exposure, identity
from lastgood.server.app import make_app
from lastgood.server.doorstep import Way
from support.stores import clean_settings, on_sqlite

from .conftest import Client
from .test_doors import is_problem

# (settings, what the refusal names; empty: it may listen so)
TABLE: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"api_host": "::1"}, ""),
    ({"api_host": "localhost"}, ""),
    ({"api_host": "0.0.0.0"}, "LASTGOOD_TLS_CERT"),
    ({"api_host": "10.0.0.5"}, "LASTGOOD_TRUSTED_PROXIES"),
    ({"api_host": "0.0.0.0", "trusted_network": True}, ""),
    ({"api_host": "0.0.0.0", "trusted_proxies": ["10.0.0.0/8"]}, ""),
    ({"api_host": "0.0.0.0", "trusted_proxies": ["not a network"]}, "trusted_proxies"),
    ({"api_host": "0.0.0.0", "tls_cert": "{cert}", "tls_key": "{cert}"}, ""),
    ({"api_host": "0.0.0.0", "tls_cert": "{cert}"}, "certificate and key are given together"),
    ({"tls_cert": "/no/such.pem", "tls_key": "/no/such.pem"}, "no such file"),
    ({"gateway_host": "0.0.0.0"}, "LASTGOOD_TRUSTED_NETWORK"),
    ({"gateway_host": "0.0.0.0", "tls_cert": "{cert}", "tls_key": "{cert}"}, "gateway_host"),
    ({"gateway_host": "0.0.0.0", "trusted_network": True}, ""),
]


@pytest.mark.parametrize(("given", "said"), TABLE)
def test_beyond_loopback_is_refused_unless_told(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    file = tmp_path / "cert.pem"
    file.write_text("")
    filled = {name: value.format(cert=file) if isinstance(value, str) else value for name, value in given.items()}
    settings = clean_settings(tmp_path / "home", **filled)
    if not said:
        exposure.check(settings)
        return
    with pytest.raises(InvalidSetting) as caught:
        exposure.check(settings)
    assert said in str(caught.value)


@on_sqlite
def test_until_there_is_an_admin_only_loopback_is_listened_on(store: Store) -> None:
    beyond = store.settings.model_copy(update={"api_host": "10.0.0.5"})
    exposure.require_admin(store.settings, store)
    with pytest.raises(InvalidSetting, match="lastgood init"):
        exposure.require_admin(beyond, store)
    store.write(tokens.first_admin)
    exposure.require_admin(beyond, store)


def test_what_listens_everywhere_is_found_on_loopback() -> None:
    settings = clean_settings(Path("/nowhere"))
    assert exposure.address_of(settings, "http://0.0.0.0:8321") == "http://127.0.0.1:8321"
    assert exposure.address_of(settings, "http://[::]:8321") == "http://[::1]:8321"
    assert exposure.address_of(settings, "http://10.0.0.5:1") == "http://10.0.0.5:1"
    secure = settings.model_copy(update={"tls_cert": Path("/x.pem")})
    assert exposure.address_of(secure, "http://127.0.0.1:8321") == "https://127.0.0.1:8321"


# (who connects, X-Forwarded-For, who it is then); 10.0.0.0/8 are our proxies
HOPS = [
    ("192.0.2.1", None, "192.0.2.1"),
    ("192.0.2.1", "198.51.100.9", "192.0.2.1"),  # a stranger says what they like
    ("10.0.0.1", None, "10.0.0.1"),
    ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
    ("10.0.0.1", "1.1.1.1, 198.51.100.9", "198.51.100.9"),  # what stands before it the client wrote
    ("10.0.0.1", "198.51.100.9, 10.0.0.2", "198.51.100.9"),
    ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
    ("10.0.0.1", "evil\tname, 198.51.100.9", "198.51.100.9"),
    ("10.0.0.1", "198.51.100.9, <script>", "10.0.0.1"),
    ("::ffff:10.0.0.1", "198.51.100.9", "198.51.100.9"),
    ("10.0.0.1", "::ffff:198.51.100.9", "198.51.100.9"),
    ("::ffff:192.0.2.1", None, "192.0.2.1"),  # else failed sign-ins of all who have IPv4 would count as one
]


@on_sqlite
@pytest.mark.parametrize(("peer", "said", "found"), HOPS)
def test_only_a_trusted_proxy_says_where_a_client_is(store: Store, peer: str, said: str | None, found: str) -> None:
    app = make_app(store, way=Way.of(("10.0.0.0/8",), only=False))

    @app.get("/where")
    def where(request: Request) -> str:
        return identity.asker_of(request).address

    headers = {} if said is None else {"X-Forwarded-For": said}
    answer = Client(app, peer=peer).get("/where", headers=headers)
    assert answer.json() == found


@on_sqlite
def test_beyond_loopback_without_tls_everybody_comes_through_the_proxy(store: Store) -> None:
    way = exposure.check(
        store.settings.model_copy(update={"api_host": "0.0.0.0", "trusted_proxies": ("10.0.0.0/8",)})
    )
    app = make_app(store, way=way)
    own = ("127.0.0.1", "::ffff:127.0.0.1", "::1", "api")
    for peer, status in (("10.0.0.1", 200), ("192.0.2.1", 403), *((one, 200) for one in own)):
        answer = Client(app, peer=peer).get("/healthz")
        assert answer.status_code == status, peer
    told = is_problem(Client(app, peer="192.0.2.1").get("/healthz"), 403)
    assert "192.0.2.1 is none of LASTGOOD_TRUSTED_PROXIES" in told["detail"]
