"""Bringing a database to this version's schema, at open.

A new database is made straight from the metadata and stamped; a test shows that the migrations make exactly the same.
Alembic is imported only when there is something to migrate.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect, text

from jupyter_fx.errors import UsageError
from jupyter_fx_hub.store.schema import REVISION, metadata

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.engine import Connection

__all__ = ["alembic_config", "upgrade"]

_HERE: Final = Path(__file__).parent / "migrations"


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for `connection`: for upgrades and for the tests."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, path: Path) -> None:
    """Make the schema of this version, or raise UsageError if the database at `path` is of a newer one."""
    current = None
    if inspect(connection).has_table("alembic_version"):
        current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if current == REVISION:
        return
    if current is None and not inspect(connection).get_table_names():
        metadata.create_all(connection)
        connection.execute(
            text(
                "CREATE TABLE alembic_version"
                " (version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)"
            )
        )
        connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": REVISION})
        return
    if current is None:
        raise UsageError(f"{path} is not a database of the fx hub: move it away, or name another database")
    from alembic import command
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = alembic_config(connection)
    try:
        ScriptDirectory.from_config(config).get_revision(current)
    except CommandError as error:
        raise UsageError(
            f"the database {path} was written by a newer jupyter-fx"
            f" (its schema is {current}, this version knows {REVISION}): "
            "upgrade jupyter-fx, or name another database"
        ) from error
    command.upgrade(config, "head")
