"""The queue of runs. The only package that uses the queue engine (DBOS)."""
