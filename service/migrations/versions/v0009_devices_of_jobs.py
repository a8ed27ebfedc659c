"""A job can ask for a kind of device, and a worker tells how much of its GPU's memory it holds.

Jobs of before ask for any device.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("jobs", sa.Column("device", sa.Text, nullable=False, server_default="any"))
    op.add_column("workers", sa.Column("gpu_memory_bytes", sa.BigInteger))
