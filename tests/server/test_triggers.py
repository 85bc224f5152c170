"""The list of a workflow's triggers."""

from lastgood import dsl
from server.conftest import Api
from support.triggered import triggered


def publish(api: Api) -> str:
    body = {"document": dsl.to_yaml(triggered())}
    version = str(api.post("/v1/workflows/greet/versions", body, status=201)["version"]["id"])
    api.move("publish", 0, version=version, verify=False)
    return version


def test_triggers_are_listed_with_what_they_start(api: Api) -> None:
    version = publish(api)
    hook, every = api.get("/v1/workflows/greet/triggers")["items"]
    common = {"channel": "live", "state": "bound", "version": version, "generation": 1, "enabled": True}
    assert hook.items() >= {**common, "node": "hook", "kind": "webhook", "next": None, "last": None}.items()
    assert hook["url"].startswith("http://127.0.0.1:8322/triggers/webhook/")
    assert every.items() >= {**common, "node": "every", "cron": "0 9 * * *", "timezone": "UTC", "url": None}.items()
    assert every["next"][11:16] == "09:00"


def test_reading_addresses_is_audited(api: Api) -> None:
    publish(api)
    api.get("/v1/workflows/greet/triggers")
    with api.store.read() as tx:
        rows = tx.connection.exec_driver_sql("SELECT action FROM audit WHERE action = 'trigger:read'").all()
    assert len(rows) == 1


def test_no_address_stands_open_in_the_store(api: Api) -> None:
    publish(api)
    token = api.get("/v1/workflows/greet/triggers")["items"][0]["url"].rpartition("/")[2]
    with api.store.read() as tx:
        for table in ("trigger", "audit", "outbox"):
            for row in tx.connection.exec_driver_sql(f'SELECT * FROM "{table}"'):
                assert not any(token in str(bytes(v) if isinstance(v, memoryview) else v) for v in row)
