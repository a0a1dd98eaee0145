"""How a database of an older version becomes one of this: Alembic revisions, oldest first. Forward only."""
