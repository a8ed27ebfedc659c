"""Other servers with the same network, each run in an environment of its own; see `benchmarks.predict --peers`."""
