"""How long lists take with 100,000 jobs, on both databases: by label, by scheme, sorted, far from the start.

The rows are those of `benchmarks.year`. Deep pages start after the middle of a list.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import httpx
from sqlalchemy import text

from benchmarks.machines import DATABASES, Cluster, Database
from benchmarks.report import print_table, write_json
from benchmarks.year import BODY, JOBS_A_DAY, add_day, times_ms
from service.store.engine import open_engine

DAYS = 100
LISTS = (
    "/jobs",
    "/jobs?state=failed",
    "/jobs?scheme=orthogonal",
    "/jobs?scheme=orthogonal&state=failed",
    "/jobs?label=course:large",
    "/jobs?label=group:g7",
    "/jobs?label=group:g7&label=course:large",
    "/jobs?label=course:large&state=failed",
    "/jobs?label=none",
    "/jobs?sort=-accuracy",
    "/jobs?sort=loss",
    "/jobs?sort=-accuracy&state=succeeded",
    "/jobs?sort=-accuracy&scheme=orthogonal",
    "/jobs?sort=-accuracy&label=course:large",
    "/jobs?sort=-accuracy&label=group:g7",
    "/jobs?sort=-accuracy&scheme=zeros",
    "/jobs?sort=accuracy&after=accuracy.0x1.e666666666666p-1@job_01a300500500",
    "/jobs?after=job_01a300500500&limit=20",
    "/experiments?label=none",
)


def main() -> None:
    """Fill both databases, measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS)
    options = parser.parse_args()
    found = {database: _measured(database, options.days) for database in DATABASES}
    rows = [[path, *(str(value) for database in DATABASES for value in found[database][path])] for path in LISTS]
    print_table(["list", *(f"{database}, {of}" for database in DATABASES for of in ("median, ms", "p99, ms"))], rows)
    write_json("lists", "make bench-lists", {"jobs": options.days * JOBS_A_DAY, "lists_ms": found})


def _measured(database: Database, days: int) -> dict[str, tuple[float, float]]:
    with tempfile.TemporaryDirectory(prefix="fanin-lists-") as folder:
        cluster = Cluster(Path(folder), database)
        try:
            job_id = cluster.start_with_one_model(BODY | {"diagnostics": False})
            engine = open_engine(cluster.sqlalchemy_url)
            for day in range(days):
                add_day(engine, job_id, day)
            if database == "postgresql":  # as its own daemon does within a minute
                with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.execute(text("ANALYZE"))
            with httpx.Client(base_url=cluster.base_url, timeout=60) as client:
                return {path: times_ms(client, path) for path in LISTS}
        finally:
            cluster.close()


if __name__ == "__main__":
    main()
