"""Let schemathesis make requests from the OpenAPI document, one by one and in sequences, and check every answer.

Starts an API with one model and without workers. `make fuzz` installs schemathesis, which no other part needs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.clients import data_folder
from benchmarks.fuzz import BODY
from benchmarks.machines import Cluster

NOT_CHECKED = "positive_data_acceptance"
"""JSON Schema cannot say what an image is, so most bodies that fit the schema of a prediction are refused."""


def main() -> None:
    """Run schemathesis and exit with its status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="for each operation")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fanin-fuzz-") as folder:
        cluster = Cluster(Path(folder), "sqlite", data_folder(), FANIN_MAX_QUEUED="1000000")
        try:
            cluster.start_with_one_model(BODY)
            command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{cluster.base_url}/openapi.json"]
            command += ["--checks", "all", "--exclude-checks", NOT_CHECKED, "--max-examples", str(options.examples)]
            command += ["--phases", "examples,fuzzing,stateful", "--seed", str(options.seed), "--request-timeout", "20"]
            command += ["--exclude-path-regex", "preview", "--suppress-health-check", "all"]
            done = subprocess.run(command, check=False)
        finally:
            cluster.close()
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
