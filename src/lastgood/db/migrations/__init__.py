"""The schema's history, by Alembic: ``main`` (pointers and history) and ``runs`` (what the engine records)."""

import logging
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Connection, Engine, inspect, text

from lastgood.errors import StoreNewer

if TYPE_CHECKING:  # Alembic is imported where it is used
    from alembic.config import Config

# The newest revision of each, so that a start with nothing to do need not import Alembic (a test keeps them true).
HEADS = {"main": "0007", "runs": "0003"}
_VERSION_TABLE = {"main": "alembic_version", "runs": "alembic_version_runs"}
_METADATA = {"main": "lastgood.db.tables", "runs": "lastgood.db.runs"}
_LOCK = 7_241_551  # PostgreSQL advisory lock: two first starts at once take turns


def upgrade(engine: Engine, branch: Literal["main", "runs"]) -> None:
    """Bring the schema of `branch` to this release's. Raises `StoreNewer` when it is already beyond it."""
    with engine.connect() as connection:
        found = _revision(connection, branch)
    if found == HEADS[branch]:
        return
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        found = _revision(connection, branch)
        if found == HEADS[branch]:
            return
        if found is not None and int(found) > int(HEADS[branch]):
            url = engine.url.render_as_string(hide_password=True)
            raise StoreNewer(url=url, found=found, known=HEADS[branch])
        _run(connection, branch)


def _revision(connection: Connection, branch: str) -> str | None:
    table = _VERSION_TABLE[branch]
    if not inspect(connection).has_table(table):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {table}")).scalar()  # noqa: S608 - one of ours
    return found


def _run(connection: Connection, branch: str) -> None:
    from alembic import command

    # Each of its steps is told at the level of information, among a worker's own lines.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = alembic_config(branch)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def alembic_config(branch: str) -> "Config":
    """Alembic's configuration for `branch`; put an open connection in ``attributes["connection"]``."""
    from alembic.config import Config

    here = files(__name__)
    config = Config()
    config.set_main_option("script_location", _plain(here))
    config.set_main_option("version_locations", _plain(here / branch / "versions"))
    config.set_main_option("path_separator", "newline")  # one place; its path may hold spaces
    config.attributes["metadata"] = _METADATA[branch]
    config.attributes["version_table"] = _VERSION_TABLE[branch]
    return config


def _plain(path: Traversable) -> str:
    """`path` for Alembic's configuration, which gives the percent sign a meaning."""
    return str(path).replace("%", "%%")
