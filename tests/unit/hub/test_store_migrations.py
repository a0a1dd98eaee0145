from __future__ import annotations

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from jupyter_fx.errors import UsageError
from jupyter_fx_hub.store.migrate import alembic_config, upgrade
from jupyter_fx_hub.store.schema import REVISION, metadata


@pytest.fixture
def empty(tmp_path):
    """A connection to an empty database."""
    engine = create_engine(f"sqlite:///{tmp_path / 'm.db'}")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def shape(connection):
    """Every table and index as SQLite keeps it, but for white space and the order of constraints."""
    found = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")).all()
    return {
        name: sorted(part.strip(" \t,)") for part in sql.replace(chr(34), "").split("\n"))
        for name, sql in found
        if name != "alembic_version"
    }


def test_the_migrations_make_exactly_the_metadata(empty, tmp_path):
    command.upgrade(alembic_config(empty), "head")
    assert compare_metadata(MigrationContext.configure(empty), metadata) == []
    migrated = shape(empty)
    engine = create_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
    with engine.connect() as fresh:
        upgrade(fresh, tmp_path)
        made = shape(fresh)
    engine.dispose()
    assert migrated == made


def test_the_newest_migration_is_the_one_that_the_schema_names(empty):
    assert ScriptDirectory.from_config(alembic_config(empty)).get_current_head() == REVISION


def test_a_database_of_a_newer_version_is_refused_in_words(harness):
    one = harness()
    one.store._raw.execute("UPDATE alembic_version SET version_num='9999'")
    one.store.close()
    with pytest.raises(UsageError, match=r"written by a newer jupyter-fx .*9999.*upgrade jupyter-fx, or name another"):
        one.open()
    import sqlite3

    raw = sqlite3.connect(one.folder / "fx.db")
    assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
    raw.execute("UPDATE alembic_version SET version_num=?", (REVISION,))
    raw.commit()
    raw.close()
    one.open()


def test_a_strange_database_is_not_written_into(tmp_path, harness):
    import sqlite3

    raw = sqlite3.connect(tmp_path / "fx.db")
    raw.execute("CREATE TABLE tasks (x)")
    raw.commit()
    raw.close()
    with pytest.raises(UsageError, match="not a database of the fx hub"):
        harness()
