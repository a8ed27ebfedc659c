"""Other servers with the same network, each run in its own virtual environment; see `benchmarks.predict --peers`."""
