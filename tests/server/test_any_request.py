"""Any request at all, to every operation that the API describes: never an error of ours that we did not foresee, and
nothing in the answer that is nobody's business.

By default each operation is asked once by the admin, who gets furthest, and once by another role, in turn: enough to
find what is plainly wrong, in seconds. ``LASTGOOD_ANY_REQUESTS=50`` makes so many requests of each, as every role."""

import os
import re
import warnings
from collections import Counter
from itertools import cycle
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from lastgood import dsl
from lastgood.access import passwords, people, tokens
from lastgood.access.roles import BUILT_IN
from lastgood.db.store import Store
from lastgood.server.app import make_app
from support.documents import document
from support.scene import ALICE
from support.stores import on_sqlite

from .conftest import Client

pytestmark = on_sqlite

LONG = "LASTGOOD_ANY_REQUESTS" in os.environ
EXAMPLES = int(os.environ.get("LASTGOOD_ANY_REQUESTS", "1"))
SECRET_VALUE = "sk-secret-of-the-workflow-5309"
# These go out to the world or wait for it.
AWAY = {"/v1/session/oidc", "/v1/session/oidc/callback"}
LEAKS = re.compile(
    r'Traceback|File \\?"/|\$argon2|sqlalchemy|site-packages|lg_[A-Za-z0-9_-]{43}|app-[A-Za-z0-9_-]{32}'
)
MADE = {("POST", "/v1/tokens"), ("POST", "/v1/workflows/{workflow}/keys")}  # what is made is shown once


def test_no_request_is_an_unforeseen_error_or_tells_a_secret(store: Store) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from schemathesis import openapi
    who = {role: store.write(lambda tx, role=role: tokens.create(tx, ALICE, role, role=role)) for role in BUILT_IN}  # type: ignore[misc]
    who["nobody"] = store.write(lambda tx: tokens.create(tx, ALICE, "nobody"))
    kept = passwords.hashed("correct horse battery")
    store.write(lambda tx: people.create(tx, ALICE, "u1002", password=kept))
    app = make_app(store)
    client = Client(app)
    admin = {"Authorization": f"Bearer {who['admin']}"}
    known = _fill(client, admin)
    schema = openapi.from_dict(client.get("/openapi.json").json())
    found: list[str] = []
    turns = cycle([role for role in who if role != "admin"])
    tried: Counter[str] = Counter()
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]  # were it none, this fails
        if operation.path in AWAY:
            continue

        for sent, method in _requests(operation, known):
            for role in who if LONG else ("admin", next(turns)):
                tried[role] += 1
                token = who[role]
                path, headers = sent["path"], {**sent["headers"], "authorization": f"Bearer {token}"}
                more = {name: value for name, value in sent.items() if name not in ("path", "headers")}
                answer = client.request(method, path, headers=headers, **more)
                said = f"{role} {method} {path}: {answer.status_code} {answer.text[:300]}"
                if answer.status_code >= 500 and not _is_foreseen(answer):
                    found.append(f"unforeseen: {said}")
                text = answer.text + str(answer.headers)
                leaked = LEAKS.search(text) if (method, operation.path) not in MADE else None
                if leaked or SECRET_VALUE in text:
                    found.append(f"leak {leaked}: {said}")
    assert tried.keys() == who.keys()
    assert tried["admin"] > 100
    assert not found, "\n".join(found[:20])


def _requests(operation: Any, known: dict[str, str]) -> list[tuple[dict[str, Any], str]]:
    """A few requests of `operation`, the same at each run; about half of many name what there is."""
    found: list[tuple[dict[str, Any], str]] = []

    @seed(20261130)
    @settings(
        max_examples=EXAMPLES,
        phases=(Phase.generate,),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def collect(case: Any) -> None:
        for name in case.path_parameters or {}:
            if name in known and len(found) % 2 == 0:
                case.path_parameters[name] = known[name]
        found.append((_as_request(case), case.method))

    collect()
    return found


def _is_foreseen(answer: Any) -> bool:
    """An error with a name of its own, such as that no engine runs here."""
    return answer.status_code in (502, 503, 504) and str(answer.json()["type"]).startswith("urn:lastgood:problem:")


def _as_request(case: Any) -> dict[str, Any]:
    """`case` as our client sends it."""
    sent = case.as_transport_kwargs(base_url="http://api")
    url = sent.pop("url").removeprefix("http://api")
    headers = {
        name: value for name, value in dict(sent.pop("headers", {}) or {}).items() if name.lower() != "authorization"
    }
    kept = {
        name: value
        for name, value in sent.items()
        if name in ("params", "json", "content", "data") and value is not None
    }
    if "data" in kept:
        kept["content"] = kept.pop("data")
    headers = {name: str(value).encode("latin-1", "replace") for name, value in headers.items()}
    return {"path": url, "headers": headers, **kept}


def _fill(client: Client, admin: dict[str, str]) -> dict[str, str]:
    """A little of everything, so that requests find something: the names of it, by the parameter of the path."""
    value = document("hello").data
    value["workflow"]["environment_variables"] = [
        {"id": "e1", "name": "API_KEY", "value": SECRET_VALUE, "value_type": "secret", "selector": ["env", "API_KEY"]}
    ]
    body = {"document": dsl.to_yaml(dsl.Document(value))}
    made = client.post("/v1/workflows/greet/versions", json=body, headers=admin)
    assert made.status_code == 201, made.text
    told = made.json()["version"]
    return {"workflow": "greet", "version": told["id"], "channel": "live", "person": "u1002", "token": "nobody"}
