"""Reads that go to the driver itself, for the few places where SQLAlchemy's work on a statement and its rows takes
longer than the database's own."""

from typing import Any

from sqlalchemy import SelectBase
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.exc import DBAPIError

from lastgood.db.tx import Tx

_SQLITE = pysqlite.dialect(paramstyle="named")
_POSTGRES = psycopg.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy has not typed it


class Direct:
    """A SELECT that is written out once for each database: the same for both, or another one for PostgreSQL."""

    def __init__(self, sqlite: SelectBase, postgres: SelectBase | None = None) -> None:
        self._sqlite = str(sqlite.compile(dialect=_SQLITE))
        self._postgres = str((sqlite if postgres is None else postgres).compile(dialect=_POSTGRES))

    def rows(self, tx: Tx, **given: Any) -> list[tuple[Any, ...]]:
        """Its rows, as the driver gives them, for the parameters `given`, as the driver takes them: no type of a
        column changes either. Raises SQLAlchemy's `DBAPIError`, as every statement does."""
        connection, dialect = tx.connection, tx.connection.dialect
        text = self._postgres if tx.postgres else self._sqlite
        # In PostgreSQL's binary form bytes are themselves, not twice as many hexadecimal digits.
        cursor: Any = connection.connection.cursor(**({"binary": True} if tx.postgres else {}))
        try:
            cursor.execute(text, given)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        except dialect.loaded_dbapi.Error as error:
            lost = dialect.is_disconnect(error, connection.connection, cursor)
            if lost:
                connection.invalidate(error)
            raise DBAPIError.instance(
                text, None, error, dialect.loaded_dbapi.Error, connection_invalidated=lost, dialect=dialect
            ) from error
        finally:
            cursor.close()
        return found
