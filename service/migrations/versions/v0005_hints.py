"""Rename `mend` to `hint` in stored errors: of jobs, of runs, in events, and in answers kept under a key."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

ERRORS = [
    ("jobs", "id", "error"),
    ("runs", "id", "last_error"),
    ("events", "id", "data"),
    ("idempotency_keys", "key", "answer"),
]


def upgrade() -> None:
    """Rewrite the rows that have the old name."""
    connection = op.get_bind()
    for name, key_name, column_name in ERRORS:
        table = sa.table(name, sa.column(key_name), sa.column(column_name, sa.JSON))
        key, column = table.c[key_name], table.c[column_name]
        has_old_name = sa.cast(column, sa.Text).like('%"mend"%')
        for row in connection.execute(sa.select(key, column).where(has_old_name)).all():
            change = sa.update(table).where(key == row[0])
            connection.execute(change.values({column_name: _with_hints(row[1])}))


def _with_hints(value: Any) -> Any:
    if isinstance(value, dict):
        return {"hint" if name == "mend" else name: _with_hints(part) for name, part in value.items()}
    return [_with_hints(part) for part in value] if isinstance(value, list) else value
