"""A job can ask for a kind of device: jobs get `device`, which is any for those of before."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column."""
    op.add_column("jobs", sa.Column("device", sa.Text, nullable=False, server_default="any"))
