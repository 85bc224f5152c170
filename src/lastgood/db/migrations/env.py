"""Alembic's entry: runs the migrations of one branch on the connection that the caller opened."""

from importlib import import_module

from alembic import context

config = context.config
context.configure(
    connection=config.attributes["connection"],
    target_metadata=import_module(config.attributes["metadata"]).metadata,
    version_table=config.attributes["version_table"],
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
