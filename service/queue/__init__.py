"""The queue of runs. The only package that names the queue engine (DBOS)."""
